"""What is done to users, API keys and links: one function and one transaction each, with its audit event. No HTTP.

Beside them stand the clean-up, and what requests reveal about the set-up, as advice.
"""
