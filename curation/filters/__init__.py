"""Drop, rewrite or flag texts, each with a reason."""
