"""Where every tensor lies in a flat buffer: name, shape, offset, and what it is (layer, block, part, kind)."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from fusionlib.checkpoints.reader import TensorInfo

ALIGNMENT = 16
"""Elements. Tensors start on 64-byte boundaries, where vector loads are fastest; the gaps hold zeros."""

COUNTER = "num_batches_tracked"
_LEARNER = re.compile(r"((?:.*\.)?learners\.\d+)\.")
"""How networks name what belongs to one of the learners inside."""

HEAD_WORDS = ("head", "decode", "decoder", "classifier", "segmentation", "aux", "last_", "final", "upsample", "seg_")


@dataclass(frozen=True)
class Entry:
    """One floating tensor in the flat buffer. `kind` is weight, bias, norm (affine) or buffer (running statistics)."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int
    layer: str
    block: str
    part: str
    kind: str

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.offset + self.size

    @property
    def learner(self) -> str:
        """The learner that it belongs to, as `decode_head.learners.0`; nothing where it is of none."""
        found = _LEARNER.match(self.name)
        return found[1] if found else ""


@dataclass(frozen=True)
class Statistics:
    """The running mean and variance of one batch-norm layer, with the name of its counter where there is one."""

    layer: str
    mean: Entry
    variance: Entry
    counter: str | None


@dataclass(frozen=True)
class Layout:
    """The map from names to slices, in the registration order of the checkpoint it was made from.

    `integers` are the names that stay outside the buffer: counters, index tables, anything not floating.
    """

    entries: tuple[Entry, ...]
    integers: tuple[str, ...]
    size: int
    order: tuple[str, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Entry]:
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def dtype(self) -> torch.dtype:
        """float64 where any tensor is, else float32: results are never computed in less."""
        return torch.float64 if any(entry.dtype == torch.float64 for entry in self.entries) else torch.float32

    @cached_property
    def statistics(self) -> tuple[Statistics, ...]:
        """Every batch-norm layer that tracks statistics, in network order."""
        found, integers = [], set(self.integers)
        for entry in self.entries:
            prefix, _, leaf = entry.name.rpartition(".")
            variance = self.by_name.get(_join(prefix, "running_var"))
            if leaf == "running_mean" and variance is not None:
                counter = _join(prefix, COUNTER)
                found.append(Statistics(prefix, entry, variance, counter if counter in integers else None))
        return tuple(found)

    @cached_property
    def signature(self) -> str:
        """SHA-256 over names, shapes and dtypes: equal for checkpoints that can share an arena."""
        text = "\n".join(f"{entry.name} {entry.shape} {entry.dtype}" for entry in self.entries)
        return hashlib.sha256((text + "\n" + "\n".join(self.integers)).encode()).hexdigest()

    def view(self, flat: Tensor, name: str) -> Tensor:
        """The tensor `name` as a view on `flat` (P,)."""
        entry = self.by_name[name]
        return flat[entry.offset : entry.end].view(entry.shape)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Every floating tensor as a view on `flat` (P,), in order."""
        return {entry.name: flat[entry.offset : entry.end].view(entry.shape) for entry in self.entries}

    def written_in(self, dtype: torch.dtype) -> Layout:
        """The same places, every floating tensor to be written in `dtype`."""
        return replace(self, entries=tuple(replace(entry, dtype=dtype) for entry in self.entries))

    @classmethod
    def of(cls, tensors: Mapping[str, TensorInfo], head: Iterable[str] = ()) -> Layout:
        """Lay the floating tensors of a checkpoint out; `head` are name prefixes of the head, guessed when empty."""
        normed = {name.rpartition(".")[0] for name in tensors if name.endswith("running_mean")}
        entries, integers, offset = [], [], 0
        for name, info in tensors.items():
            if not info.dtype.is_floating_point:
                integers.append(name)
                continue
            layer = name.rpartition(".")[0] or name
            entries.append(
                Entry(
                    name,
                    info.shape,
                    info.dtype,
                    offset,
                    layer,
                    name.partition(".")[0],
                    _part(name, tuple(head)),
                    _kind(name, info.shape, normed),
                )
            )
            offset += -(-info.numel // ALIGNMENT) * ALIGNMENT
        return cls(tuple(entries), tuple(integers), offset, tuple(tensors))


def _join(prefix: str, leaf: str) -> str:
    return f"{prefix}.{leaf}" if prefix else leaf


def _kind(name: str, shape: tuple[int, ...], normed: set[str]) -> str:
    prefix, _, leaf = name.rpartition(".")
    if leaf in ("running_mean", "running_var"):
        return "buffer"
    if prefix in normed or (len(shape) == 1 and "norm" in prefix.rpartition(".")[2].lower()):
        return "norm"
    return "bias" if leaf == "bias" else "weight"


def _part(name: str, head: tuple[str, ...]) -> str:
    if head:
        return "head" if name.startswith(head) else "backbone"
    return "head" if any(word in name.split(".")[0].lower() for word in HEAD_WORDS) else "backbone"
