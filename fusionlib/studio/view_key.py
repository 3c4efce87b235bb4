"""What a view is called by: its content."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import Network, architecture_key
from fusionlib.runs.keys import key_of


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
