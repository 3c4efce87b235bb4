"""What a study is, and a way to search: which questions next, given what is known. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from fusionlib.errors import UsageError
from fusionlib.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from fusionlib.candidate import Candidate, Learned, Learning, Outcome
    from fusionlib.question import Known, Step
    from fusionlib.recipe import Recipe


class Study(ABC):
    """A frozen dataclass of plain values, so that it runs the same anywhere: which questions next. Loads no torch."""

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    goes_on: ClassVar[bool] = False
    """Whether what cannot be answered is one row's affair (`Refused`), and the others go on."""
    fits: ClassVar[bool] = False
    """Whether something is fitted: `planned` is then given two halves of the pictures, to fit on and to report on."""

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> Self:
        """The study of these networks on the pictures of this content key: what `studies NAME` runs.

        `settings` are those of its fields that are declared by `parameter`; of one that `fits` also `fit_on`. Raises
        `UsageError` where a study needs more than that, and so has a verb of its own.
        """
        raise UsageError(f"The study {cls.title}", "its own verb, which plans it", "See --help")

    @abstractmethod
    def steps(self, known: Known) -> Sequence[Step]:
        """All that is to be found out as far as can be told, in order, a pass each.

        What is known may be among it and is skipped. Asked again after every answer: later steps may rest on earlier
        ones. At the end nothing of it is unknown.
        """

    def later(self, known: Known) -> int:
        """About how many networks will be asked for that no step names yet: what the time left is estimated from."""
        return 0

    @abstractmethod
    def table(self, known: Known) -> dict[str, Any]:
        """What is known so far, as JSON values."""


class Objective(Protocol):
    """What a search may ask: scores of candidates on the pictures that it chooses by. Higher is better.

    Every call gives what is known, and where something is not, ends the search for now: it is found out, and the search
    is gone through again from its beginning, up to the next question. So a search is written down as plain code.
    """

    members: int
    """K, how many checkpoints there are."""
    pictures: int
    """N, how many there are to choose by."""
    units: tuple[str, ...]
    """Names of the units of the strategy's granularity, in network order."""

    def scores(self, candidates: Sequence[Candidate], part: int | None = None) -> list[float]:
        """The score of each, on part number `part` of the pictures (None: all of them)."""
        ...

    def figures(self, measure: str, candidates: Sequence[Candidate]) -> Sequence[Mapping[str, Any]]:
        """What a measure gives of one candidate, or of several together, on all pictures of each dataset."""
        ...

    def draws(self, candidates: Sequence[Candidate], part: int | None = None) -> np.ndarray | None:
        """Scores of candidates that are known, each in the same resamples (B, candidates); None for too few pictures to
        resample, and where scores do not follow from the states of single pictures.
        """
        ...

    def learned(self, wish: Learning) -> Learned:
        """Weights that gradients find on all pictures."""
        ...


@dataclass(frozen=True)
class Strategy(ABC):
    """A way to search for the best network of K checkpoints: a frozen dataclass whose fields are its settings.

    It decides from scores alone, and the same scores lead it the same way: what is random comes from its own seed.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int]
    fewest: ClassVar[int] = 2
    most: ClassVar[int] = 64
    """How many checkpoints it takes."""
    buffers: ClassVar[str] = "average"
    """What it does with running statistics where nobody says; `recalibrate` is `average` where there are none."""
    several: ClassVar[bool] = True
    """Whether it can choose by several datasets at once: it asks about scores, and looks at no picture itself."""

    def parts(self, pictures: int) -> tuple[tuple[int, ...], ...]:
        """Numbers of the pictures of each part that it asks about, of so many."""
        return ()

    def granularity(self) -> str:
        """Whose names `units` of the objective are; empty for a strategy without units."""
        return ""

    @abstractmethod
    def expected(self, members: int, pictures: int) -> int:
        """About how many forward passes it asks for, an upper bound where it can be told."""

    @abstractmethod
    def search(self, objective: Objective) -> Outcome:
        """Search. Raises `UsageError` where its settings do not fit so many checkpoints."""


STUDIES: Registry[type[Study]] = Registry("study", "fusionlib.studies", "STUDIES")
STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "fusionlib.studies.strategies", "STRATEGIES")
