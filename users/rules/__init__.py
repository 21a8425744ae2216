"""What may become a user or an API key: pure functions on what a door was given. No Flask, no database."""
