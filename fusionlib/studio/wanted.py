"""What is searched for and how, and what does not fit together of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionlib.candidate import HARMONIC
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.contracts import STRATEGIES, Strategy
from fusionlib.errors import UsageError
from fusionlib.merging.build import check_values
from fusionlib.merging.choices import check_policy
from fusionlib.studies.candidates import check_score


@dataclass(frozen=True)
class Wanted:
    """What to search for and how: `strategy` by name with its `settings`, and what it chooses by.

    `buffers` None: the strategy's own. `count` is how many pictures `recalibrate` looks at; None: 16, and all of them
    for a network whose statistics are what the strategy is about.
    """

    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    score: str = "miou"
    buffers: str | None = None
    count: int | None = None
    dtype: str | None = None

    def built(self) -> Strategy:
        """The strategy. Raises `UsageError` for whatever is unknown or out of range."""
        check_score(self.score)
        written_dtype(self.dtype)
        if self.buffers is not None:
            check_policy(self.buffers)
        if self.count is not None and self.count < 1:
            raise UsageError(f"{self.count} pictures to measure statistics on", "one or more", "Correct --count")
        kind = STRATEGIES.get(self.strategy)
        return kind(**check_values(f"Strategy {self.strategy!r}", kind, self.settings))

    def checked(self, count: int) -> Wanted:
        """Itself. Raises `UsageError` as `built`, and where the strategy does not take `count` checkpoints."""
        strategy = self.built()
        if not strategy.fewest <= count <= strategy.most:
            takes = (
                f"{strategy.fewest}" if strategy.fewest == strategy.most else f"{strategy.fewest} to {strategy.most}"
            )
            raise UsageError(
                f"{count} checkpoints for the strategy {self.strategy}",
                takes,
                "Name others, or choose another strategy",
            )
        return self

    def checked_data(self, select: Sequence[object], report: Sequence[object]) -> None:
        """Raises `UsageError` for so many datasets to choose by or to report on as the score does not take."""
        several = max(len(select), len(report))
        if not select or not report:
            raise UsageError("No data to choose by, or to report on", "one dataset each", "Name one")
        if several > 1 and self.score != HARMONIC:
            raise UsageError(
                f"{several} datasets for the score {self.score}",
                f"one dataset to choose by and one to report on, or the score {HARMONIC}",
                f"Name one, or choose by {HARMONIC}",
            )
        if len(select) > 1 and not STRATEGIES.get(self.strategy).several:
            raise UsageError(
                f"{len(select)} datasets to choose by for the strategy {self.strategy}",
                "one: its gradients come from one set of pictures",
                "Name one, or choose another strategy",
            )

    @property
    def measures_anew(self) -> bool:
        """Whether merges get statistics that are measured on pictures, if the network has any."""
        return "recalibrate" in (self.buffers, self.built().buffers)

    def checked_calibration(self) -> None:
        """Raises `UsageError` where pictures are named for statistics that nobody measures."""
        if not self.measures_anew:
            raise UsageError(
                f"Pictures for the statistics of {self.strategy} with {self.buffers or self.built().buffers}",
                "merges whose statistics are measured anew",
                "Give --buffers recalibrate, or leave --calibrate out",
            )

    @property
    def options(self) -> tuple[str, ...]:
        """The same on the command line of `search`."""
        given = ["--strategy", self.strategy, "--score", self.score]
        given += ["--set", *(f"{name}={json.dumps(value).strip(chr(34))}" for name, value in self.settings.items())]
        for option, value in (("--buffers", self.buffers), ("--count", self.count), ("--dtype", self.dtype)):
            given += [] if value is None else [option, str(value)]
        return tuple(given if self.settings else [part for part in given if part != "--set"])
