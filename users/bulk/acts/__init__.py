"""Acts on many users whom somebody chose, each of them an act of its own."""
