"""Delta tables: their locations, logs and commits."""
