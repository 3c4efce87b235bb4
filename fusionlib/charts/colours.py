"""Colours that mean the same in every chart."""

A, B, MERGE, ENSEMBLE = "#3b82f6", "#e0682b", "#1a936f", "#9a63c9"
"""Checkpoint A (blue) and B (orange) as the viewer has them, their merge, and the mean of their outputs."""

TRAINED, STRONG = "#0f6f83", "#52606d"
"""What training has left, and lines that are read before others."""

QUIET = "#8a97a3"
"""Lines to compare with."""
