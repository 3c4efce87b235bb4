"""Tensors under the names of a network where a file has others: taken apart when it is opened, put together again when
a merge is written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

import torch
from torch import Tensor

from fusionlib.checkpoints.stored import Held, Joined, Readable, Stored, Turned, turned_back
from fusionlib.checkpoints.writer import EntrySpec, SafetensorsWriter
from fusionlib.contracts import SPELLINGS, Part, Parts, Turn

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Spelled:
    """`parts` by name in the file of a network's tensors, whose numbers lie one after another in it; `shapes` are those
    in the file, `added` are tensors that it leaves out.
    """

    title: str
    parts: Mapping[str, Parts]
    shapes: Shapes
    added: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What was done, in words."""
        unread = [name for name, parts in self.parts.items() if not parts]
        also = f"; left out, because nothing reads it: {', '.join(unread[:3])}" if unread else ""
        return f"named as in {self.title}; a merge has these names again{also}"

    def opened(self, stored: Mapping[str, Stored | Held]) -> dict[str, Readable]:
        """The network's tensors out of those of the file."""
        pieces: dict[str, list[tuple[int, Stored | Held | Turned]]] = {}
        for name, parts in self.parts.items():
            begin = 0
            for part in parts:
                rows = _rows(stored[name], begin, part.shape, alone=len(parts) == 1)
                rows = rows if part.turn is None else Turned(rows, part.turn, part.shape)
                pieces.setdefault(part.name, []).append((part.place, rows))
                begin += part.shape[0] if part.shape else 0
        found = {
            name: _joined([rows for _, rows in sorted(several, key=itemgetter(0))]) for name, several in pieces.items()
        }
        return found | {name: Held(tensor) for name, tensor in self.added.items()}


def spelling_of(shapes: Shapes) -> Spelled | None:
    """The spelling by which a network is known; None where names are a network's own, or nobody's."""
    for _, spelling in sorted(SPELLINGS.items(), key=lambda item: (getattr(item[1], "last", False), item[0])):
        if (parts := spelling.parts(shapes)) is not None:
            adds = getattr(spelling, "added", None)
            return Spelled(spelling.title, parts, dict(shapes), adds(parts) if adds else {})
    return None


@dataclass(frozen=True)
class Run:
    """Elements `start` to `stop` of the network's tensor `name`, which a file has in the order before `turn`."""

    name: str
    start: int
    stop: int
    turn: Turn | None = None


class Written:
    """How tensors of a network are written as `spelled` has them; None, or of other tensors: as they are.

    `entries` are those of the file, `order` what is to be put, one after another. Parts of one tensor that have
    different dtypes keep all in the network's names.
    """

    def __init__(self, entries: Sequence[EntrySpec], spelled: Spelled | None) -> None:
        self.entries = list(entries)
        self.order = tuple(Run(name, 0, math.prod(shape)) for name, _, shape in entries)
        self._whole = True
        dtypes = {name: dtype for name, dtype, _ in entries}
        groups = {} if spelled is None else {own: parts for own, parts in spelled.parts.items() if parts}
        if spelled is None or {part.name for parts in groups.values() for part in parts} | set(spelled.added) != set(
            dtypes
        ):
            return
        if any(len({dtypes[part.name] for part in parts}) > 1 for parts in groups.values()):
            return
        self.entries = [(own, dtypes[parts[0].name], tuple(spelled.shapes[own])) for own, parts in groups.items()]
        self.order = tuple(_runs(groups))
        self._whole = False

    def put(self, writer: SafetensorsWriter, run: Run, tensor: Tensor) -> None:
        """Write the next of `order` out of the whole tensor."""
        if self._whole:
            writer.write(run.name, tensor)
            return
        for piece in in_order(run, [tensor.reshape(-1)[run.start : run.stop]]):
            writer.append(piece)


def in_order(run: Run, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Pieces (1-D) of a run as they follow one another in the file: all at once where its numbers are turned.

    A piece may be overwritten when the next is taken.
    """
    if run.turn is None:
        yield from pieces
    else:
        yield turned_back(torch.cat([piece.clone() for piece in pieces]), run.turn)


def _runs(groups: Mapping[str, Parts]) -> Iterator[Run]:
    """What each tensor of the file consists of."""
    rows: dict[str, list[Part]] = {}
    for part in sorted((part for parts in groups.values() for part in parts), key=lambda part: part.place):
        rows.setdefault(part.name, []).append(part)
    for parts in groups.values():
        for part in parts:
            start = sum(math.prod(other.shape) for other in rows[part.name][: part.place])
            yield Run(part.name, start, start + math.prod(part.shape), part.turn)


def _joined(sources: list[Stored | Held | Turned]) -> Readable:
    if len(sources) == 1:
        return sources[0]
    return Joined(tuple(sources), (sum(source.shape[0] for source in sources), *sources[0].shape[1:]))


def _rows(stored: Stored | Held, begin: int, shape: tuple[int, ...], alone: bool) -> Stored | Held:
    """`shape[0]` rows from `begin` on, in that shape, which differs from the file's in sizes of 1 at its end alone."""
    if isinstance(stored, Held):
        return Held((stored.tensor if alone else stored.tensor[begin : begin + shape[0]]).reshape(shape))
    strides = stored.strides and stored.strides[: len(shape)]
    step = stored.strides[0] if stored.strides else math.prod(stored.shape[1:])
    first = 0 if alone else begin * step * stored.dtype.itemsize
    return replace(stored, begin=stored.begin + first, shape=shape, strides=strides)
