"""Meters: streaming measures with a fixed-size state, one file each, and the same figures for plain arrays."""
