"""Makers of annotations that need no weights, and the protocol that all makers have."""
