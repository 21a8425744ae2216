"""The pages of imports: a file or pasted rows, one page for an import's whole life, and the list of imports."""
