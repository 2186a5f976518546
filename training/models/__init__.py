"""Model architectures and presets."""
