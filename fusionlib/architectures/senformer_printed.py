"""What the paper prints of its networks' sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusionlib.architectures import resnet, swin
from fusionlib.architectures.senformer_plan import Plan, usual_plan

_FIFTY = usual_plan(resnet.PLANS[50])

_PRINTED: Mapping[Plan, tuple[int, int]] = {
    _FIFTY: (55, 179),
    usual_plan(resnet.PLANS[101]): (79, 199),
    usual_plan(swin.PLANS["t"]): (59, 179),
    replace(_FIFTY, sharing="none"): (144, 179),
    replace(_FIFTY, sharing="decoder"): (68, 179),
    replace(_FIFTY, sharing="cls"): (67, 179),
    replace(_FIFTY, fused=True): (52, 307),
}
"""Millions of parameters and G of multiply-accumulates, of 150 classes and 512x512 pixels.

Source: "Efficient Self-Ensemble for Semantic Segmentation", tables 2, 4 and 5.
"""


def printed(plan: Plan) -> str | None:
    """`55 M and 179 G with 150 classes`; None of a network that the paper does not have."""
    found = _PRINTED.get(plan)
    return None if found is None else f"{found[0]} M and {found[1]} G with 150 classes"
