"""Collect the content of the report pages from the lake, without Spark."""
