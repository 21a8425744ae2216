"""The links that people are handed: set up Enrol, verify an email, choose a password. Each works once."""
