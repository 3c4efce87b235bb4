"""What a merge gains and loses against a reference: the label maps that it takes, and the table of transitions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fusionlib.contracts import STUDIES, Study
from fusionlib.diagnostics.bootstrap import Units, class_intervals, gain_interval, units_summed
from fusionlib.errors import UsageError, shown
from fusionlib.measures.error_stack import ErrorStack, ious, mean_iou_of
from fusionlib.measures.transitions import TRANSITIONS
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe

AGAINST = {
    "a": "the first network",
    "b": "the second network",
    "better": "the one of the two with the higher mIoU on the data; the first on a tie",
    "best": "the one of all members with the highest mIoU on the data; the first on a tie",
    "ensemble": "all members as they are, answering together, equally weighted",
    "oracle": "the first network, and the truth wherever any member is right",
    "alpha=X": "the same merge at another alpha",
}
"""What a merge may be held against."""

ASKED = ("labels", "confusion", "loss", "calibration")
"""Of every network: its label maps, and what every pass over masks brings."""

_ALPHA = re.compile(r"alpha=([0-9.eE+-]{1,32})\Z")


class Against(NamedTuple):
    """Which of `AGAINST`, and the alpha of the last."""

    kind: str
    alpha: float | None = None


BETTER = Against("better")


def against_of(text: str) -> Against:
    """`better`, `alpha=0.3`. Raises `UsageError` for anything else."""
    if text in AGAINST and text != "alpha=X":
        return Against(text)
    if found := _ALPHA.match(text):
        try:
            alpha = float(found[1])
        except ValueError:
            alpha = -1.0
        if 0 <= alpha <= 1:
            return Against("alpha", alpha)
    raise UsageError(
        f"A reference called {shown(text)}", f"one of {', '.join(AGAINST)} with X from 0 to 1", "Correct it"
    )


class Reference(NamedTuple):
    """What a merge is held against: how it is called, and the networks; of several, their oracle."""

    name: str
    recipes: tuple[Recipe, ...]


@STUDIES.register("errors")
@dataclass(frozen=True)
class Errors(Study):
    """Label maps and figures of a merge, of its first two members and of what it is held against, in one pass.

    `members` are the networks of the merge alone, called `names`; A and B are the first two. `other` is the merge at
    another alpha, where that is the reference.
    """

    merge: Recipe
    members: tuple[Recipe, ...]
    names: tuple[str, ...]
    data: str
    against: Against = BETTER
    other: Recipe | None = None

    title: ClassVar[str] = "Errors"
    summary: ClassVar[str] = (
        "Which pixels a merge fixes and which it breaks, against a network, the ensemble or the oracle"
    )
    source: ClassVar[str] = "Weight Fusion, figures 6, 7, 10 and 11; section 2, Listing 1 (oracle)"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """All networks side by side."""
        return [Step(tuple(question for recipe in self.networks for question in self._of(recipe)), "label maps")]

    @property
    def ends(self) -> tuple[Recipe, Recipe]:
        """A and B."""
        return self.members[0], self.members[1]

    @property
    def networks(self) -> list[Recipe]:
        """All that are looked at, the merge last."""
        further = {"best": self.members, "oracle": self.members, "ensemble": (self.ensemble,), "alpha": (self.other,)}
        listed = (*self.ends, *further.get(self.against.kind, ()), self.merge)
        return list({one.content: one for one in listed if one is not None}.values())

    @property
    def ensemble(self) -> Recipe:
        """All members answering together."""
        return Recipe(method="ensemble", checkpoints=self.merge.checkpoints)

    def reference(self, known: Known) -> Reference | None:
        """What the merge is held against; None while that depends on figures that are not known."""
        kind, alpha = self.against
        if kind in ("better", "best"):
            return self._best(self.ends if kind == "better" else self.members, known)
        found = {
            "a": Reference(self.names[0], (self.ends[0],)),
            "b": Reference(self.names[1], (self.ends[1],)),
            "ensemble": Reference(f"the ensemble of {', '.join(self.names)}", (self.ensemble,)),
            "oracle": Reference(f"the oracle of {', '.join(self.names)}", self.members),
        }
        if kind in found:
            return found[kind]
        return None if self.other is None else Reference(f"the merge at alpha {alpha:g}", (self.other,))

    def _best(self, networks: Sequence[Recipe], known: Known) -> Reference | None:
        """The first network with the highest mIoU among the first members; None until all are measured."""
        figures = [self.figures(one, known) for one in networks]
        scores = [-1.0 if one is None or one["miou"] is None else one["miou"] for one in figures]
        if None in figures:
            return None
        number, names = scores.index(max(scores)), self.names[: len(networks)]
        which, listed = "better" if len(names) == 2 else "best", f"{', '.join(names[:-1])} and {names[-1]}"
        return Reference(f"{names[number]}, the {which} of {listed}", (networks[number],))

    def figures(self, recipe: Recipe, known: Known) -> dict[str, Any] | None:
        """Figures of one network; None until they are known."""
        told = told_of(self._of(recipe), known)
        return None if told is None else figures_of(told)

    def table(self, known: Known) -> dict[str, Any]:
        """`reference`, how it is called, and mIoU of A, B and the merge as far as they are known."""
        found, reference = {}, self.reference(known)
        for name, recipe in (("a", self.ends[0]), ("b", self.ends[1]), ("merge", self.merge)):
            figures = self.figures(recipe, known)
            found[name] = None if figures is None else figures["miou"]
        return {"against": self.against.kind, "reference": reference and reference.name, **found}

    def _of(self, recipe: Recipe) -> list[Question]:
        return [Question((recipe,), self.data, name) for name in ASKED]


def summary_of(stack: ErrorStack, units: Units) -> dict[str, Any]:
    """`transitions` and `pixels` (labelled), mIoU and pixel accuracy of both, and their differences: `gain` with its
    `interval` (`diagnostics.bootstrap`), `gain_accuracy`. None: undefined.
    """
    totals, labelled = stack.totals(), stack.labelled
    before, after = (mean_iou_of(part) for part in stack.parts)
    sums = [units_summed(part, units) for part in stack.parts] if stack.pictures else []
    right = [totals["both_right"] + totals[name] for name in ("broken", "fixed")]
    return {
        "transitions": totals,
        "pixels": labelled,
        "miou": {"reference": before, "merge": after},
        "pixel_accuracy": {
            name: one / labelled if labelled else None for name, one in zip(("reference", "merge"), right, strict=True)
        },
        "gain": None if before is None or after is None else after - before,
        "interval": gain_interval(sums[:1], sums[1:]) if sums else None,
        "gain_accuracy": (totals["fixed"] - totals["broken"]) / labelled if labelled else None,
        "units": units.words,
    }


def class_rows(stack: ErrorStack, names: Sequence[str], units: Units) -> list[dict[str, Any]]:
    """A row per class: `pixels` of it in the truth, the five transitions, IoU of both, `change` with its `interval`.

    The change of a class that the truth lacks is None: its IoU is 0 or undefined, whatever is predicted.
    """
    sums = [units_summed(part, units) for part in stack.parts] if stack.pictures else []
    intervals = class_intervals(*sums) if sums else [None] * len(names)
    before, after = (ious(part.sum(0)) for part in stack.parts)
    rows = []
    for number, (name, changes) in enumerate(zip(names, stack.by_class().tolist(), strict=True)):
        there, low_high = sum(changes), intervals[number]
        rows.append(
            {
                "name": name,
                "pixels": there,
                **dict(zip(TRANSITIONS, changes, strict=True)),
                "iou": {"reference": _defined(before[number]), "merge": _defined(after[number])},
                "change": _defined(after[number] - before[number]) if there else None,
                "interval": list(low_high) if there and low_high is not None else None,
            }
        )
    return rows


def _defined(value: float | np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
