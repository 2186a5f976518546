"""Segment texts into words; count and rank n-grams."""
