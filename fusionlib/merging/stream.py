"""Merging files piece by piece, so that the size of a checkpoint is bounded by the disk and not by memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena, common_tensors, refuse_unless_finite
from fusionlib.checkpoints.layout import Entry, Layout
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import rounded
from fusionlib.checkpoints.spelled import Run, Spelled, Written, in_order
from fusionlib.checkpoints.writer import SafetensorsWriter
from fusionlib.contracts import Progress
from fusionlib.errors import MergeError
from fusionlib.merging.average import average_rows, fold_order, weighted_average
from fusionlib.merging.buffers import merged_integers, settle
from fusionlib.merging.linear import Linear

CHUNK = 1 << 15
"""Elements merged at a time. 128 KiB a buffer stay in the core's cache between merging and writing, and torch runs so
few in the calling thread: waking a second one for every chunk cost three times the processor time of the whole merge.
"""

PIECE = 8 * CHUNK
"""Elements checked and written at a time: few enough to stay in the second-level cache, many enough that calls cost
nothing.
"""


def stream_merge(
    checkpoints: Sequence[Checkpoint],
    shares: Sequence[float],
    buffers: str,
    out: Path,
    metadata: Mapping[str, str],
    progress: Progress | None = None,
    dtype: torch.dtype | None = None,
    spelled: Spelled | None = None,
) -> tuple[str, ...]:
    """Write `sum_i shares_i checkpoint_i` to `out` (safetensors), reading every byte once. Returns remarks for the
    user.

    The same operations per element as the merge in memory, in the order of the fingerprints, so the bytes agree. Only
    batch-norm statistics are held as a whole, because the buffer policies pool them. Floating tensors are written in
    `dtype`, by default each in that of the checkpoints, and all are named as `spelled` has them. Raises `LayoutError`
    where the checkpoints do not fit, `CheckpointError` where one holds NaN or infinity and `MergeError` where the merge
    has a value that the file cannot hold; the file that was there before then stays.
    """
    statistics, method = _statistics_arena(checkpoints), Linear(weights=tuple(shares))
    statistics.require_finite()
    resident = average_rows(statistics, shares, torch.empty_like(statistics.weights[0]))
    notes = settle(buffers, statistics, method, resident)
    tables = merged_integers(buffers, statistics, method)
    tensors = common_tensors(checkpoints, checkpoints[0])
    layout = Layout.of(tensors)
    members = [(checkpoints[number], share) for number, share in fold_order(statistics.fingerprints, shares)]
    done, total = 0, sum(entry.size for entry in layout.entries)
    scratch = torch.empty(min(PIECE, total), dtype=layout.dtype)
    layout = layout if dtype is None else layout.written_in(dtype)
    entries = [
        (name, (layout.by_name.get(name) or info).dtype, info.shape) for name, info in checkpoints[0].tensors.items()
    ]
    written = Written(entries, spelled)
    with SafetensorsWriter(out, written.entries, metadata) as writer:
        for run in written.order:
            entry = layout.by_name.get(run.name)
            if entry is None:
                written.put(writer, run, tables[run.name])
            elif entry.name in statistics.layout.by_name:
                written.put(writer, run, rounded(run.name, statistics.layout.view(resident, run.name), entry.dtype))
                done += run.stop - run.start
            else:
                for piece in in_order(run, _merged_pieces(entry, run, members, scratch)):
                    writer.append(piece)
                    done += piece.numel()
                    if progress is not None:
                        progress(done, total)
    return notes


def _merged_pieces(
    entry: Entry, run: Run, members: Sequence[tuple[Checkpoint, float]], scratch: Tensor
) -> Iterator[Tensor]:
    """The run of the merged tensor piece by piece, `members` with their shares in the order in which they are
    folded.
    """
    checkpoints, shares = zip(*members, strict=True)
    longest = min(PIECE, run.stop - run.start)
    rows = [torch.empty(longest, dtype=checkpoint.tensors[entry.name].dtype) for checkpoint in checkpoints]
    for start in range(run.start, run.stop, PIECE):
        end = min(start + PIECE, run.stop)
        merged = scratch[: end - start]
        pieces = [
            checkpoint.piece(entry.name, start, end, row[: end - start])
            for checkpoint, row in zip(checkpoints, rows, strict=True)
        ]
        for low in range(0, end - start, CHUNK):
            chunks = [piece[low : low + CHUNK].to(scratch.dtype) for piece in pieces]
            weighted_average(chunks, shares, merged[low : low + CHUNK])
        try:
            written = rounded(entry.name, merged, entry.dtype)
        except MergeError:
            for checkpoint, piece in zip(checkpoints, pieces, strict=True):
                refuse_unless_finite(checkpoint.name, entry.name, piece)
            raise
        yield written


def _statistics_arena(checkpoints: Sequence[Checkpoint]) -> Arena:
    """An arena of running statistics and integer tensors only; packing it also proves that the checkpoints fit."""
    return Arena.pack(checkpoints, only_statistics=True)
