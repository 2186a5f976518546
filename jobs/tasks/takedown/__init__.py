"""The tasks of `jobs.takedown`."""
