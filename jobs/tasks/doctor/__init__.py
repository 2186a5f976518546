"""Checks of the machine, the storage and the executors that `jobs.doctor` makes."""
