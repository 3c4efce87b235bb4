"""Merging with weights of its own for every tensor, recomputing only what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Entry, Layout
from fusionlib.contracts import Shares
from fusionlib.errors import UsageError
from fusionlib.merging.average import average_rows
from fusionlib.merging.choices import GRANULARITIES


def unit_of(entry: Entry, granularity: str) -> str:
    """Name of the unit that a tensor belongs to. Raises `UsageError` for an unknown granularity."""
    if granularity not in GRANULARITIES:
        raise UsageError(f"Unknown granularity {granularity!r}", f"one of {', '.join(GRANULARITIES)}", "Correct it")
    return {
        "tensor": entry.name,
        "module": entry.layer,
        "block": entry.block,
        "learner": entry.learner or entry.block,
        "part": entry.part,
    }[granularity]


def units(layout: Layout, granularity: str) -> dict[str, tuple[Entry, ...]]:
    """The tensors of every unit, units in order of their first tensor."""
    found: dict[str, list[Entry]] = {}
    for entry in layout.entries:
        found.setdefault(unit_of(entry, granularity), []).append(entry)
    return {name: tuple(entries) for name, entries in found.items()}


def merge_slices(
    arena: Arena, table: Mapping[str, Shares], out: Tensor, entries: Iterable[Entry] | None = None
) -> None:
    """`out[l] = sum_i table[l]_i rows_i[l]` for every tensor l of `entries` (default: all), in place.

    `table` has K shares by tensor name. Neighbours with equal shares are merged in one operation, gaps included.
    """
    for start, end, shares in _runs(table, arena.layout.entries if entries is None else entries):
        average_rows(arena, shares, out[start:end], start, end)


def _runs(table: Mapping[str, Shares], entries: Iterable[Entry]) -> list[tuple[int, int, Shares]]:
    runs: list[tuple[int, int, Shares]] = []
    for entry in entries:
        shares = table[entry.name]
        # Only the alignment gap, never a tensor, may lie between two entries of one run.
        if runs and runs[-1][2] == shares and 0 <= entry.offset - runs[-1][1] < 16:
            runs[-1] = (runs[-1][0], entry.end, shares)
        else:
            runs.append((entry.offset, entry.end, shares))
    return runs


def clear_gaps(layout: Layout, out: Tensor) -> None:
    """Zero what lies between tensors, so that equal merges are equal buffers."""
    at = 0
    for entry in layout.entries:
        out[at : entry.offset] = 0
        at = entry.end
    out[at:] = 0


def mean_shares(rows: Sequence[Shares]) -> Shares:
    """The plain mean of several share tuples: who takes part, and about how much."""
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


def parts_of(arena: Arena) -> dict[str, str]:
    """`backbone` or `head` by tensor name. Raises `UsageError` where one of them has no tensor at all."""
    parts = {entry.name: entry.part for entry in arena.layout.entries}
    lacking = {"backbone", "head"} - set(parts.values())
    if lacking:
        raise UsageError(
            f"No tensor is known to be of the {lacking.pop()}",
            "a network with a backbone and a head",
            "Name the head's prefixes in HEAD of your model code, or use layerwise with an exclude pattern",
        )
    return parts
