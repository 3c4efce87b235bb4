"""Checkpoints: reading them safely, comparing, packing and writing them."""
