"""The training loop, the optimizer and checkpoints."""
