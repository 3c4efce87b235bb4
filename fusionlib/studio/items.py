"""Lines of the workspace: checkpoints with their names, and files that could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fusionlib.architectures.recognise import recognise
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import Checkpoint, in_agreement
from fusionlib.contracts import ARCHITECTURES, Architecture
from fusionlib.errors import FusionError
from fusionlib.studio.provenance import FILE, NOTHING_SAID, Made


@dataclass(frozen=True)
class Item:
    """One line of the workspace: a checkpoint, or a file that could not be read and why.

    `given` says who gave it: the demo, an upload or a file of the operator's, whose folder is the `origin`.
    """

    name: str
    origin: str
    checkpoint: Checkpoint | None
    problem: FusionError | None = None
    known: tuple[str, int] | None = None
    group: str | None = None
    given: str = FILE
    made: Made = NOTHING_SAID

    @property
    def signature(self) -> str:
        """Equal for checkpoints that can be merged tensor by tensor."""
        return Layout.of(self.checkpoint.tensors).signature if self.checkpoint else ""

    @property
    def architecture(self) -> tuple[Architecture, int] | None:
        """The network and its class count; None when it is unknown."""
        return (ARCHITECTURES.get(self.known[0]), self.known[1]) if self.known else None


def recognised(item: Item) -> Item:
    """The same with the network that is known for it now."""
    return replace(item, known=recognise(item.checkpoint.shapes)) if item.checkpoint else item


def agreeing(items: Sequence[Item]) -> list[Item]:
    """The same, each with the group of its tensors that fits another checkpoint where it fits none as it is."""
    opened = [item.checkpoint for item in items if item.checkpoint is not None]
    taken = dict(zip(map(id, opened), in_agreement(opened), strict=True))

    def taken_up(item: Item) -> Item:
        checkpoint = taken.get(id(item.checkpoint))
        if checkpoint is None or checkpoint is item.checkpoint:
            return item
        return replace(item, checkpoint=checkpoint, known=recognise(checkpoint.shapes))

    return [taken_up(item) for item in items]


def with_names(items: Sequence[Item]) -> Iterable[Item]:
    """The same, each under a name of its own: the first that has it keeps it."""
    taken: set[str] = set()
    for item in items:
        name = item.name
        if name in taken:
            name = f"{item.origin}/{item.name}"
        base, number = name, 2
        while name in taken:
            name, number = f"{base} ({number})", number + 1
        taken.add(name)
        if name == item.name:
            yield item
            continue
        if item.checkpoint is not None:
            item.checkpoint.name = name
        yield replace(item, name=name)
