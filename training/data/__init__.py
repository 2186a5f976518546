"""Read a rank's batches from the shards."""
