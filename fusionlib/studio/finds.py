"""What searches have found, as rows of a comparison: networks with recipes of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fusionlib.candidate import HARMONIC, SCORES, Candidate
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import STRATEGIES
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.engine.recipes import source_of
from fusionlib.errors import FusionError
from fusionlib.merging.build import build_method
from fusionlib.question import Known
from fusionlib.recipe import Recipe, data_without_folders
from fusionlib.runs.finds import Finds
from fusionlib.studies.compare import FOUND, Row
from fusionlib.studies.search import Search
from fusionlib.studio.wanted import Wanted

KEY = 12
"""Characters of a picture's content key that are kept, to tell whether it was chosen by."""

LONGEST = 60
"""Characters of the name of data in that of a row."""


@dataclass(frozen=True)
class Find:
    """What a search found: the `recipe` of the network, its parameters with a row for every unit (`shown`), and what it
    was chosen by: the `score`, and on `select` (data, images, miou or harmonic, and the score).
    """

    strategy: str
    settings: Mapping[str, Any]
    score: str
    select: Mapping[str, Any]
    pictures: frozenset[str]
    recipe: Recipe
    shown: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`search simplex on streets:clear:16@val`, and by which score where it is not mIoU."""
        data = data_without_folders(self.select["data"])
        data = data if len(data) <= LONGEST else f"{data[: LONGEST - 1]}\u2026"
        return f"search {self.strategy}{'' if self.score == 'miou' else f' by {SCORES[self.score][0]}'} on {data}"

    def remark(self, pictures: DecodedCache) -> str:
        """How it was chosen, with what settings, and whether any of these pictures took part in that."""
        settings = ", ".join(f"{name} {str(value)[:LONGEST]}" for name, value in self.settings.items())
        value = self.select.get(self.score)
        shown = "n/a" if value is None else f"{value:.4f} nats" if self.score == "loss" else f"{100 * value:.2f} %"
        told = [f"{settings}, " if settings else "", f"chosen by {SCORES[self.score][0]}, {shown} on"]
        parts = [f"{told[0]}{told[1]} {self.select['images']} pictures of {self.select['data']}"]
        mine = [pictures.picture_key(index)[:KEY] in self.pictures for index in range(len(pictures))]
        if any(mine):
            parts.append(f"{sum(mine)} of these {len(mine)} pictures chose it: optimistic")
        if (used := self.recipe.calibration) is not None:
            parts.append(f"statistics measured on up to {used.count} pictures of {used.data}")
        if self.recipe.dtype is not None:
            parts.append(f"rounded to {self.recipe.dtype}")
        return "; ".join(parts)

    @property
    def members(self) -> frozenset[str]:
        """Fingerprints of the checkpoints that it is made of."""
        return frozenset(source.fingerprint for source in self.recipe.checkpoints)

    @property
    def content(self) -> tuple:
        """What tells it from others: the pictures of the report are none of it."""
        return (
            self.title,
            self.pictures,
            json.dumps(self.settings, sort_keys=True),
            self.recipe.without_folders().content,
        )

    def seen_alike(self, pictures: DecodedCache) -> bool:
        """Whether a view of these pictures makes the same network: it measures statistics on the pictures it shows."""
        used = self.recipe.calibration
        if used is None:
            return True
        count = min(CALIBRATION_PICTURES, len(pictures))
        return used.fingerprint == pictures.fingerprint() and min(used.count, len(pictures)) == count


def find_of(study: Search, wanted: Wanted, select: Sequence[DecodedCache], known: Known) -> dict[str, Any] | None:
    """What a finished search found, to be kept as a JSON value; None where it has found nothing."""
    best = study.best(known)
    figures = None if best is None else study.figures(best, study.select, known)
    if best is None or figures is None:
        return None
    pictures = {one.picture_key(index)[:KEY] for one in select for index in range(len(one))}
    named = dict.fromkeys((HARMONIC if wanted.score == HARMONIC else "miou", wanted.score, "images"))
    return {
        "strategy": wanted.strategy,
        "settings": dict(wanted.settings),
        "score": wanted.score,
        "select": {"data": ", ".join(one.spec for one in select), **{name: figures[name] for name in named}},
        "pictures": sorted(pictures),
        "recipe": study.networks.recipe(best).model_dump(mode="json"),
        "shown": shown_parameters(study, best),
    }


def shown_parameters(study: Search, candidate: Candidate) -> dict[str, Any]:
    """The parameters of a candidate's recipe; a profile with a row for every unit, the first checkpoint its anchor."""
    parameters: dict[str, Any] = dict(study.networks.recipe(candidate).parameters)
    if candidate.units:
        rest = parameters.pop("rest")
        parameters |= {"anchor": 0, "weights": {name: parameters["weights"].get(name, rest) for name in study.units}}
    return parameters


def weights_text(row: Row, names: Sequence[str]) -> str:
    """What was found, in words: `night 0.25, fog 0.75`, or who was better alone than every mixture that was tried."""
    members = [names[number] for number in row.members]
    if len(members) == 1:
        return f"{members[0]} alone"
    units, first = row.parameters.get("weights"), row.parameters.get("alpha")
    if isinstance(units, Mapping):
        return f"a weight for each of {len(units)} units of {', '.join(members)}"
    shares = [first, 1 - first] if isinstance(first, int | float) and len(members) == 2 else units or []
    told = [f"{name} {share:.3g}" for name, share in zip(members, shares, strict=False) if share]
    return ", ".join(told or members)


def found_rows(finds: Finds, checkpoints: Sequence[Checkpoint]) -> list[tuple[Row, Find]]:
    """What searches found among these checkpoints or some of them, in the order of the strategies' names. Finds of the
    same title are numbered; what a search found again, for other pictures to report on, is there once.
    """
    numbers = {one.fingerprint: number for number, one in enumerate(checkpoints)}
    read = (_read(value) for value in finds.among(numbers))
    apart = {find.content: find for find in read if find is not None and find.members <= set(numbers)}
    rows: dict[str, tuple[Row, Find]] = {}
    for find in sorted(apart.values(), key=lambda find: find.title):
        row = _row(find, checkpoints, numbers)
        if row is not None:
            name, number = row.name, 1
            while row.name in rows:
                number += 1
                row = Row(**{**vars(row), "name": f"{name} ({number})"})
            rows[row.name] = row, find
    return list(rows.values())


def _row(find: Find, checkpoints: Sequence[Checkpoint], numbers: Mapping[str, int]) -> Row | None:
    """None where this version makes no network of it."""
    members = tuple(numbers[source.fingerprint] for source in find.recipe.checkpoints)
    sources = tuple(source_of(checkpoints[number]) for number in members)
    recipe = find.recipe.model_copy(update={"checkpoints": sources})
    if len(members) == 1 and recipe.calibration is None:
        return Row(FOUND, find.title, "single", members, recipe=recipe)
    try:
        method = build_method(recipe.method, find.shown)
        networks = method.networks(len(members))
    except FusionError:
        return None
    buffers = "" if type(method).keeps_statistics else recipe.buffers
    return Row(FOUND, find.title, recipe.method, members, buffers, find.shown, None, networks, recipe)


def _read(value: Mapping[str, Any]) -> Find | None:
    """A find as it was kept; None of what was kept by another version, or is none."""
    try:
        find = Find(
            strategy=str(value["strategy"]),
            settings=dict(value["settings"]),
            score=value["score"],
            select={"data": str(value["select"]["data"]), **value["select"]},
            pictures=frozenset(value["pictures"]),
            recipe=Recipe.model_validate(value["recipe"]),
            shown=dict(value["shown"]),
        )
        known = find.score in SCORES and find.strategy in STRATEGIES.names()
    except (KeyError, TypeError, ValueError, ValidationError):
        return None
    figures = [find.select.get(name) for name in ("miou", HARMONIC, find.score)]
    numbers = isinstance(find.select.get("images"), int) and all(
        one is None or (isinstance(one, int | float) and math.isfinite(one)) for one in figures
    )
    return find if known and numbers else None
