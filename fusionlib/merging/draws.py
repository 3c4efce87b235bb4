"""Networks drawn from the posterior in a checkpoint: which random numbers each of them gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.contracts import POSTERIORS


def deviations(file: PosteriorFile, seed: int, count: int) -> Iterator[tuple[str, Tensor]]:
    """`count` samples minus their mean, tensor by tensor: name and (count, ...). Sample i follows from `seed` and i.

    Raises: `UsageError` for a kind that nobody knows; `CheckpointError` for one that cannot be sampled, mostly before
    a tensor is read.
    """
    kind = POSTERIORS.get(file.kind)
    kind.check(file)
    return kind.deviations(file, [f"{seed} {number}" for number in range(count)])


def normal(key: str, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers that follow from a sample's key and a name alone."""
    return torch.randn(shape, generator=generator(key, name), dtype=dtype)


def generator(key: str, name: str = "") -> torch.Generator:
    """Random numbers of the tensor `name` in the sample of that key; without a name of the sample as a whole."""
    digest = hashlib.sha256(f"{key} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))
