"""Acts on many users: what they are, who is chosen, what becomes of each, and the work itself."""
