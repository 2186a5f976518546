"""The tasks of `jobs.fetch_images`."""
