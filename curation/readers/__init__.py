"""Readers of crawls and tables; they yield occurrences."""
