"""What decides a training run beside its regime, and what a run costs. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fusionlib.contracts import REGIMES, Dataset, Regime, Span, class_count, parameters_of
from fusionlib.errors import UsageError
from fusionlib.merging.build import check_values

VALIDATED = 8
"""Pictures that a run is measured on while it goes on, where nobody says how many."""

MOST_BETWEEN = 50
"""Ends of epochs at which a run is measured where it saves nothing."""

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


def build_regime(name: str, parameters: Mapping[str, Any], *, start: bool = False) -> Regime:
    """The regime `name` with these hyper-parameters, others as is usual from a trained `start` or without one.

    Raises `UsageError` for an unknown name, type or a value out of range.
    """
    factory = REGIMES.get(name)
    usual = {item.name: item.from_start for item in parameters_of(factory) if start and item.from_start is not None}
    return factory(**usual | check_values(f"Regime {name!r}", factory, parameters))


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


def between(regime: Regime, span: Span, start: bool) -> tuple[int, ...]:
    """Steps after which the network in training is measured beside what is saved: 0 for a trained `start`, and the ends
    of epochs that leave nothing, evenly spread where they are many.
    """
    saved = set(regime.saved(span))
    bare = [step for step in span.epoch_ends if step not in saved]
    count = min(len(bare), MOST_BETWEEN)
    return *((0,) if start else ()), *(bare[(place + 1) * len(bare) // count - 1] for place in range(count))


def validations(regime: Regime, span: Span, start: bool) -> int:
    """How many networks a run measures while it goes on, where it is to."""
    return len(regime.saved(span)) + len(between(regime, span, start))


def check_data(
    plan: TrainingPlan,
    data: Dataset,
    regime: Regime,
    target: Dataset | None,
    select: Dataset | None,
    *,
    as_data: bool = False,
) -> None:
    """Raises `UsageError` for classes without an output, and pictures that the regime lacks or has no use for."""
    for labelled in (data, *([] if select is None else [select])):
        if labelled.label_space.count > class_count(plan.classes) and not as_data:
            raise UsageError(
                f"{plan.classes} classes for data with {labelled.label_space.count}",
                "an output for each class of the data",
                "Raise --classes or leave it out",
            )
    if regime.needs_select and select is None:
        raise UsageError(
            f"{regime.title} with nothing to choose by",
            "labelled pictures that it does not train on",
            "Give --select, or set what it would choose; see `regimes`",
        )
    if select is not None and not regime.needs_select:
        raise UsageError(f"{regime.title} with --select", "nothing: it chooses nothing", "Leave it out")
    if regime.needs_target and target is None:
        raise UsageError(
            f"{regime.title} without unlabelled pictures", "pictures of the target domain", "Give --target"
        )
    if target is not None and not regime.needs_target:
        raise UsageError(f"{regime.title} with --target", "no unlabelled pictures: it looks at none", "Leave it out")
