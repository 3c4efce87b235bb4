"""How exactly a network computes."""

from __future__ import annotations

from collections.abc import Mapping

PRECISIONS: Mapping[str, str] = {
    "float32": "Exact: every figure is computed in float32",
    "mixed": (
        "Automatic mixed precision (bfloat16 on CPU, float16 on CUDA): faster, figures may differ in the third digit"
    ),
}
"""Precision by name to what it does, in one line."""
