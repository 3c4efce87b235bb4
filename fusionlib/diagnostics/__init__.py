"""Diagnostics: can these networks be merged, and why? One file per measure of weights, functions or losses.

All take plain arrays or tensors whose shapes are documented, so that each can be checked against a closed form.
"""
