"""The consumer of the shards: dataset, tokenizer, model, loss, DDP loop and evaluation."""
