"""The batches of a lake: what is published, planned, late or removed."""
