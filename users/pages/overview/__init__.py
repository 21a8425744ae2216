"""The page "Overview" and its pictures."""
