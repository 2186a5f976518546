"""Steps that drop, rewrite or flag texts; every drop is counted under a reason."""
