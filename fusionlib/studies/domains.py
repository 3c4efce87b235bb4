"""Which network serves all domains: mIoU of networks on each, and the harmonic mean, by which they are ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.contracts import STUDIES, Study
from fusionlib.question import Known, Question, Refused, Step, Told
from fusionlib.recipe import Recipe
from fusionlib.studies.means import Score, arithmetic, harmonic, worst

MEASURE, BASELINE = "confusion", "baseline"

MEANS = {"harmonic": harmonic, "arithmetic": arithmetic, "worst": worst}
"""What is said of all domains together; the first ranks."""


@dataclass(frozen=True)
class Domain:
    """What networks are to serve: a name, the content key of its pictures, and its classes."""

    name: str
    data: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ClassSet:
    """Some classes, over which mIoU is taken as well (mIoU*)."""

    title: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """One line of the table: `recipes` are its network on each domain, mostly the same one; None: it has none there.

    `members` are numbers of checkpoints; `obstacle` says why it cannot be measured at all. With `heads` the recipe on
    a domain is the one of `heads` whose number is that domain's own checkpoint.
    """

    group: str
    name: str
    method: str
    members: tuple[int, ...]
    recipes: tuple[Recipe | None, ...] = ()
    buffers: str = ""
    alpha: float | None = None
    obstacle: str | None = None
    heads: tuple[Recipe, ...] = ()


@STUDIES.register("domains")
@dataclass(frozen=True)
class Domains(Study):
    """mIoU of every network on every domain, what it comes to over all, and the same by class.

    `names` are the checkpoints, the first `merged` of which are experts: those are merged, and the best of them alone
    is what a gain is held against. `own` is for each domain the number of its own checkpoint, whose head it keeps where
    heads are separate; None: the expert that is best there, the first on a tie. `class_sets` are means over some
    classes. `pair` are the ends of the path.
    """

    names: tuple[str, ...]
    merged: int
    domains: tuple[Domain, ...]
    networks: tuple[Network, ...]
    own: tuple[int | None, ...]
    class_sets: tuple[ClassSet, ...] = ()
    pair: tuple[int, int] = (0, 1)

    title: ClassVar[str] = "Domains"
    summary: ClassVar[str] = "Networks on several domains: mIoU of each, harmonic mean, subsets of experts, the path"
    source: ClassVar[str] = "Training-Free Model Merging for MTDA, tables 1, 3 and 4, figure 4"
    version: ClassVar[int] = 1
    goes_on: ClassVar[bool] = True

    def steps(self, known: Known) -> Sequence[Step]:
        """Network after network, each on all domains."""
        asked = (
            (one, domain, self.recipe_on(one, number, known))
            for one in self.networks
            for number, domain in enumerate(self.domains)
        )
        return [
            Step((Question((recipe,), domain.data, MEASURE),), f"{one.name} on {domain.name}")
            for one, domain, recipe in asked
            if recipe is not None
        ]

    def later(self, known: Known) -> int:
        """Networks whose head is not known yet."""
        places = range(len(self.domains))
        return sum(self._open(one, number, known) for one in self.networks for number in places)

    def expert(self, domain: int, known: Known) -> int | None:
        """The number of a domain's own checkpoint; None where that is not known, or no expert can be measured there."""
        given = self.own[domain]
        if given is not None:
            return given
        told = [self._told(one, domain, known) for one in self._singles]
        if None in told:
            return None
        scores = [one.figures["miou"] if isinstance(one, Told) else None for one in told]
        there = [number for number, score in enumerate(scores) if score is not None]
        return max(there, key=lambda number: scores[number] or 0.0, default=None)

    def table(self, known: Known) -> dict[str, Any]:
        """`rows` with `domains` (name to mIoU), `harmonic`, `arithmetic`, `worst`, `gain` of the first over the best
        expert's, `classes`, and the same over each of `class_sets`; `best`, `best_single` and `baseline` (of data
        combination) by harmonic mean; `own` heads; `path` over alpha.
        """
        rows = [self._row(one, known) for one in self.networks]
        alone = [row["group"] == "single" for row in rows]
        _set_gains(rows, alone)
        for chosen in self.class_sets:
            _set_gains([row["class_sets"][chosen.title] for row in rows], alone)
        best_single = _best([row for row, single in zip(rows, alone, strict=True) if single])
        baseline = _best([row for row in rows if row["group"] == BASELINE])
        best = _best([row for row in rows if row["group"] != "path"])
        return {
            "rows": [row for row in rows if row["group"] != "path"],
            "best": best and best["name"],
            "best_single": best_single and best_single["name"],
            "baseline": baseline and baseline["name"],
            "own": {domain.name: self._name_of(self.expert(at, known)) for at, domain in enumerate(self.domains)},
            "path": self._path([row for row in rows if row["group"] == "path"]),
        }

    def places_of(self, over: str) -> list[tuple[int, ...] | None]:
        """On each domain the numbers of the classes of the set of this title; None: all of them, or not all there."""
        chosen = next((one.classes for one in self.class_sets if one.title == over), None)
        return [
            tuple(map(one.classes.index, chosen)) if chosen and set(chosen) <= set(one.classes) else None
            for one in self.domains
        ]

    @cached_property
    def _singles(self) -> tuple[Network, ...]:
        return tuple(one for one in self.networks if one.group == "single")

    def _name_of(self, number: int | None) -> str | None:
        return None if number is None else self.names[number]

    def _open(self, one: Network, domain: int, known: Known) -> bool:
        """Whether the recipe waits for the experts' scores."""
        if not one.heads or self.own[domain] is not None:
            return False
        return any(self._told(single, domain, known) is None for single in self._singles)

    def recipe_on(self, one: Network, domain: int, known: Known) -> Recipe | None:
        """A network's recipe on the domain of this number; None where it has none, or not yet."""
        if not one.heads:
            return one.recipes[domain] if one.recipes else None
        number = self.expert(domain, known)
        return None if number is None else one.heads[number]

    def _told(self, one: Network, domain: int, known: Known) -> Told | Refused | None:
        """What is known of a network on a domain; None: not yet."""
        recipe = self.recipe_on(one, domain, known)
        if recipe is None:
            return None if self._open(one, domain, known) else Refused(one.obstacle or "No network for this domain")
        return known.get(Question((recipe,), self.domains[domain].data, MEASURE))

    def _row(self, one: Network, known: Known) -> dict[str, Any]:
        told = [self._told(one, number, known) for number in range(len(self.domains))]
        figures = [found.figures if isinstance(found, Told) else None for found in told]
        scores = [None if found is None else found["miou"] for found in figures]
        reasons = [
            f"{domain.name}: {found.reason}"
            for domain, found in zip(self.domains, told, strict=True)
            if isinstance(found, Refused)
        ]
        return {
            "name": one.name,
            "group": one.group,
            "method": one.method,
            "members": [self.names[number] for number in one.members],
            "buffers": one.buffers,
            "alpha": one.alpha,
            **self._means(scores),
            "classes": self._by_class(figures),
            "class_sets": {
                chosen.title: self._means(list(self._within(chosen, figures))) for chosen in self.class_sets
            },
            "builds": [found.builds[0] if isinstance(found, Told) else None for found in told],
            "notes": list(dict.fromkeys(note for found in told if isinstance(found, Told) for note in found.notes)),
            "state": _state(told),
            "reason": one.obstacle or "; ".join(reasons) or None,
        }

    def _means(self, scores: Sequence[Score]) -> dict[str, Any]:
        by_domain = {domain.name: score for domain, score in zip(self.domains, scores, strict=True)}
        return {"domains": by_domain, **{name: mean(scores) for name, mean in MEANS.items()}}

    def _by_class(self, figures: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
        """IoU of every class that a domain has, and their harmonic mean."""
        found: dict[str, Any] = {}
        for name in dict.fromkeys(name for domain in self.domains for name in domain.classes):
            scores = [_iou(domain, told, name) for domain, told in zip(self.domains, figures, strict=True)]
            if any(score is not None for score in scores):
                by_domain = {domain.name: score for domain, score in zip(self.domains, scores, strict=True)}
                found[name] = {"domains": by_domain, "harmonic": harmonic(scores)}
        return found

    def _within(self, chosen: ClassSet, figures: Sequence[Mapping[str, Any] | None]) -> Iterator[Score]:
        """mIoU over some classes on each domain; None on one whose annotation does not know all of them."""
        for domain, told in zip(self.domains, figures, strict=True):
            known = told is not None and set(chosen.classes) <= set(domain.classes)
            scores = [_iou(domain, told, name) for name in chosen.classes] if known else []
            yield arithmetic([score for score in scores if score is not None])

    def _path(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not rows:
            return None
        kept = ("alpha", "domains", *MEANS, "gain", "class_sets", "state")
        points = sorted(({name: row[name] for name in kept} for row in rows), key=lambda point: point["alpha"])
        best = max(
            (one for one in points if one["harmonic"] is not None), key=lambda one: one["harmonic"], default=None
        )
        names = [self.names[number] for number in self.pair]
        return {"of": names, "points": points, "best": best and {name: best[name] for name in ("alpha", "harmonic")}}


def _iou(domain: Domain, figures: Mapping[str, Any] | None, name: str) -> Score:
    if figures is None or name not in domain.classes:
        return None
    return figures["iou"][domain.classes.index(name)]


def _state(told: Sequence[Told | Refused | None]) -> str:
    """Measured as soon as all is known that can be."""
    if None in told:
        return "waiting"
    if any(isinstance(one, Told) for one in told):
        return "measured"
    return "failed" if any(isinstance(one, Refused) and one.applies for one in told) else "not applicable"


def _set_gains(rows: Sequence[dict[str, Any]], alone: Sequence[bool]) -> None:
    """`gain` of every row; `alone` says which are experts alone."""
    best = _best([row for row, single in zip(rows, alone, strict=True) if single])
    for row in rows:
        row["gain"] = None if best is None or row["harmonic"] is None else row["harmonic"] - best["harmonic"]


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The first of those with the highest harmonic mean."""
    scored = [row for row in rows if row["harmonic"] is not None]
    return max(scored, key=lambda row: row["harmonic"], default=None)
