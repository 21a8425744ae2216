"""Enrol timed: `million.py` prints how the pages fare among a million users."""
