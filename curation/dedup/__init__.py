"""Deduplication: one row per image, within a batch and across batches."""
