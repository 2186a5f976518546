"""Filters of decoded images: the protocol, loading by import path, application in batches, built-in filters."""
