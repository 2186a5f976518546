"""Download from Wikimedia's servers."""
