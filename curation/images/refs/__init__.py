"""Image references: which files they may name, and how they are read."""
