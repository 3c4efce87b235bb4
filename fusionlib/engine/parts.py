"""What the parts of a network cost: parameters, and multiplications of a pass over one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusionlib.contracts import Architecture

SIDE = 512
"""Pixels a side of the picture that papers count for."""

ROOT = "Global"


@dataclass(frozen=True)
class Part:
    """A child of the network: parameters, and multiply-accumulates of a pass over a picture of `SIDE` a side."""

    name: str
    parameters: int
    macs: int


def parts(architecture: Architecture, classes: int) -> list[Part]:
    """The children of a network in order, those without parameters and work left out; nothing is computed.

    Multiply-accumulates are those of convolutions and matrix products, half of what `FlopCounterMode` counts.
    """
    with torch.device("meta"):
        module = architecture.build(classes).eval().requires_grad_(False)
        picture = torch.empty(1, 3, SIDE, SIDE)
    counter = FlopCounterMode(display=False, depth=99)
    with torch.inference_mode(), counter:
        module(picture)
    root = type(module).__name__
    flops = {
        key.removeprefix(root).removeprefix("."): sum(found.values())
        for key, found in counter.get_flop_counts().items()
        if key not in (ROOT, root)
    }
    found = [
        Part(name, sum(one.numel() for one in child.parameters()), _of(name, flops) // 2)
        for name, child in module.named_children()
    ]
    return [one for one in found if one.parameters or one.macs]


def _of(part: str, flops: Mapping[str, int]) -> int:
    """What a part and those inside it count; what is called inside a call is in the outer one's already."""
    inside = [name for name in flops if name == part or name.startswith(f"{part}.")]
    return sum(flops[name] for name in inside if not _within(name, inside))


def _within(name: str, others: Iterable[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)
