"""What networks return, and where the logits are in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fusionlib.errors import ArchitectureError


def logits_of(output: object) -> torch.Tensor:
    """Logits (N, C, h, w) out of what networks return: a tensor, a dict with `out` or `logits`, a tuple, an object."""
    if isinstance(output, Mapping):
        output = output.get("out", output.get("logits"))
    elif isinstance(output, tuple | list):
        output = output[0] if output else None
    elif not isinstance(output, torch.Tensor):
        output = getattr(output, "logits", None)
    if not isinstance(output, torch.Tensor) or output.ndim != 4:
        raise ArchitectureError(
            f"The network returned {type(output).__name__}",
            "logits of shape (N, classes, h, w)",
            "Return them from forward, alone or under 'out' or 'logits'",
        )
    return output
