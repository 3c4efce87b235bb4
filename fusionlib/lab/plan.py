"""What decides a training run beside its regime, and what a run costs. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fusionlib.contracts import REGIMES, Regime, Span
from fusionlib.errors import UsageError
from fusionlib.merging.build import check_values

LARGEST_SEED = 2**40
"""Seeds of the epochs are derived from it and must fit torch's 64 bits."""


@dataclass(frozen=True)
class TrainingPlan:
    """What every regime goes by. Two runs of one plan, regime, start and data on one machine give the same files.

    `clip` is the largest norm of a step's gradients, all parameters together; 0 leaves them as they are.
    """

    architecture: str = "enet"
    classes: int = 19
    seed: int = 0
    epochs: int = 10
    batch: int = 8
    crop: tuple[int, int] = (128, 256)
    class_weights: bool = True
    clip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "classes"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} is {getattr(self, name)}", "a number above 0", f"Correct --{name}")
        if not 0 <= self.clip < math.inf:
            raise UsageError(f"clip is {self.clip}", "a number from 0", "Correct --clip")
        if not 0 <= self.seed < LARGEST_SEED:
            raise UsageError(f"seed is {self.seed}", f"a number from 0, below {LARGEST_SEED}", "Correct --seed")

    @property
    def settings(self) -> dict[str, Any]:
        """What is written of it: fields that came later are left out where they change nothing, so that the files of a
        run are what they were.
        """
        found = asdict(self)
        return found if self.clip else {name: value for name, value in found.items() if name != "clip"}


def build_regime(name: str, parameters: Mapping[str, Any]) -> Regime:
    """The regime `name` with these hyper-parameters.

    Raises `UsageError` for an unknown name, type or a value out of range.
    """
    factory = REGIMES.get(name)
    return factory(**check_values(f"Regime {name!r}", factory, parameters))


def span_of(plan: TrainingPlan, regime: Regime, pictures: int, select: int = 0) -> Span:
    """How long that run is. Raises `UsageError` where the regime's parameters do not fit the plan."""
    span = Span(plan.epochs, pictures, plan.batch, select=select)
    return replace(span, steps=regime.steps(span))


def cost(plan: TrainingPlan, regime: Regime, pictures: int, select: int = 0) -> int:
    """Batches that go forward and backward in that run, and those that its end looks at: what its progress counts.

    `pictures` are trained on, `select` there to choose by.

    Times the measured time of one batch it is how long the run takes. Raises `UsageError` as `span_of`.
    """
    span = span_of(plan, regime, pictures, select)
    return span.steps * regime.passes + regime.closing(span)
