"""Preflight: do these checkpoints fit one another, and if not, where and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch

from fusionlib.checkpoints.findings import Finding, describe
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.errors import UsageError

__all__ = ["Finding", "Preflight", "preflight"]

Shapes = tuple[tuple[int, ...] | None, ...]

Recognise = Callable[[Mapping[str, tuple[int, ...]]], tuple[str, int] | None]
"""Name and class count of the network of tensors with these shapes; None where nobody knows it."""

Explain = Callable[[Sequence[Checkpoint]], Sequence[tuple[Sequence[int], tuple[str, str]]]]
"""Why no network is known for these checkpoints: numbers of equal ones, what is so, and what to do about it."""

COUNTER = "num_batches_tracked"
"""The one integer buffer that may differ: it counts training steps."""


@dataclass(frozen=True)
class Preflight:
    """What a set of K checkpoints has in common. Tuples beside a name are in the order of `checkpoints`.

    `shared`: names that all have. `missing`: name -> display names of the checkpoints that lack it. `mismatched`: name
    -> K shapes, None where it is missing. `kinds`: names that are floating in one file and integer in another.
    `integers`: integer tensors that must be equal and are not. `dtypes`: dtype -> K tensor counts. `same_file`: pairs
    of equal content. `unknown`: names of checkpoints whose network nobody knows, with what is so
    and what to do about it; equal ones together.
    """

    checkpoints: tuple[Checkpoint, ...]
    shared: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]
    mismatched: Mapping[str, Shapes]
    kinds: tuple[str, ...]
    integers: tuple[str, ...]
    dtypes: Mapping[str, tuple[int, ...]]
    parameters: tuple[int, ...]
    architectures: tuple[tuple[str, int] | None, ...]
    unknown: tuple[tuple[tuple[str, ...], tuple[str, str]], ...]
    same_file: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()

    @property
    def compatible(self) -> bool:
        """Whether they can be merged: every tensor in all files, with equal shapes and kinds and equal fixed
        integers.
        """
        return not (self.missing or self.mismatched or self.kinds or self.integers)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "checkpoints": [self._checkpoint(index) for index in range(len(self.checkpoints))],
            "compatible": self.compatible,
            "shared": len(self.shared),
            "missing": [{"name": name, "checkpoints": list(lacking)} for name, lacking in self.missing.items()],
            "mismatched": [
                {"name": name, "shapes": [None if shape is None else list(shape) for shape in shapes]}
                for name, shapes in self.mismatched.items()
            ],
            "kinds": list(self.kinds),
            "integers": list(self.integers),
            "same_file": [list(pair) for pair in self.same_file],
            "findings": [{"level": item.level, "title": item.title, "do": item.do} for item in self.findings],
        }

    def _checkpoint(self, index: int) -> dict[str, Any]:
        item, known = self.checkpoints[index], self.architectures[index]
        return {
            "path": str(item.path),
            "name": item.name,
            "fingerprint": item.fingerprint,
            "architecture": known[0] if known else None,
            "classes": known[1] if known else None,
            "parameters": self.parameters[index],
            "tensors": len(item.tensors),
            "size_bytes": item.size_bytes,
            "dtypes": {dtype: counts[index] for dtype, counts in self.dtypes.items() if counts[index]},
            "notes": list(item.notes),
        }


def preflight(checkpoints: Sequence[Checkpoint], recognise: Recognise, explain: Explain) -> Preflight:
    """Compare K >= 1 checkpoints by names, shapes, dtypes, fixed integers, content and architecture.

    `recognise` tells which network a checkpoint belongs to, `explain` why none is known where that is so.

    Reads headers, the fixed integer tensors, and every byte once for the fingerprints.

    Raises: `UsageError` for none at all.
    """
    if not checkpoints:
        raise UsageError("No checkpoint to compare", "at least one", "Name a checkpoint")
    names = list(dict.fromkeys(name for item in checkpoints for name in item.tensors))
    everywhere = set(names).intersection(*(item.tensors.keys() for item in checkpoints))
    shared = tuple(name for name in names if name in everywhere)
    mismatched = dict(_mismatched(names, checkpoints))
    fitting = [name for name in shared if name not in mismatched]
    kinds = {name: None for name in fitting if len({_is_float(item, name) for item in checkpoints}) > 1}
    known = tuple(recognise(item.shapes) for item in checkpoints)
    unknown = [item for item, found in zip(checkpoints, known, strict=True) if found is None]
    report = Preflight(
        checkpoints=tuple(checkpoints),
        shared=shared,
        mismatched=mismatched,
        kinds=tuple(kinds),
        missing={
            name: tuple(item.name for item in checkpoints if name not in item.tensors)
            for name in names
            if name not in everywhere
        },
        integers=tuple(name for name in fitting if name not in kinds and _differs(name, checkpoints)),
        dtypes=_count_dtypes(checkpoints),
        parameters=tuple(item.parameters for item in checkpoints),
        architectures=known,
        unknown=tuple((tuple(unknown[number].name for number in group), why) for group, why in explain(unknown)),
        same_file=tuple((a.name, b.name) for a, b in combinations(checkpoints, 2) if a.fingerprint == b.fingerprint),
    )
    return replace(report, findings=describe(report))


def _mismatched(names: Sequence[str], checkpoints: Sequence[Checkpoint]) -> Iterator[tuple[str, Shapes]]:
    for name in names:
        shapes = tuple(item.tensors[name].shape if name in item.tensors else None for item in checkpoints)
        if len({shape for shape in shapes if shape is not None}) > 1:
            yield name, shapes


def _is_float(checkpoint: Checkpoint, name: str) -> bool:
    return checkpoint.tensors[name].dtype.is_floating_point


def _differs(name: str, checkpoints: Sequence[Checkpoint]) -> bool:
    """Whether integer tensor `name` has other values somewhere; never for floats and step counters."""
    if _is_float(checkpoints[0], name) or name.rpartition(".")[2] == COUNTER:
        return False
    first = checkpoints[0].read(name)
    return any(not _equal(first, item.read(name)) for item in checkpoints[1:])


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Equal numbers; of different integer dtypes too, compared as int64."""
    if first.dtype != second.dtype:
        first, second = first.to(torch.int64), second.to(torch.int64)
    return torch.equal(first, second)


def _count_dtypes(checkpoints: Sequence[Checkpoint]) -> dict[str, tuple[int, ...]]:
    counts = [Counter(str(info.dtype).removeprefix("torch.") for info in item.tensors.values()) for item in checkpoints]
    return {
        dtype: tuple(count[dtype] for count in counts)
        for dtype in dict.fromkeys(key for count in counts for key in count)
    }
