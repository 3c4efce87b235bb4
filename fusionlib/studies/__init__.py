"""Which points to measure, and in which order."""
