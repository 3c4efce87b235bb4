"""Logits divided by a temperature, so that the class that won still wins."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionlib.errors import DataError
from fusionlib.measures.observation import first_maximum


def scaled(logits: Tensor, temperature: float) -> Tensor:
    """`logits / temperature`, (N, C, H, W), with the same first maximum at every pixel.

    In real numbers division keeps the order; in float32 two neighbours may become equal and the lower class would win.
    The class that won before is then put one step of float32 above the others.
    """
    if not temperature > 0:
        raise DataError(f"Temperature {temperature}", "a number above 0", "Fit it, or use 1")
    cooler = logits / temperature
    before, (peak, after) = first_maximum(logits)[1], first_maximum(cooler)
    changed = (before != after) & (before < logits.shape[1])
    if bool(changed.any()):
        n, y, x = torch.nonzero(changed, as_tuple=True)
        cooler[n, before[n, y, x], y, x] = torch.nextafter(peak[n, y, x], torch.full_like(peak[n, y, x], torch.inf))
    return cooler
