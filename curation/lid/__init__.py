"""Identify the language of texts."""
