"""Checkpoints packed with what their network tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from fusionlib.architectures.recognise import Known
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import SORTED_NOTE, Checkpoint
from fusionlib.checkpoints.sharing import Sharing


def packed(
    checkpoints: Sequence[Checkpoint],
    known: Known | None,
    *,
    anchor: int = 0,
    sharing: Sharing | None = None,
    device: torch.device | str = "cpu",
) -> Arena:
    """A finite arena of the checkpoints, with the head of the anchor's network and the order in which it registers
    tensors.

    `known` is that network, None where nobody knows it. Raises `LayoutError` where the checkpoints do not fit one
    another, `CheckpointError` where one holds NaN or infinity.
    """
    head = known[0].head if known else ()
    arena = Arena.pack(checkpoints, head=head, anchor=anchor, sharing=sharing, device=device)
    registration, notes = registration_order(checkpoints[anchor], known)
    arena = replace(arena, registration=registration, notes=notes)
    arena.require_finite()
    return arena


def registration_order(checkpoint: Checkpoint, known: Known | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The floating tensors in the network's order, and notes; no names where the file's own order is to be trusted.

    A sorted file puts `layer10` before `layer2` and the head before the stem. The order is then that of the
    architecture, freshly built without memory; where no architecture is known, that of the file, and a note says so.
    """
    if SORTED_NOTE not in checkpoint.notes:
        return (), ()
    if known is None:
        return (), (f"{checkpoint.name}: {SORTED_NOTE}; weights that depend on the order follow the file's",)
    try:
        with torch.device("meta"):
            names = list(known[0].build(known[1]).state_dict())
    except Exception as problem:  # noqa: BLE001 - the user's own code; it may need real tensors
        return (), (f"{checkpoint.name}: {SORTED_NOTE}, and its network cannot be asked ({type(problem).__name__})",)
    floating = dict.fromkeys(name for name, info in checkpoint.tensors.items() if info.dtype.is_floating_point)
    ordered = dict.fromkeys(name for name in names if name in floating)
    return (*ordered, *(name for name in floating if name not in ordered)), ()
