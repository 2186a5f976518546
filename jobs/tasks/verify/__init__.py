"""The checks and repairs of `jobs.verify`."""
