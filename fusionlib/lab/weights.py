"""Weights that a run begins with, and those that it has saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from fusionlib.checkpoints.groups import Choice
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.errors import FusionError, LayoutError


def load_weights(network: nn.Module, path: Path, groups: Sequence[str] = ()) -> Checkpoint:
    """Copy a checkpoint into `network`, that of `groups` where it holds several; the checkpoint.

    Raises `LayoutError` when a name or shape does not fit.
    """
    own = network.state_dict()
    checkpoint = open_checkpoint(
        path,
        choice=Choice(
            tuple(groups),
            lambda shapes: all(shapes.get(name) == tuple(tensor.shape) for name, tensor in own.items()) or None,
        ),
    )
    wrong = [
        name
        for name in own
        if name not in checkpoint.tensors or checkpoint.tensors[name].shape != tuple(own[name].shape)
    ]
    if wrong:
        raise LayoutError(
            f"{path.name} does not fit the network: {wrong[0]} and {len(wrong) - 1} more differ",
            "a checkpoint of the same architecture and class count",
            "Check --arch and --classes",
        )
    network.load_state_dict({name: checkpoint.read(name) for name in own})
    return checkpoint


def saved_tensors(path: Path) -> Mapping[str, torch.Tensor] | None:
    """Those of the network in a file of the run; None where it is gone."""
    try:
        file = open_checkpoint(path)
        return {name: file.read(name) for name in file.tensors}
    except FusionError:
        return None
