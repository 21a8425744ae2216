"""The audit trail: events written in the transaction of the act, and found again. No sentences: `pages` has them."""
