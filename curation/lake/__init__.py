"""The published tables: schemas, files, commits and the staged shuffle."""
