"""From the numbers that merging computes with to those that a file holds; what does not fit is refused, never
written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from fusionlib.checkpoints.choices import SAME, WRITTEN
from fusionlib.checkpoints.layout import ALIGNMENT, Entry, Layout
from fusionlib.errors import MergeError, UsageError

_PIECE = 1 << 20
"""Elements checked and rounded at a time, so that a whole network needs no second copy in the narrow type."""


def written_dtype(name: str | None) -> torch.dtype | None:
    """The dtype of that name; None where every tensor keeps its own. Raises `UsageError` that lists the valid names."""
    if name is not None and name not in WRITTEN:
        raise UsageError(f"Unknown dtype {name!r}", f"one of {', '.join(WRITTEN)}", "Correct --dtype")
    return None if name in (None, SAME) else getattr(torch, name)


def fits(values: Tensor, dtype: torch.dtype) -> bool:
    """Whether all `values` are finite and stay what they are but for rounding in `dtype`.

    Rounding keeps the order, so the smallest and the largest tell for all.
    """
    return not values.numel() or not bool(_misfits(_ends(values), dtype).any())


def rounded(name: str, values: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` of the tensor `name` in `dtype`. Raises `MergeError` where one of them does not fit."""
    if not fits(values, dtype):
        raise _overflow(name, values, dtype)
    return values.to(dtype)


def round_to_dtype(layout: Layout, flat: Tensor, entries: Sequence[Entry] | None = None) -> None:
    """Round `entries` (default: all) of `flat` (P,) to what their own dtypes can hold, in place.

    The preview then runs on exactly the numbers that an export in those dtypes will contain. Numbers of the dtype of
    `flat` stay, but are looked at as well. Raises `MergeError` that names the first tensor with a value that does not
    fit, NaN and infinity included.
    """
    wanted = layout.entries if entries is None else entries
    for start, end, dtype in _runs(wanted):
        for piece in flat[start:end].split(_PIECE):
            if not fits(piece, dtype):
                refuse_overflow(wanted, flat)
            if dtype != flat.dtype:
                piece.copy_(piece.to(dtype))


def refuse_overflow(entries: Iterable[Entry], flat: Tensor, dtype: torch.dtype | None = None) -> None:
    """Raises `MergeError` for the first entry of `flat` (P,) with a value that does not fit `dtype`, by default the
    entry's own.
    """
    for entry in entries:
        values = flat[entry.offset : entry.end]
        if not fits(values, dtype or entry.dtype):
            raise _overflow(entry.name, values, dtype or entry.dtype)


def _runs(entries: Iterable[Entry]) -> Iterator[tuple[int, int, torch.dtype]]:
    """(start, end, dtype) of neighbours of one dtype, with the gaps between them: few large steps in place of one for
    every tensor.
    """
    start = end = 0
    dtype: torch.dtype | None = None
    for entry in entries:
        if entry.dtype == dtype and 0 <= entry.offset - end < ALIGNMENT:
            end = entry.end
            continue
        if dtype is not None:
            yield start, end, dtype
        start, end, dtype = entry.offset, entry.end, entry.dtype
    if dtype is not None:
        yield start, end, dtype


def _ends(values: Tensor) -> Tensor:
    """Smallest and largest of `values`, NaN where there is any; on the CPU by NumPy, in the calling thread alone."""
    if values.device.type != "cpu":
        return torch.stack(torch.aminmax(values))
    array = values.detach().numpy()
    return torch.tensor([array.min(), array.max()], dtype=values.dtype)


def _misfits(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Which of `values` move by more than half a step at the top of the range when they are rounded; NaN and infinity
    do.

    To look for infinity would not do: float8_e4m3fn has none, and makes the largest number that it has of whatever is
    too large.
    """
    about = torch.finfo(dtype)
    half_step = math.ldexp(about.eps, math.frexp(about.max)[1] - 2)
    return ~((values.to(dtype).to(values.dtype) - values).abs() <= half_step)


def _overflow(name: str, values: Tensor, dtype: torch.dtype) -> MergeError:
    found = (piece[_misfits(piece, dtype)] for piece in values.reshape(-1).split(_PIECE))
    value = next(float(piece[0]) for piece in found if piece.numel())
    kind, most = str(dtype).removeprefix("torch."), torch.finfo(dtype).max
    in_float32 = dtype != torch.float32 and abs(value) <= torch.finfo(torch.float32).max
    return MergeError(
        f"{name} would hold {value:g}, which does not fit {kind}",
        f"numbers up to {most:g}",
        (
            "Write it in float32: --dtype float32 (in a recipe dtype: float32, on a page under Written as)"
            if in_float32
            else "Choose other weights, another scale or another method"
        ),
    )
