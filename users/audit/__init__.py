"""The audit trail: events are written in the transaction of their act, and found. The sentences are in `pages`."""
