"""Measures: streamed over pictures into states that add, one file each, and the same figures for plain arrays."""
