"""Merge segmentation checkpoints and see what the merge gains and loses."""

__version__ = "0.1.0"
