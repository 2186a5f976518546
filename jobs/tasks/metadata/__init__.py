"""The tasks of `jobs.build_metadata` and `jobs.merge_metadata`."""
