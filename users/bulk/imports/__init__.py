"""Imports: a file of users on its way in, from the check of the file to its last row."""
