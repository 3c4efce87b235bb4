"""Model files as users write them, for the tests of `--model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from helpers import CPU, saved

from fusionlib.architectures.user import register_user_model
from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import ARCHITECTURES
from fusionlib.engine.network import BoundNetwork

NET = """import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, classes, 1)
    def logits(self, x):
        return self.head(self.norm(self.body(x)))
    def forward(self, x):
        return {"out": self.logits(x)}
"""
MAKE = "def make(classes):\n    return Net(classes)\n"


def net_with(forward: str, make: str = MAKE) -> str:
    """A model file whose network returns `forward`, an expression in `z`, its logits, and `x`, the picture."""
    body = f"    def forward(self, x):\n        z = self.logits(x)\n        return {forward}\n"
    return f"{NET}\nclass Net(Net):\n{body}{make}"


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Those of the network of `NET`."""
    return {
        "body.weight": (6, 3, 3, 3),
        "body.bias": (6,),
        "norm.weight": (6,),
        "norm.bias": (6,),
        "norm.running_mean": (6,),
        "norm.running_var": (6,),
        "norm.num_batches_tracked": (),
        "head.weight": (classes, 6, 1, 1),
        "head.bias": (classes,),
    }


def registered(folder: Path, code: str, factory: str = "make", name: str = "mine") -> Any:
    """The architecture of a model file with this code."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    return ARCHITECTURES.get(register_user_model(f"{folder}/{name}.py:{factory}"))


def tensors_of(architecture: Any, classes: int) -> Mapping[str, torch.Tensor]:
    """Random weights, the same each time, with a head that decides."""
    torch.manual_seed(0)
    tensors = architecture.build(classes).state_dict()
    return {name: tensor * 5 if name.startswith("head.") else tensor for name, tensor in tensors.items()}


def bound(folder: Path, architecture: Any, classes: int) -> BoundNetwork:
    """Its network with these weights."""
    checkpoint = saved(folder / f"weights-{classes}.safetensors", tensors_of(architecture, classes))
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(architecture, classes, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    return network
