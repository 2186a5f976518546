"""Exports: shards as WebDataset tars, as a Hugging Face dataset or as JSON Lines, with a card and a manifest."""
