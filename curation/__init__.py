"""The core of worldcurate, free of Spark: plain functions and small classes, Arrow in and Arrow out."""

__version__ = "0.1.0"
