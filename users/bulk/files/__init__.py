"""Files of users: read as CSV or JSON lines in any usual encoding, and written. No Flask and no database.

`reading` is the way in and `writing` the way out; `layout` is what both know of a file. A file that cannot be read is
one of `refusals`.
"""
