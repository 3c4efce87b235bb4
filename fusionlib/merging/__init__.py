"""Merge methods, one file each, and what happens to batch-norm statistics."""
