"""Tasks of `jobs.compact`."""
