"""Tasks of `jobs.export`."""
