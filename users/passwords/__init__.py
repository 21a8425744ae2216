"""Passwords: the policy, the argon2id hash, and the queue of hashes. No Flask, no database."""
