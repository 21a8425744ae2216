"""Files of users, CSV and JSON lines: read whatever a spreadsheet wrote, and written for one. No Flask, no database."""
