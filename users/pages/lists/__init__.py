"""The list of users, the filters of lists, and the way back to a list."""
