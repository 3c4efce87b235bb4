"""What the networks of a table cost: measured once for each architecture and number of networks, on request alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.build import forwards_of, parts_of
from fusionlib.engine.cost import FORWARDS, PASSES, device_words, measure_cost
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.jobs import Job
from fusionlib.errors import ArchitectureError
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store

UNKNOWN: Mapping[str, Any] = {"latency_ms": None, "memory_mb": None}

VERSION = 1


class Costs(Job):
    """Latency and memory of networks on the first picture of a dataset, kept in the table of results.

    What decides them is the architecture, how many networks run, the picture's size, device, precision and threads:
    networks that are alike in all of that share one measurement, whatever their weights are.
    """

    def __init__(self, runner: Runner, store: Store, pictures: DecodedCache) -> None:
        super().__init__(f"cost of a forward pass on {pictures.spec}")
        self._runner, self._store, self._pictures = runner, store, pictures
        self._kept: dict[str, Mapping[str, Any]] = {}

    def of(self, recipe: Recipe | None) -> Mapping[str, Any]:
        """`latency_ms` and `memory_mb` of a network, None where they are not measured."""
        if recipe is None:
            return UNKNOWN
        try:
            key = self._key(recipe)
        except ArchitectureError:  # nothing runs it: its row says so
            return UNKNOWN
        if key not in self._kept:
            found = self._store.get(key)
            if found is None:
                return UNKNOWN
            self._kept[key] = found
        return {name: self._kept[key].get(name) for name in UNKNOWN}

    @cached_property
    def about(self) -> dict[str, Any]:
        """On what they are measured: `device`, `precision`, `height`, `width`, timed `forwards`."""
        height, width = self._picture.shape[:2]
        builder = self._runner.builder
        return {
            "device": device_words(builder.device),
            "precision": builder.precision,
            "height": height,
            "width": width,
            "forwards": FORWARDS,
        }

    def left(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """One network for each measurement that is missing."""
        wanted = {self._key(one): one for one in reversed(recipes)}
        return [one for key, one in reversed(wanted.items()) if self._store.get(key) is None]

    def passes(self, recipes: Sequence[Recipe]) -> int:
        """Forward passes that are left for these networks."""
        return sum(PASSES * forwards_of(one) for one in self.left(recipes))

    def want(self, recipes: Sequence[Recipe]) -> None:
        """Measure what is missing, in the background."""
        self.start(lambda job: self.measure(recipes, job.progress))

    def measure(self, recipes: Sequence[Recipe], progress: Progress | None = None) -> None:
        """The same, and wait. Progress is in forward passes, and may raise `Cancelled`: what was measured is kept."""
        left = self.left(recipes)
        image, total, done = self._picture, self.passes(left), 0
        for recipe in left:
            built = self._runner.builder.build(recipe)
            tell = progress or _silent
            found = measure_cost(
                built, image, self._runner.worker.run, lambda part, _, before=done, say=tell: say(before + part, total)
            )
            done += PASSES * forwards_of(recipe)
            self._store.put(
                self._key(recipe),
                {"latency_ms": found.milliseconds, "memory_mb": found.megabytes, **self.about},
            )
        self._runner.builder.merger.forget()

    @cached_property
    def _picture(self) -> Any:
        return self._pictures.load(0).image

    def _key(self, recipe: Recipe) -> str:
        builder = self._runner.builder
        alone = parts_of(recipe) or (recipe,) * forwards_of(recipe)
        networks = sorted(architecture_key(*builder.merger.network(one)) for one in alone)
        views = () if recipe.views is None else (recipe.views.words,)
        return key_of("cost", VERSION, networks, *views, *self._where)

    @cached_property
    def _where(self) -> tuple[dict[str, Any], str]:
        """What beside the networks decides a cost; a table of many rows asks for each."""
        return {name: value for name, value in self.about.items() if name != "forwards"}, version("torch")


def _silent(done: int, total: int) -> None:
    """Nobody asked how far it is."""
