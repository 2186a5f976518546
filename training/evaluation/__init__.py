"""Embed data and measure a model."""
