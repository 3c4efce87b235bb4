"""Temperature scaling of one network, the rival of merging: fitted on some pictures, reported on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.errors import UsageError
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import CALIBRATED


@STUDIES.register("temperature")
@dataclass(frozen=True)
class TemperatureScaling(Study):
    """One number T that divides all logits of a network: how sure it is changes, not what it says.

    `fit_on` and `report_on` are content keys of labelled pictures.
    """

    recipe: Recipe
    fit_on: str
    report_on: str

    title: ClassVar[str] = "Temperature scaling"
    summary: ClassVar[str] = "T of one network fitted on some pictures, its calibration before and after on others"
    source: ClassVar[str] = "Guo et al. 2017, section 4.2"
    version: ClassVar[int] = 1
    fits: ClassVar[bool] = True

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, *, fit_on: str, **settings: Any) -> TemperatureScaling:
        """Of one network, fitted on the pictures `fit_on` and reported on `data`. Raises `UsageError` for more."""
        if len(members) != 1:
            raise UsageError(f"{len(members)} networks", "one whose temperature is fitted", "Name a single checkpoint")
        return cls(members[0], fit_on, data)

    def steps(self, known: Known) -> Sequence[Step]:
        """The fit, the network as it is, and with the fitted T."""
        found = self.fitted(known)
        value = None if found is None else found["temperature"]
        steps = [Step((self._fit,), "fit of T"), Step(self._asked(self.recipe), "before")]
        return steps if value is None else [*steps, Step(self._asked(self.scaled(value)), "after")]

    def later(self, known: Known) -> int:
        """The network with the fitted T, until there is one."""
        return int(self.fitted(known) is None)

    def fitted(self, known: Known) -> dict[str, Any] | None:
        """The figures of the fit."""
        told = told_of((self._fit,), known)
        return None if told is None else figures_of(told)

    def scaled(self, value: float) -> Recipe:
        """The network with a temperature."""
        return self.recipe.model_copy(update={"temperature": value})

    def table(self, known: Known) -> dict[str, Any]:
        """`fit`: temperature and losses; `before` and `after`: figures of the reported pictures. None: not known."""
        found = self.fitted(known)
        value = None if found is None else found["temperature"]
        after = None if value is None else told_of(self._asked(self.scaled(value)), known)
        before = told_of(self._asked(self.recipe), known)
        return {
            "fit": found,
            "before": None if before is None else figures_of(before),
            "after": None if after is None else figures_of(after),
        }

    @property
    def _fit(self) -> Question:
        return Question((self.recipe,), self.fit_on, "temperature")

    def _asked(self, recipe: Recipe) -> tuple[Question, ...]:
        return tuple(Question((recipe,), self.report_on, name) for name in CALIBRATED)
