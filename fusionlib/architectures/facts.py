"""What is said of a network in lists: how large it is, and which files are taken for it."""

from __future__ import annotations

import torch

from fusionlib.architectures.modules import methods_of_torch
from fusionlib.architectures.spaces import usual_space
from fusionlib.contracts import Architecture, class_count


def parameter_count(architecture: Architecture, classes: int) -> int | None:
    """How many numbers it learns, buffers left out; None where it cannot be made with so many classes."""
    for device in ("meta", "cpu"):  # code that looks at values cannot run on tensors that have none
        try:
            with torch.device(device):
                network = architecture.build(classes)
            with methods_of_torch(network):
                return sum(tensor.numel() for tensor in network.parameters())
        except Exception:  # noqa: BLE001 - the user's own code, which may refuse a count in whichever way
            continue
    return None


def recognised_by(name: str, architecture: Architecture) -> str:
    """Whose names of tensors, and whether the operator must ask for it."""
    names = getattr(architecture, "names", None) or f"every tensor of {architecture.title}"
    return f"{names}; where --model {name} asks for it" if hasattr(architecture, "chosen") else names


def classes_text(architecture: Architecture, classes: int) -> str:
    """How many classes it tells apart, and which ones where their number alone says so: `21 classes (voc, by their
    number)`.
    """
    count, space = class_count(classes), usual_space(classes)
    told = architecture.label_space(classes) == space and not space.startswith("classes-")
    return f"{count} classes ({space}, by their number)" if told else f"{count} classes"
