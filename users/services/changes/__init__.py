"""Changes of one user or of many in a transaction of the caller: locks, rules and audit rows, in few statements."""
