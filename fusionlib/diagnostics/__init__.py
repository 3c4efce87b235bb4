"""Measures of how checkpoints relate, in weight space and in function space, one file each."""
