"""The tasks of `jobs.balance`."""
