"""The core of worldcurate, without Spark: functions and small classes that take and return Arrow data."""

__version__ = "0.2.0"
