"""What a file beside tensors says of their network, and how tensors of a network lie in files of other code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias


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
        """The kind of network that it names."""
        found = self.config.get("model_type")
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


Parts: TypeAlias = "tuple[tuple[str, tuple[int, ...]], ...]"
"""Names and shapes of a network's tensors that a file keeps in one, in the order in which their numbers lie there."""


class Spelling(Protocol):
    """Names under which other code stores a network that is known here by others."""

    title: str
    """Whose names they are."""

    def parts(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Parts] | None:
        """What each tensor of a file is here; nothing for one that the network does not read. None where the file is
        not so named, or a network is known by the names that it has.
        """
        ...
