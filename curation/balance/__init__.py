"""Compute thresholds and keep probabilities, and sample pairs."""
