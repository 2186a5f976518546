"""What the samples are read from: files that stay open, checks of the tables, annotations beside the shards."""
