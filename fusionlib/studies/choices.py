"""What users of studies choose between by name."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, str] = {
    "methods": "Every merge method with its default parameters",
    "buffers": "Buffer ablation: the mean of all parameters with each policy for running statistics",
    "incremental": "Checkpoints added one by one, best first, isotropic and layer-wise",
    "subsets": "All subsets of two or more (up to five checkpoints), isotropic and layer-wise",
    "temperature": "The best single network with a temperature, fitted on every other picture",
}
"""Sets of rows that may be asked for beside the single networks, and what they show."""

PRESETS = ("equal", "ramp", "step", "backbone", "head", "cosine")
"""Curves of the anchor's weight that the page and the command line offer."""
