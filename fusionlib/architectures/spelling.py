"""Tables of names: the tensors of a network as other code stores them, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionlib.architectures.recognise import recognise
from fusionlib.contracts import Parts, TensorShapes

LEFT_OUT: tuple[str, ...] = ()
"""In place of names: a tensor that nothing reads."""


@dataclass(frozen=True)
class Rule:
    """What the beginning of a name becomes, a regular expression and its replacement; of several the tensor's rows are
    shared out in equal parts.

    With `counted` the first number in the pattern counts from 1, and from 0 here. With `flat` 1x1 convolutions are
    linear layers here.
    """

    pattern: str
    names: str | tuple[str, ...]
    counted: bool = False
    flat: bool = False

    def parts(self, name: str, shape: tuple[int, ...]) -> Parts | None:
        """Names and shapes here, in the order of the rows; None where the rule is about other tensors."""
        found = re.match(self.pattern, name)
        if found is None:
            return None
        names = (self.names,) if isinstance(self.names, str) else self.names
        if len(names) > 1 and (not shape or shape[0] % len(names)):
            return None
        if self.flat and len(shape) == 4 and shape[2:] == (1, 1):
            shape = shape[:2]
        rest = name[found.end() :]
        return tuple(
            (self._named(found, text) + rest, (shape[0] // len(names), *shape[1:]) if len(names) > 1 else shape)
            for text in names
        )

    def _named(self, found: re.Match[str], text: str) -> str:
        if not self.counted:
            return found.expand(text)
        return found.expand(text.replace(r"\1", str(int(found[1]) - 1)))


class TableOfNames:
    """How code of the name `title` stores a network. Files without the tensor `mark` are none of it.

    Tensors without a rule keep their name. The table holds where a network is known by the new names and none, the
    operator's own least of all, by those of the file.
    """

    def __init__(self, title: str, mark: str, rules: Sequence[Rule]) -> None:
        self.title, self.mark, self.rules = title, mark, tuple(rules)

    def parts(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Parts] | None:
        """As `fusionlib.contracts.Spelling.parts`."""
        if self.mark not in shapes or recognise(shapes) is not None:
            return None
        about = shapes.description if isinstance(shapes, TensorShapes) else None
        found = {name: self._parts(name, shape) for name, shape in shapes.items()}
        named = [part for parts in found.values() for part in parts]
        ours = TensorShapes(dict(named), about)
        return found if len(ours) == len(named) and recognise(ours) is not None else None

    def renamed(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes under the new names, whatever they may be of."""
        return {part: size for name, shape in shapes.items() for part, size in self._parts(name, shape)}

    def _parts(self, name: str, shape: tuple[int, ...]) -> Parts:
        return next((parts for rule in self.rules if (parts := rule.parts(name, shape)) is not None), ((name, shape),))
