"""Diagnostics: can these networks be merged, and why? One file per kind of evidence, out of weights and losses.

All take plain arrays or tensors whose shapes are documented, so that each can be checked against a closed form.
"""
