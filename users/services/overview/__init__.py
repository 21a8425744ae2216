"""What the overview shows: counts of users, days and API keys, and what the installation runs on."""
