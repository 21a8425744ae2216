"""What may become a user or an API key: pure functions on the input of a door. No Flask, no database."""
