"""The output folder of a run: its lock, the names and checksums of its checkpoints, and its copy on S3."""
