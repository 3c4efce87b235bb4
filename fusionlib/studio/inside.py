"""Learners inside the network of a view: which of them a frame is asked of, and what answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import FUSIONS, Architecture, Learners
from fusionlib.engine.learners import LastAnswers, usable
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Run
from fusionlib.errors import UsageError
from fusionlib.measures.learners import MOST, ways

PANES = tuple(f"l{number}" for number in range(MOST))
"""Panes that show learners, each in a line of its own."""


@dataclass(frozen=True)
class Inside:
    """Learners by their numbers, and how they are put together: a name of `ways`, empty for the network's own."""

    kept: tuple[int, ...]
    way: str = ""

    @property
    def words(self) -> str:
        """`learners 0,2 majority:heads`, as a part of what tells frames apart."""
        return f"learners {','.join(map(str, self.kept))} {self.way}"

    @classmethod
    def read(cls, kept: str, way: str) -> Inside:
        """Of two texts that a browser has sent. Raises `UsageError` for what is neither."""
        numbers = [int(one) for one in kept.split(",")[:MOST] if one.isascii() and one.isdecimal() and len(one) < 3]
        if not numbers or way not in ("", *(one.name for one in ways())):
            raise UsageError(
                f"Learners {kept[:40]!r} by {way[:40]!r}",
                "numbers with commas between, and a fusion",
                "Reload the page",
            )
        return cls(tuple(sorted(set(numbers))), way)


class LearnersAnswer:
    """A network asked as one is, of which some learners answer."""

    def __init__(self, network: BoundNetwork, inside: Inside, last: LastAnswers) -> None:
        self._network, self._inside, self._last = network, inside, last

    def logits(self, images: np.ndarray, size: tuple[int, int], resume: bool, run: Run) -> torch.Tensor:
        """Log-probabilities (N, C, h, w) of these learners together; no pass where they were asked just now."""
        wanted = self._inside.way
        fusion = next((one.fusion for one in ways() if one.name == wanted), None)
        return run(lambda: self._last.of(self._network, images).fused(fusion, self._inside.kept, size))


def refuse_several(inside: Inside | None) -> None:
    """Raises `UsageError` where learners are asked for of several networks."""
    if inside is not None:
        raise UsageError(
            "Learners of several networks that answer together",
            "a merge that is one network",
            "Let all learners answer and show none alone, or choose another method",
        )


def described(architecture: Architecture, classes: int) -> Learners:
    """The learners of an architecture that has some; nothing is computed."""
    with torch.device("meta"):
        return architecture.learners(architecture.build(classes))  # type: ignore[attr-defined]


def offered(architecture: Architecture | None, classes: int) -> dict[str, Any] | None:
    """Names of the learners, and the fusions that they can be asked by, as JSON values; None where there are none.

    Nothing is computed.
    """
    if architecture is None or not hasattr(architecture, "learners"):
        return None
    about = described(architecture, classes)
    if not 1 < len(about.names) <= MOST:
        return None
    free = usable(about)
    fusions = [{"name": one.name, "title": one.title} for one in ways() if FUSIONS.name_of(type(one.fusion)) in free]
    return {"names": list(about.names), "fusions": fusions, "own": about.fusion}
