"""Tasks of `jobs.annotate`."""
