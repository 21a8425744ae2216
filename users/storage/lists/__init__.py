"""Lists: their pages, ranges of the indexes that begin with the segment, and search keys that are missing."""
