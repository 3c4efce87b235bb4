"""Questions: plain values that name what is to be found out, of whom, and on which pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fusionlib.recipe import Recipe


@dataclass(frozen=True)
class Question:
    """`measure` of the networks of `recipes`, on the pictures whose content key is `data`.

    A measure of one network takes one recipe, of a pair two, of a set two or more.
    """

    recipes: tuple[Recipe, ...]
    data: str
    measure: str

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.measure, self.data, tuple(one.content for one in self.recipes)))


@dataclass(frozen=True)
class Told:
    """An answer as it reaches whoever asked.

    `known`: no forward pass was run for it. `notes` are what the user must know of the merges, `seconds` how long they
    took; `builds` are the build keys.
    """

    question: Question
    figures: Mapping[str, Any]
    images: int
    tiled: int
    known: bool
    builds: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass
class Tally:
    """Forward passes of a piece of work: run, and spared because their answers were known.

    A picture that one network sees is one, whether it is measured, recalibrated or estimated on; that of an ensemble
    is one for each member.
    """

    run: int = 0
    known: int = 0
    seconds: float = 0.0

    @property
    def counted(self) -> bool:
        """Whether there was anything to run."""
        return bool(self.run or self.known)

    def listed(self) -> dict[str, Any]:
        """As the JSON of every verb that measures has it."""
        return {
            "forward_passes": self.run,
            "forward_passes_known": self.known,
            "seconds": round(self.seconds, 3),
        }

    @property
    def line(self) -> str:
        """As the last line of every verb that measures."""
        return f"{self.run} forward passes, {self.known} known, {self.seconds:.1f} s"
