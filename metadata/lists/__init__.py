"""Merge the sources of a language into its list of entries."""
