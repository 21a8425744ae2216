"""What may become a user, an API key or a setting: pure functions on the input of a door. No Flask, no database."""
