"""Train models on the shards and evaluate them: data, models, losses, the training loop, evaluation."""
