"""The tasks of `jobs.ingest`."""
