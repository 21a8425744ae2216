"""Enrol broken under load and reckoned up: `run.py` prints the matrix, `test_faults.py` is its short form."""
