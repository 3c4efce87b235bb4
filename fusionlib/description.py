"""What a file beside tensors says of their network, and how tensors of a network lie in files of other code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias


@dataclass(frozen=True)
class Description:
    """What lies beside tensors of Hugging Face and says what they are: `config` and `preprocessor` as JSON values, read
    as data that anybody may have written.
    """

    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that it says."""
        return hashlib.sha256(json.dumps([self.config, self.preprocessor], sort_keys=True).encode()).hexdigest()

    @property
    def model_type(self) -> str:
        """The kind of network that it names; segmentation_models_pytorch calls it otherwise."""
        found = self.config.get("model_type", self.config.get("_model_class"))
        return found if isinstance(found, str) else ""

    @property
    def network(self) -> str:
        """The class that it names, else the kind."""
        found = self.config.get("architectures")
        name = found[0] if isinstance(found, list) and found else None
        return name if isinstance(name, str) else self.model_type


class TensorShapes(dict[str, tuple[int, ...]]):
    """Shape by name, with what a description beside the tensors says of their network; None where there is none."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], description: Description | None = None) -> None:
        super().__init__(shapes)
        self.description = description


class Turn(NamedTuple):
    """Another order of a tensor's numbers: with its axes taken apart to `sizes`, they come in the order `axes`."""

    sizes: tuple[int, ...]
    axes: tuple[int, ...]


class Part(NamedTuple):
    """A network's tensor in a file, or rows of it: `shape` of `name`, in the order `turn` where it is not the file's.

    Where the rows of one tensor lie in several of the file, `place` counts these.
    """

    name: str
    shape: tuple[int, ...]
    place: int = 0
    turn: Turn | None = None


Parts: TypeAlias = "tuple[Part, ...]"
"""What of a network a file keeps in one tensor, in the order in which the rows lie there."""


def whole_shapes(parts: Iterable[Part]) -> dict[str, tuple[int, ...]] | None:
    """Shape by name of the tensors that these are parts of; None where some do not make one."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.name, []).append(part)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, several in found.items():
        several.sort(key=lambda part: part.place)
        if [part.place for part in several] != list(range(len(several))):
            return None
        shapes[name] = several[0].shape
        if len(several) > 1:
            if len({part.shape[1:] for part in several}) > 1 or () in [part.shape for part in several]:
                return None
            shapes[name] = (sum(part.shape[0] for part in several), *several[0].shape[1:])
    return shapes


class Spelling(Protocol):
    """Names under which other code stores a network that is known here by others.

    One whose files leave out what follows from the rest has a method `added(parts)`, those tensors by name. One that is
    asked after all others has `last = True`.
    """

    title: str
    """Whose names they are."""

    def parts(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Parts] | None:
        """What each tensor of a file is here; nothing for one that the network does not read. None where the file is
        not so named, or a network is known by the names that it has.
        """
        ...
