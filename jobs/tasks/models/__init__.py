"""Models that run in executors; torch and transformers are imported at the first use."""
