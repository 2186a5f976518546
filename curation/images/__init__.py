"""Fetch, decode and hash images."""
