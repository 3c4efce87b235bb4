"""Tensors under the names of a network where a file has others: taken apart when it is opened, put together again when
a merge is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fusionlib.checkpoints.stored import Kept
from fusionlib.checkpoints.writer import EntrySpec, SafetensorsWriter
from fusionlib.contracts import SPELLINGS, Parts

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Spelled:
    """`parts` by name in the file: names and shapes of a network's tensors, whose numbers lie one after another in it;
    `shapes` are those in the file.
    """

    title: str
    parts: Mapping[str, Parts]
    shapes: Shapes

    @property
    def note(self) -> str:
        """What was done, in words."""
        unread = [name for name, parts in self.parts.items() if not parts]
        also = f"; left out, because nothing reads it: {', '.join(unread[:3])}" if unread else ""
        return f"named as in {self.title}; a merge has these names again{also}"

    def opened(self, stored: Mapping[str, Kept]) -> dict[str, Kept]:
        """The network's tensors out of those of the file."""
        found: dict[str, Kept] = {}
        for name, parts in self.parts.items():
            begin = 0
            for part, shape in parts:
                found[part] = stored[name].rows(begin, shape, alone=len(parts) == 1)
                begin += shape[0] if shape else 0
        return found


def spelling_of(shapes: Shapes) -> Spelled | None:
    """The spelling by which a network is known; None where names are a network's own, or nobody's."""
    for name in SPELLINGS.names():
        spelling = SPELLINGS.get(name)
        if (parts := spelling.parts(shapes)) is not None:
            return Spelled(spelling.title, parts, dict(shapes))
    return None


class Written:
    """How tensors of a network are written as `spelled` has them; None, or of other tensors: as they are.

    `entries` are those of the file, `order` the network's names in the order in which they are to be put. Parts of one
    tensor that have different dtypes keep all in the network's names.
    """

    def __init__(self, entries: Sequence[EntrySpec], spelled: Spelled | None) -> None:
        self.entries = list(entries)
        self.order = tuple(name for name, _, _ in entries)
        self._whole = {name: name for name in self.order}
        dtypes = {name: dtype for name, dtype, _ in entries}
        groups = (
            {} if spelled is None else {own: [one for one, _ in found] for own, found in spelled.parts.items() if found}
        )
        if spelled is None or {name for names in groups.values() for name in names} != dtypes.keys():
            return
        if any(len({dtypes[name] for name in names}) > 1 for names in groups.values()):
            return
        self.entries = [(own, dtypes[names[0]], tuple(spelled.shapes[own])) for own, names in groups.items()]
        self.order = tuple(name for names in groups.values() for name in names)
        self._whole = {}

    def put(self, writer: SafetensorsWriter, name: str, tensor: Tensor) -> None:
        """Write the next tensor of `order` whole."""
        if name in self._whole:
            writer.write(name, tensor)
        else:
            writer.append(tensor.reshape(-1))
