"""Find the entries of a language in texts."""
