"""What the overview shows beside the counts of users: days, API keys, and what the installation runs on."""
