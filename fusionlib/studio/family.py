"""The family of the workspace: which checkpoint was trained or merged from which, as far as files say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from fusionlib.errors import clipped, printable
from fusionlib.lab.manifest import RunRecord
from fusionlib.studio.demo import manifest
from fusionlib.studio.items import Item
from fusionlib.studio.provenance import DEMO_FILE, recipe_of

TRAINED, MERGED = "trained", "merged"
LONGEST = 40


@dataclass(frozen=True)
class Relative:
    """A checkpoint in the tree. `key` is the SHA-256 of its content, or a name where nobody has that; `name` is what
    the workspace calls it, empty for one that is not loaded. `how` is the relation to its `parents`, by their keys.
    """

    key: str
    title: str
    name: str = ""
    role: str = ""
    how: str = ""
    parents: tuple[str, ...] = ()
    generation: int = field(default=0, compare=False)

    @property
    def merged(self) -> bool:
        """Whether it was merged out of others."""
        return self.how.startswith(MERGED)


def family(items: Iterable[Item], runs: Mapping[str, RunRecord]) -> list[Relative]:
    """All checkpoints of the workspace and those that they come from, parents before their children.

    `runs` are records of training runs by name. A merged file says what it was merged from, a run what it left; of the
    demo its manifest does. What files say is shown, and never believed: it decides nothing.
    """
    found: dict[str, Relative] = {}
    names = {item.name: item.checkpoint.fingerprint for item in items if item.checkpoint is not None}
    points = _points(runs)
    for item in items:
        if item.checkpoint is None:
            continue
        key = item.checkpoint.fingerprint
        how, parents = points.get(key) or _of_merge(item) or _of_demo(item, names) or ("", {})
        role = item.made.role
        found[key] = Relative(key, item.name, item.name, role, how, tuple(parents))
        for parent, title in parents.items():
            found.setdefault(parent, Relative(parent, title))
    return _by_generation(found)


def _points(runs: Mapping[str, RunRecord]) -> dict[str, tuple[str, dict[str, str]]]:
    """How files of runs came about, by their content."""
    found = {}
    for name, record in runs.items():
        start = record.start
        titles = {} if start is None else {start.sha256: start.name}
        for point in record.points:
            titles.setdefault(point.sha256, f"{name}/{point.name}")
            parents = {one.sha256: titles.get(one.sha256, _short(one.name)) for one in point.parents}
            found[point.sha256] = (f"{TRAINED} by {record.regime}, {point.role}", parents)
    return found


def _of_merge(item: Item) -> tuple[str, dict[str, str]] | None:
    assert item.checkpoint is not None
    recipe = recipe_of(item.checkpoint.metadata)
    if recipe is None or len(recipe.checkpoints) < 2:
        return None
    sources = {source.fingerprint: _short(PurePath(source.path).stem) for source in recipe.checkpoints}
    return f"{MERGED} by {_short(recipe.method)}", sources


def _of_demo(item: Item, names: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """The demo's manifest has the commands that trained it."""
    if item.given != DEMO_FILE:
        return None
    said = next((one for one in manifest().get("checkpoints", ()) if one["name"] == item.name), {})
    words = (said.get("commands") or [""])[-1].split()
    start = PurePath(words[words.index("--start") + 1]).stem if "--start" in words[:-1] else ""
    return (f"{TRAINED} by finetune", {names[start]: start}) if start in names and start != item.name else None


def _by_generation(found: Mapping[str, Relative]) -> list[Relative]:
    """Each one later than all of its parents, and with the number of its generation. A circle, which only a file that
    lies can say, is cut where it is met.
    """
    waiting = {key: {parent for parent in one.parents if parent in found} for key, one in found.items()}
    generations: dict[str, int] = {}
    while waiting:
        ready = [key for key, parents in waiting.items() if parents <= generations.keys()] or list(waiting)[:1]
        placed = {key: 1 + max((generations.get(one, -1) for one in waiting[key]), default=-1) for key in ready}
        generations |= placed
        waiting = {key: parents for key, parents in waiting.items() if key not in placed}
    return sorted((replace(one, generation=generations[key]) for key, one in found.items()), key=_generation)


def _generation(one: Relative) -> int:
    return one.generation


def relations(tree: Sequence[Relative]) -> list[tuple[Relative, Relative]]:
    """Pairs of a parent and its child, both in the tree."""
    by_key = {one.key: one for one in tree}
    return [(by_key[parent], child) for child in tree for parent in child.parents if parent in by_key]


def _short(text: str) -> str:
    return clipped(printable(text), LONGEST)
