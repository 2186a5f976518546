"""Training methods: typed settings of what a run compares, with whom, and which weights move."""
