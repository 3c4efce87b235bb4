"""What users of studies choose between by name."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, str] = {
    "methods": "Every merge method with its default parameters",
    "buffers": "Buffer ablation: the mean of all parameters with each policy for running statistics",
    "incremental": "Checkpoints added one by one, best first, isotropic and layer-wise",
    "subsets": "All subsets of two or more (up to five checkpoints), isotropic and layer-wise",
    "searches": "What finished searches of these checkpoints, or of some of them, have found",
    "temperature": "The best single network with a temperature, fitted on every other picture",
    "views": "The best single network at six scales, mirrored as well: twelve answers to a picture averaged",
}
"""Sets of rows that may be asked for beside the single networks, and what they show."""

DOMAIN_ROWS: Mapping[str, str] = {
    "mean": "The mean of all experts",
    "buffers": "The mean of all experts with the anchor's, averaged and pooled running statistics side by side",
    "heads": "The mean of all backbones; each domain keeps the head of its own expert, with that head's statistics",
    "subsets": "The mean of every subset of two or more experts",
    "path": "Eleven points between two experts",
}
"""Networks that are measured on domains beside the experts alone, and what they show."""

SYNTHIA_16 = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, sky, person, rider, car,"
    " bus, motorcycle, bicycle"
)
SYNTHIA_13 = ", ".join(name for name in SYNTHIA_16.split(", ") if name not in ("wall", "fence", "pole"))
CLASS_SETS: Mapping[str, tuple[str, ...]] = {
    "16": tuple(SYNTHIA_16.split(", ")),
    "13": tuple(SYNTHIA_13.split(", ")),
}
"""Classes of Cityscapes that networks trained on SYNTHIA are scored on, by how many they are."""

PRESETS = ("equal", "ramp", "step", "backbone", "head", "cosine")
"""Curves of the anchor's weight that the page and the command line offer."""
