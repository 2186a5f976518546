"""The code that runs in executors, one folder per stage."""
