"""Figures of an evaluation, computed from embeddings."""
