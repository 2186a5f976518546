"""The tasks of `jobs.match`."""
