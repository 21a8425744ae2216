"""Passwords: the policy, the argon2id hash, and the queue in which hashes wait. No Flask, no database."""
