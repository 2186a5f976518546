"""Run any command: config, session, stages, runs and tasks."""
