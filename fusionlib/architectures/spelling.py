"""Tables of names: the tensors of a network as other code stores them, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from fusionlib.architectures.recognise import network_of
from fusionlib.contracts import Part, Parts, TensorShapes, Turn, whole_shapes

LEFT_OUT: tuple[str, ...] = ()
"""In place of names: a tensor that nothing reads."""

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Rule:
    """What the beginning of a name becomes, a regular expression and its replacement; of several the tensor's rows are
    shared out in equal parts.

    With `counted` the first number in the pattern counts from 1, and from 0 here. With `flat` 1x1 convolutions are
    linear layers here. `place` says which of the tensors it is that are the rows of one here. `turn` gives the order of
    its numbers here by its shape, and None for a shape that has none.
    """

    pattern: str
    names: str | tuple[str, ...]
    counted: bool = False
    flat: bool = False
    place: int = 0
    turn: Callable[[Shape], Turn | None] | None = None

    def parts(self, name: str, shape: Shape) -> Parts | None:
        """What the tensor is here, in the order of the rows; None where the rule is about other tensors."""
        found = re.match(self.pattern, name)
        if found is None:
            return None
        names = (self.names,) if isinstance(self.names, str) else self.names
        if len(names) > 1 and (not shape or shape[0] % len(names)):
            return None
        if self.flat and len(shape) == 4 and shape[2:] == (1, 1):
            shape = shape[:2]
        turn = self.turn(shape) if self.turn else None
        if self.turn and turn is None:
            return None
        rest = name[found.end() :]
        rows = (shape[0] // len(names), *shape[1:]) if len(names) > 1 else shape
        return tuple(Part(self._named(found, text) + rest, rows, self.place, turn) for text in names)

    def _named(self, found: re.Match[str], text: str) -> str:
        if not self.counted:
            return found.expand(text)
        return found.expand(text.replace(r"\1", str(int(found[1]) - 1)))


class Additions(NamedTuple):
    """Tensors that files leave out because they follow from others: their shapes by those of the others, and the
    numbers of one by its shape.
    """

    shapes: Callable[[Shapes], Shapes]
    value: Callable[[Shape], Tensor]


class TableOfNames:
    """How code of the name `title` stores a network. Files without the tensor `mark` are none of it.

    Tensors without a rule keep their name. The table holds where a network is known by the new names and none, the
    operator's own least of all, by those of the file.
    """

    def __init__(self, title: str, mark: str, rules: Sequence[Rule], adds: Additions | None = None) -> None:
        self.title, self.mark, self.rules, self.adds = title, mark, tuple(rules), adds

    def parts(self, shapes: Shapes) -> dict[str, Parts] | None:
        """As `fusionlib.contracts.Spelling.parts`."""
        if self.mark not in shapes or _is_known(shapes):
            return None
        found = self._parts_of_all(shapes)
        ours = self._shapes_here(found, shapes)
        return found if ours is not None and _is_known(ours) else None

    def added(self, parts: Mapping[str, Parts]) -> dict[str, Tensor]:
        """As `fusionlib.contracts.Spelling` says; equal ones are one tensor."""
        found = whole_shapes(part for several in parts.values() for part in several)
        if self.adds is None or found is None:
            return {}
        shapes = self.adds.shapes(found)
        made = {shape: self.adds.value(shape) for shape in set(shapes.values())}
        return {name: made[shape] for name, shape in shapes.items()}

    def renamed(self, shapes: Shapes) -> TensorShapes | None:
        """Shapes under the new names, whatever they may be of; None where several would have one name."""
        return self._shapes_here(self._parts_of_all(shapes), shapes)

    def _parts_of_all(self, shapes: Shapes) -> dict[str, Parts]:
        return {name: self._parts(name, shape) for name, shape in shapes.items()}

    def _shapes_here(self, found: Mapping[str, Parts], shapes: Shapes) -> TensorShapes | None:
        about = shapes.description if isinstance(shapes, TensorShapes) else None
        ours = whole_shapes(part for parts in found.values() for part in parts)
        if ours is None:
            return None
        return TensorShapes({**ours, **(self.adds.shapes(ours) if self.adds else {})}, about)

    def _parts(self, name: str, shape: Shape) -> Parts:
        found = (parts for rule in self.rules if (parts := rule.parts(name, shape)) is not None)
        return next(found, (Part(name, shape),))


def _is_known(shapes: Shapes) -> bool:
    """Whether a network here takes these tensors: one of a library that only stands in does not count."""
    known = network_of(shapes)
    return known is not None and not getattr(known[0], "last", False)
