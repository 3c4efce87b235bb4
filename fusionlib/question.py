"""Questions: plain values that name what is to be found out, of whom, and on which pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

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
    took when they were first made; `took` is how long the pass took, 0 where none was run; `builds` are the build keys.
    """

    question: Question
    figures: Mapping[str, Any]
    images: int
    tiled: int
    known: bool
    builds: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    took: float = 0.0


@dataclass(frozen=True)
class Refused:
    """Why a question has no answer, in one line. `applies` is False where it never will have one: the network cannot be
    made or does not fit the pictures; otherwise something went wrong.
    """

    reason: str
    applies: bool = False


Known = Mapping[Question, Told | Refused]
"""What a study has been told so far."""


class Step(NamedTuple):
    """Questions about one dataset that are found out together, in one pass; `title` says what it is about."""

    questions: tuple[Question, ...]
    title: str = ""


def figures_of(told: Iterable[Told]) -> dict[str, Any]:
    """Figures of one network by several measures as one table; `images` and `tiled` beside them."""
    figures: dict[str, Any] = {}
    for one in told:
        figures |= {"images": one.images, "tiled": one.tiled, **one.figures}
    return figures


def told_of(questions: Iterable[Question], known: Known) -> list[Told] | None:
    """The answers to questions, in order; None where one is missing or refused."""
    found = [known.get(one) for one in questions]
    there = [one for one in found if isinstance(one, Told)]
    return there if len(there) == len(found) else None


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
        spared = f"another {self.known}" if self.run and self.known else str(self.known)
        known = f"{spared} spared, known from before" if self.known else ""
        ran = f"{self.run or 'No'} forward pass{'' if self.run == 1 else 'es'} run"
        return f"{', '.join(filter(None, (ran, known)))}; {self.seconds:.1f} s"
