"""What a page has chosen to look at, and the key of a view of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import Network, architecture_key
from fusionlib.runs.keys import key_of

LETTERS = "abcdefgh"
"""Checkpoints of a view by their place: as many as there are colours to tell them apart."""


@dataclass(frozen=True)
class Selection:
    """What identifies a view: checkpoint names, data by short name and split, buffer policy; `more` follow A and B.

    `dtype` is what merges are rounded to, as they will be written; None: each tensor's own.
    """

    a: str
    b: str
    source: str
    split: str | None
    buffers: str = "average"
    more: tuple[str, ...] = ()
    dtype: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All checkpoints, in the order of their weights."""
        return (self.a, self.b, *self.more)


def view_key(
    fingerprints: Sequence[str],
    buffers: str,
    dtype: str | None,
    pictures: DecodedCache | None,
    network: Network | None,
    precision: str,
    device: torch.device,
) -> str:
    """What tells a view of checkpoints from others; nothing is packed for it."""
    return key_of(
        "view",
        tuple(fingerprints),
        buffers,
        dtype,
        pictures.fingerprint() if pictures else None,
        architecture_key(*network) if network else None,
        precision,
        device.type,
    )[:24]
