"""What is measured of networks on domains: choices, and the rows of the table with their recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.sharing import unlike
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import FusionError, UsageError, shown
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.recipe import Recipe
from fusionlib.studies.choices import CLASS_SETS, DOMAIN_ROWS
from fusionlib.studies.domains import BASELINE, ClassSet, Domain, Domains, Network

MOST_DOMAINS, MOST_EXPERTS, SUBSETS_OF = 16, 16, 8
"""Bounds of one table: more experts than the last have too many subsets."""

LONGEST_NAME = 60
"""Characters of the name that a domain is given."""

ALPHAS = tuple(round(number / 10, 1) for number in range(11))
ABLATION = ("anchor", "average", "gaussian")
"""Policies that are set side by side: the anchor's statistics against averaged and pooled ones."""


@dataclass(frozen=True)
class DomainChoices:
    """What to measure beside the experts alone: `rows` of `DOMAIN_ROWS`, with a buffer policy.

    Behind the experts come `beside` checkpoints that are measured alone and merged with nothing, as a common start, and
    `baselines` of data combination: networks trained on the data of all domains together. `own` are pairs of a domain
    and the number of the expert whose head it keeps; a domain that is not named keeps that of the expert of its own
    name, else of the one that is best there. `class_sets` are names of `CLASS_SETS`, or names of classes with commas
    between them. `pair` are the ends of the path.
    """

    buffers: str = "average"
    rows: tuple[str, ...] = ("mean", "buffers", "heads")
    class_sets: tuple[str, ...] = ()
    own: tuple[tuple[str, int], ...] = ()
    pair: tuple[int, int] = (0, 1)
    beside: int = 0
    baselines: int = 0

    def experts(self, count: int) -> int:
        """How many of so many checkpoints are merged."""
        return count - self.beside - self.baselines

    def checked(self, count: int, domains: Sequence[str]) -> DomainChoices:
        """Itself. Raises `UsageError` for whatever is unknown or out of range among `count` checkpoints."""
        check_policy(self.buffers)
        for name in self.rows:
            if name not in DOMAIN_ROWS:
                raise UsageError(f"Unknown rows {shown(name)}", f"some of {', '.join(DOMAIN_ROWS)}", "Correct --rows")
        experts = self.experts(count)
        if not 1 <= experts <= MOST_EXPERTS:
            raise UsageError(f"{experts} experts", f"1 to {MOST_EXPERTS}", "Name others")
        if "subsets" in self.rows and experts > SUBSETS_OF:
            raise UsageError(
                f"All subsets of {experts} experts", f"at most {SUBSETS_OF}", "Leave these rows out, or take fewer"
            )
        for domain, number in self.own:
            if domain not in domains or not 0 <= number < experts:
                raise UsageError(
                    f"Expert {number} for the domain {shown(domain)}",
                    f"a number from 0 to {experts - 1} and one of {', '.join(domains)}",
                    "Correct --own",
                )
        if (
            "path" in self.rows
            and experts > 1
            and not (set(self.pair) <= set(range(experts)) and len({*self.pair}) > 1)
        ):
            raise UsageError(
                f"A path between {self.pair[0]} and {self.pair[1]}",
                f"two different numbers from 0 to {experts - 1}",
                "Correct --pair",
            )
        return self

    def options(self, files: Sequence[str]) -> tuple[str, ...]:
        """The same on the command line of `domains`, the checkpoints first."""
        experts = self.experts(len(files))
        behind = ["--beside"] * self.beside + ["--baseline"] * self.baselines
        given = [*files[:experts], "--buffers", self.buffers, "--rows", ",".join(self.rows) or "none"]
        given += [part for named in zip(behind, files[experts:], strict=True) for part in named]
        given += [part for text in self.class_sets for part in ("--classes", text)]
        given += [part for name, number in self.own for part in ("--own", f"{name}={number}")]
        return (*given, "--pair", ",".join(map(str, self.pair)))


@dataclass(frozen=True)
class Named:
    """Data that is called something: a domain."""

    name: str
    pictures: DecodedCache = field(repr=False)


class Planner:
    """Rows with their recipes."""

    def __init__(
        self, checkpoints: Sequence[Checkpoint], domains: Sequence[Named], choices: DomainChoices, names: Sequence[str]
    ) -> None:
        self.checkpoints, self.domains, self.choices, self.names = checkpoints, domains, choices, names
        self.count = choices.experts(len(checkpoints))
        self.singles = tuple(map(recipe_alone, checkpoints))

    def study(self) -> Domains:
        """The whole plan."""
        domains = [
            Domain(one.name, one.pictures.fingerprint(), tuple(one.pictures.label_space.names)) for one in self.domains
        ]
        class_sets = [_class_set(text, domains) for text in self.choices.class_sets]
        given = dict(self.choices.own)
        own = [given.get(one.name, own_expert(self.names[: self.count], one.name)) for one in self.domains]
        return Domains(
            tuple(self.names),
            self.count,
            tuple(domains),
            tuple(self._networks()),
            tuple(own),
            tuple(class_sets),
            self.choices.pair,
        )

    def _networks(self) -> list[Network]:
        alone = [self._alone(number, recipe) for number, recipe in enumerate(self.singles)]
        if self.count < 2:
            return alone
        makers = {
            "mean": self._mean,
            "buffers": self._buffers,
            "heads": self._heads,
            "subsets": self._subsets,
            "path": self._path,
        }
        return [*alone, *(row for name, make in makers.items() if name in self.choices.rows for row in make())]

    def _alone(self, number: int, recipe: Recipe) -> Network:
        group, name = "single" if number < self.count else "beside", self.names[number]
        if number >= len(self.names) - self.choices.baselines:
            group, name = BASELINE, f"{name}, data combination"
        return Network(group, name, "single", (number,), self._everywhere(recipe))

    def _mean(self) -> list[Network]:
        return [self._merged("mean", "mean of all", tuple(range(self.count)), self.choices.buffers)]

    def _buffers(self) -> list[Network]:
        titles = {"anchor": f"mean, statistics of {self.names[0]}", "average": "mean, averaged statistics"}
        titles["gaussian"] = "mean, pooled statistics"
        everyone = tuple(range(self.count))
        return [self._merged("buffers", titles[policy], everyone, policy) for policy in ABLATION]

    def _subsets(self) -> list[Network]:
        chosen = [members for size in range(2, self.count + 1) for members in combinations(range(self.count), size)]
        return [
            self._merged("subsets", " + ".join(self.names[one] for one in members), members, self.choices.buffers)
            for members in chosen
        ]

    def _heads(self) -> list[Network]:
        everyone, buffers = tuple(range(self.count)), self.choices.buffers
        about = Network("heads", "mean backbone, own heads", "backbone", everyone, buffers=buffers)
        try:
            if buffers == "recalibrate":
                raise UsageError("Separate heads with recalibrated statistics", "another policy", "Correct --buffers")
            heads = tuple(
                self._written("backbone", {"anchor": number}, everyone, buffers, number) for number in everyone
            )
        except FusionError as error:
            return [_refused(about, error)]
        return [Network(about.group, about.name, about.method, everyone, buffers=buffers, heads=heads)]

    def _path(self) -> list[Network]:
        first, second = self.choices.pair
        found = []
        for alpha in ALPHAS:
            name, buffers = f"alpha {alpha:g}", self.choices.buffers
            if alpha in (0, 1):
                recipes = self._everywhere(self.singles[first if alpha else second])
                found.append(Network("path", name, "single", (first, second), recipes, buffers, alpha))
            elif alpha == 0.5:
                found.append(self._merged("path", name, (first, second), buffers, alpha))
            else:
                found.append(self._merged("path", name, (first, second), buffers, alpha, "linear", {"alpha": alpha}))
        return found

    def _merged(
        self,
        group: str,
        name: str,
        members: tuple[int, ...],
        buffers: str,
        alpha: float | None = None,
        method: str = "isotropic",
        parameters: Mapping[str, Any] | None = None,
    ) -> Network:
        about = Network(group, name, method, members, buffers=buffers, alpha=alpha)
        try:
            recipes = self._on_each(method, dict(parameters or {}), members, buffers)
        except FusionError as error:
            return _refused(about, error)
        return Network(group, name, method, members, recipes, buffers, alpha)

    def _on_each(
        self, method: str, parameters: dict[str, Any], members: tuple[int, ...], buffers: str
    ) -> tuple[Recipe, ...]:
        """The recipe on each domain: one for all, unless statistics are measured anew on each domain's own pictures."""
        if buffers != "recalibrate":
            return self._everywhere(self._written(method, parameters, members, buffers))  # type: ignore[return-value]
        places = range(len(self.domains))
        return tuple(self._written(method, parameters, members, buffers, domain=number) for number in places)

    def _written(
        self,
        method: str,
        parameters: dict[str, Any],
        members: Sequence[int],
        buffers: str,
        anchor: int = 0,
        domain: int = 0,
    ) -> Recipe:
        opened = [self.checkpoints[number] for number in members]
        built = build_method(method, parameters)
        sharing = unlike(opened, anchor) if built.takes_unlike else None
        return write_recipe(opened, method, parameters, buffers, self.domains[domain].pictures, sharing=sharing)

    def _everywhere(self, recipe: Recipe) -> tuple[Recipe | None, ...]:
        return (recipe,) * len(self.domains)


def named_spec(text: str) -> tuple[str, str]:
    """`NAME=SPEC` as its two parts; a plain spec is called by itself. Raises `UsageError` for no name or no spec."""
    name, equals, spec = text.partition("=")
    if not equals or ":" in name:
        return text, text
    if not name.strip() or not spec:
        raise UsageError(f"--data {shown(text)}", "NAME=SPEC, or SPEC alone", "Correct --data")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(f"Domain name {shown(name)}", f"up to {LONGEST_NAME} printable characters", "Shorten it")
    return name.strip(), spec


def _refused(about: Network, error: FusionError) -> Network:
    return Network(about.group, about.name, about.method, about.members, (), about.buffers, about.alpha, error.one_line)


def _class_set(text: str, domains: Sequence[Domain]) -> ClassSet:
    """Raises `UsageError` for a class that no domain has."""
    names = CLASS_SETS.get(text, tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip())))
    there = dict.fromkeys(name for domain in domains for name in domain.classes)
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise UsageError(
            f"Classes {shown(', '.join(unknown) or text)}",
            f"some of {', '.join(there)}, or {' or '.join(CLASS_SETS)} of Cityscapes",
            "Correct --classes",
        )
    return ClassSet(f"{text} classes" if text in CLASS_SETS else ", ".join(names), names)


def checked_names(names: Sequence[str]) -> list[str]:
    if not 1 <= len(names) <= MOST_DOMAINS:
        raise UsageError(f"{len(names)} domains", f"1 to {MOST_DOMAINS}", "Give --data for each")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"Two domains called {shown(twice[0])}", "a name for each", "Write NAME=SPEC")
    return list(names)


def own_expert(experts: Sequence[str], domain: str) -> int | None:
    """The expert that is called like a domain, or alone like a word of its name; None where none is."""
    if domain in experts:
        return experts.index(domain)
    alike = [number for number, name in enumerate(experts) if name in domain.split()]
    return alike[0] if len(alike) == 1 else None


def unique(names: Sequence[str]) -> list[str]:
    """Names made different by a number where two files have the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]
