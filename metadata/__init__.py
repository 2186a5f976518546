"""Builders of per-language metadata: the language table and the four sources of entries."""
