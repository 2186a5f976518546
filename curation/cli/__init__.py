"""Load the config, run commands and map errors to exit codes."""
