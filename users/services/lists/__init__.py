"""Lists of users: what is asked for, exact lists, bounded lists and searches, and counts."""
