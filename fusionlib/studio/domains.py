"""Networks on several domains, worked off in the background, and the desk where such works are found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.engine.identity import identities
from fusionlib.question import Told
from fusionlib.recipe import Recipe
from fusionlib.runs.desk import Plan
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.domains import BASELINE, Domains
from fusionlib.studio.comparison_ranking import LEFT_OUT
from fusionlib.studio.demo import DOMAINS, manifest, take_answers
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.domains_chance import Chance, inside_noise
from fusionlib.studio.domains_plan import DomainChoices, Named, Planner, checked_names, unique
from fusionlib.studio.plans import lease
from fusionlib.studio.provenance import DEMO_FILE
from fusionlib.studio.workspace import Workspace

ALONE = ("single", "beside", BASELINE)
"""Groups of rows that are a checkpoint as it is."""


class DomainsWork(Work):
    """Checkpoints on labelled domains; what is measured is kept, whoever asked for it.

    A network that cannot be measured on a domain says why, and the others go on. Raises `UsageError` for wrong choices,
    `DataError` without masks, `ArchitectureError` where no network is known for any of the checkpoints.
    """

    def __init__(
        self, checkpoints: Sequence[Checkpoint], domains: Sequence[Named], choices: DomainChoices, *, runner: Runner
    ) -> None:
        self.checkpoints, self.domains = tuple(checkpoints), tuple(domains)
        names = checked_names([one.name for one in domains])
        self.choices = choices.checked(len(checkpoints), names)
        for one in domains:
            runner.need_masks(one.pictures)
            runner.builder.merger.sources.know(checkpoints, one.pictures)
        if not any(map(runner.builder.merger.recognised, checkpoints)):
            raise unknown_network(checkpoints)
        self.names = unique([item.name for item in checkpoints])
        study = Planner(self.checkpoints, self.domains, self.choices, self.names).study()
        datasets = {one.pictures.fingerprint(): one.pictures for one in domains}
        prints = [item.fingerprint for item in checkpoints]
        hold = lease(runner.desk, self._plan(), *prints, *names, *sorted(datasets), str(choices))
        self._chance = Chance(runner, [one.pictures for one in domains])
        super().__init__("domains", study, runner, datasets, hold)
        self.recall()

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the checkpoints that are merged."""
        return tuple(self.names[: self.choices.experts(len(self.names))])

    def cost(self) -> int:
        """Forward passes until all is known, those of heads that wait for the experts' scores among them."""
        largest = max(len(one.pictures) for one in self.domains)
        return super().cost() + self._study.later(dict(self.known)) * largest

    def recall(self) -> None:
        """Take what is known by now; where that is all, it is done."""
        super().recall()
        if self.state in ("idle", "cancelled") and self.settled:
            self.state = "done"

    def snapshot(self) -> dict[str, Any]:
        """State, progress in forward passes, the `cost` of what is left, and the table of what is known."""
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "images": {one.name: len(one.pictures) for one in self.domains},
            "networks": len(self._study.networks),
            "cost": self.cost(),
            **self.table(),
        }

    def with_intervals(self, found: dict[str, Any], over: str = "") -> dict[str, Any]:
        """The table with the `interval` of the gain of every row but experts alone, and whether it is `inside_noise`;
        beside them the `interval` of the best network, None of an expert alone. All over the class set of this title,
        or all classes.

        The middle 95 % of 2,000 paired resamples of groups of pictures within each domain, as fractions; the best
        expert (for the latter the best merge too, where it is one) is chosen again in each. None where there are fewer
        than five groups.
        """
        titled = [{**row, **(row["class_sets"][over] if over else {})} for row in found["rows"]]
        gains = self._chance.gains(titled, self.recipes(), self._study.places_of(over))
        said = [gains.of.get(row["name"]) for row in titled]
        rows = [{**row, **_interval(one)} for row, one in zip(found["rows"], said, strict=True)]
        best = max(titled, key=lambda row: row["harmonic"] or 0.0)
        merged = best["group"] not in ALONE
        return {**found, **_interval(gains.best if merged else gains.of.get(best["name"])), "rows": rows}

    def recipes(self) -> dict[str, list[Recipe | None]]:
        """The recipe of every row on each domain, as far as it is known."""
        known, places = dict(self.known), range(len(self.domains))
        return {
            one.name: [self._study.recipe_on(one, number, known) for number in places] for one in self._study.networks
        }

    def warnings(self) -> list[str]:
        """What of the domains makes these figures doubtful."""
        found = [one for one in self.known.values() if isinstance(one, Told) and one.tiled]
        return [f"{one.tiled} of {one.images} pictures were measured in tiles" for one in found[:1]]

    @property
    def _study(self) -> Domains:
        assert isinstance(self.study, Domains)
        return self.study

    def _plan(self) -> Plan:
        files = [str(item.path) for item in self.checkpoints]
        data = [part for one in self.domains for part in ("--data", f"{one.name}={one.pictures.spec}")]
        limits = {getattr(one.pictures.dataset, "limit", None) for one in self.domains}
        if len(limits) > 1:  # one option says it for all of them
            return Plan("domains", ())
        limit = limits.pop()
        data += ["--limit", str(limit)] if limit else []
        return Plan("domains", ("domains", *self.choices.options(files), *data))


@dataclass(frozen=True)
class First:
    """What the page begins with: names of experts, of networks beside them and of data, and how many pictures."""

    experts: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    count: str = "all"


class DomainsDesk:
    """The works of a process: one per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._taken = not workspace.options.demo
        self._works: WorkDesk[DomainsWork] = WorkDesk()

    def first(self) -> First:
        """What the demo begins with, where nothing else is loaded; else the operator's own data. The demo's measured
        answers are in the tables then.
        """
        if not self._taken:
            builder, self._taken = self._runner.builder, True
            take_answers(self._runner.answers, builder.device.type, builder.precision, DOMAINS)
        sources = [one for one in self._workspace.sources if one.problem is None]
        own = tuple(one.name for one in sources if one.origin == "folder")
        about = manifest().get("domains", {})
        files = {item.name for item in self._workspace.usable() if item.given == DEMO_FILE}
        if own or not about or not {*about["experts"], *about["beside"]} <= files:
            return First(domains=own)
        named = [one.name for spec in about["data"] for one in sources if one.spec == spec]
        return First(tuple(about["experts"]), tuple(about["beside"]), tuple(named), about["pictures"])

    def open(self, names: Sequence[str], domains: Sequence[Named], choices: DomainChoices) -> DomainsWork:
        """The work of checkpoints of the workspace, with whatever is known by now."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened: list[Checkpoint] = [item.checkpoint for item in items]  # type: ignore[misc]
        parts = [*names, *(item.fingerprint for item in opened), str(choices)]
        for one in domains:
            spaces = identities((item.architecture for item in items), one.pictures.label_space)
            parts += [one.name, one.pictures.fingerprint(), *spaces]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        found = self._works.open(key, lambda: self.of(opened, domains, choices))
        if found.state != "running":
            found.recall()
        return found

    def of(self, checkpoints: Sequence[Checkpoint], domains: Sequence[Named], choices: DomainChoices) -> DomainsWork:
        """The work of opened checkpoints; nothing is measured yet."""
        self._workspace.refresh_models()
        return DomainsWork(checkpoints, domains, choices, runner=self._runner)


def _interval(interval: Sequence[float] | None) -> dict[str, Any]:
    return {"interval": None if interval is None else list(interval), "inside_noise": inside_noise(interval)}


def ranked(rows: Sequence[dict[str, Any]], over: str = "") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows by falling harmonic mean, those of one network as one; and those that cannot be measured.

    `over` is the title of a class set, whose figures then take the place of those of all classes. A folded row is
    called by all its names; `same` has them.
    """
    networks: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if row["state"] not in LEFT_OUT:
            same = tuple(row["builds"]) if None not in row["builds"] else row["name"]
            networks.setdefault(same, []).append({**row, **(row["class_sets"][over] if over else {})})
    folded = [{**same[0], "name": " = ".join(row["name"] for row in same), "same": same} for same in networks.values()]
    placed = sorted(folded, key=lambda row: (row["harmonic"] is None, -(row["harmonic"] or 0.0)))
    return placed, [row for row in rows if row["state"] in LEFT_OUT]
