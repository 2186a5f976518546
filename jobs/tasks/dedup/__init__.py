"""The stage `duplicates` and its tasks."""
