"""The pages of acts on many users: the choice in the list, the question, the progress and the report."""
