"""Many users at once: imports, exports, acts on many users, and the jobs that do them beside requests."""
