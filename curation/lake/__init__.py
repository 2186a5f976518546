"""The published tables: schemas, paths, data files, commits and the staged shuffle."""
