"""Spark jobs: each reads the config, calls the core inside Arrow batches, and publishes tables."""
