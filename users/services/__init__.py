"""The acts on users, API keys and links: each one function in one transaction, with its audit event. No door."""
