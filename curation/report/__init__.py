"""Render reports as HTML pages."""
