"""What the learners inside one network say, against their mean and against what the network makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.errors import UsageError
from fusionlib.question import Known, Question, Refused, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.studies.curve import CALIBRATED
from fusionlib.studies.means import arithmetic

MEASURE = "learners"
SCORES = ("miou", "pixel_accuracy", "loss", "ece")
_OWN = {name: name for name in SCORES} | {"ece": "ece_sample_weighted"}


@STUDIES.register("learners")
@dataclass(frozen=True)
class LearnersInside(Study):
    """Learners, subsets of them and fusions of one network on the pictures of the content key `data`: one pass.

    `names` of the learners in order; without them they are numbered.
    """

    network: Recipe
    data: str
    names: tuple[str, ...] = ()

    title: ClassVar[str] = "Learners"
    summary: ClassVar[str] = "Learners inside one network: each alone, every subset, every fusion, out of one pass"
    source: ClassVar[str] = '"Efficient Self-Ensemble for Semantic Segmentation", tables 1, 10 and 11'
    version: ClassVar[int] = 1
    goes_on: ClassVar[bool] = True

    @classmethod
    def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> LearnersInside:
        """Raises `UsageError` for more than one network."""
        if len(members) != 1:
            raise UsageError(f"{len(members)} networks", "one that has learners inside", "Name a single checkpoint")
        return cls(members[0], data)

    def steps(self, known: Known) -> Sequence[Step]:
        """One pass."""
        return [Step((self._inside, *self._whole), "the learners")]

    def table(self, known: Known) -> dict[str, Any]:
        """`learners` with their scores and how peaked they are, their `mean`, the `network` as it answers, `subsets`,
        `fusions`, `pairs`, `disagreement` and `diversity`; `gain` in points is the network's mIoU over the mean of its
        learners'. `reason` says why they could not be asked.
        """
        told, own = told_of((self._inside,), known), told_of(self._whole, known)
        figures = {} if told is None else told[0].figures
        whole = {} if own is None else figures_of(own)
        learners = self._learners(figures)
        network = {name: whole.get(_OWN[name]) for name in SCORES} | _last(figures)
        mean = {name: arithmetic([one[name] for one in learners]) for name in (*SCORES, *_SPREAD)}
        scores = (network["miou"], mean["miou"])
        return {
            "learners": learners,
            "mean": mean,
            "network": network,
            "gain": None if None in scores else 100 * (scores[0] - scores[1]),  # type: ignore[operator]
            "subsets": self._subsets(figures),
            "fusions": _fusions(figures),
            "pairs": self._pairs(figures),
            "disagreement": figures.get("learner_disagreement"),
            "diversity": figures.get("learner_diversity"),
            "reason": self._refused(known) or ("The network has no learners inside" if told and not learners else None),
        }

    @property
    def _inside(self) -> Question:
        return Question((self.network,), self.data, MEASURE)

    @property
    def _whole(self) -> tuple[Question, ...]:
        return tuple(Question((self.network,), self.data, name) for name in CALIBRATED)

    def _learners(self, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
        alone = [row for row in self._subsets(figures) if len(row["members"]) == 1]
        spread = [{name: figures[name][number] for name in _SPREAD} for number in range(len(alone))]
        return [
            {"name": row["names"][0], **{name: row[name] for name in SCORES}, **more}
            for row, more in zip(alone, spread, strict=True)
        ]

    def _subsets(self, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
        members = figures.get("subset_members", [])
        return [
            {
                "members": list(group),
                "names": self._named(group),
                **{name: figures[f"subset_{name}"][place] for name in SCORES},
            }
            for place, group in enumerate(members)
        ]

    def _pairs(self, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
        count = sum(len(group) == 1 for group in figures.get("subset_members", []))
        return [
            {
                "members": list(pair),
                "names": self._named(pair),
                **{name: figures[f"learner_pair_{name}"][place] for name in ("disagreement", "diversity")},
            }
            for place, pair in enumerate(combinations(range(count), 2))
        ]

    def _named(self, members: Sequence[int]) -> list[str]:
        return [self.names[number] if number < len(self.names) else str(number + 1) for number in members]

    def _refused(self, known: Known) -> str | None:
        asked = (self._inside, *self._whole)
        return next((one.reason for question in asked if isinstance(one := known.get(question), Refused)), None)


_SPREAD = ("spread", "deviation")


def _last(figures: Mapping[str, Any]) -> dict[str, Any]:
    """How peaked the network's own answer is, which comes after those of its learners."""
    return {name: figures[name][-1] if figures.get(name) else None for name in _SPREAD}


def _fusions(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every fusion, None where the network cannot be asked by it."""
    names, titles = figures.get("fusion_names", []), figures.get("fusion_titles", [])
    return [
        {"name": name, "title": title, **{score: figures[f"fused_{score}"][place] for score in SCORES}}
        for place, (name, title) in enumerate(zip(names, titles, strict=True))
    ]
