"""Read crawls and tables into occurrences."""
