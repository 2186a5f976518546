"""Optimizers, gradient clipping and learning rates."""
