"""The learners inside one network, worked off in the background: what they say, how alike they are, what they cost."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fusionlib.contracts import Architecture, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.embeddings import class_cosines
from fusionlib.engine.parts import SIDE, parts
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import AT_ONCE, Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.learners import LearnersInside
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.inside import described
from fusionlib.studio.mixtures import recipe_words
from fusionlib.studio.plans import lease, set_plan

BINS = np.linspace(-1, 1, 41)
"""Edges of the density of cosines."""


class LearnersWork(Work):
    """The learners of one network on labelled pictures; what is measured is kept, whoever asked for it.

    Raises `UsageError` for several networks, for views or a temperature, and for a network without learners;
    `DataError` without masks; `ArchitectureError` where no network is known for it.
    """

    def __init__(self, recipe: Recipe, pictures: DecodedCache, *, runner: Runner) -> None:
        runner.need_masks(pictures)
        _refuse(recipe)
        self.recipe, self.pictures, self._builder = recipe, pictures, runner.builder
        architecture, self._classes = runner.builder.merger.network(recipe)
        self.architecture: Architecture = need_learners(architecture)
        self._cosines: list[dict[str, Any]] | None = None
        self.name, data = recipe_words(recipe), pictures.fingerprint()
        files = [source.path for source in recipe.checkpoints]
        plan = set_plan("learners", files[:1], pictures)  # type: ignore[arg-type]
        hold = lease(runner.desk, plan, recipe.content, data) if len(files) == 1 else None
        study = LearnersInside(recipe, data, described(self.architecture, self._classes).names)
        super().__init__(f"learners of {self.name}", study, runner, {data: pictures}, hold)
        self.recall()
        if self.settled:
            self.state = "done"

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure what is not known, and wait: `snapshot`."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def snapshot(self) -> dict[str, Any]:
        """State, progress, the `cost` of what is left, and the table of what is known, as JSON values."""
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "network_name": self.name,
            "architecture": self.architecture.title,
            "data": self.pictures.spec,
            "images": len(self.pictures),
            "cost": self.cost(),
            **self.table(),
        }

    @cached_property
    def parts(self) -> dict[str, Any]:
        """`parts` with parameters and multiply-accumulates (of a picture of `side` a side), `printed` by the paper."""
        found = parts(self.architecture, self._classes)
        return {
            "side": SIDE,
            "parts": [{"name": one.name, "parameters": one.parameters, "macs": one.macs} for one in found],
            "parameters": sum(one.parameters for one in found),
            "macs": sum(one.macs for one in found),
            "printed": getattr(self.architecture, "printed", None),
        }

    def cosines(self) -> list[dict[str, Any]]:
        """Of each learner: its `name`, how many `pairs` of classes, their `mean` cosine, `with_diagonals` that of the
        paper's set, and the `density` of both over `edges`. Nothing where classes have no embeddings. Builds the
        network at the first question.
        """
        if self._cosines is None:
            built = self._builder.build(self.recipe)
            member = built.members[0]

            def read() -> list[dict[str, Any]]:
                member.enter()
                about = member.network.learners
                assert about is not None  # or there would be no work
                tables = [table.float().cpu().numpy().copy() for table in about.embeddings()]
                return [_density(name, table) for name, table in zip(about.names, tables, strict=False)]

            self._cosines = self.runner.worker.run(read)
        return self._cosines


def _refuse(recipe: Recipe) -> None:
    """Raises `UsageError` for a recipe of several networks, and for one that does something with the network's answer,
    which its learners never see.
    """
    given = {"views": recipe.views not in (None, AT_ONCE), "temperature": recipe.temperature not in (None, 1)}
    named = " and ".join(name for name, there in given.items() if there)
    method = build_method(recipe.method, recipe.parameters)
    if (count := method.networks(len(recipe.checkpoints))) > 1:
        raise UsageError(
            f"Learners of {count} networks that answer together ({method.title})",
            "one network, whose learners share a pass",
            "Choose one of its checkpoints, or a recipe that merges them",
        )
    if named:
        raise UsageError(
            f"Learners of a recipe with {named}",
            "a recipe of the network alone: both act on the answer that learners have given together",
            f"Leave {named} out",
        )


def need_learners(architecture: Architecture) -> Architecture:
    """Raises `UsageError` for a network without learners inside."""
    if not hasattr(architecture, "learners"):
        raise UsageError(
            f"{architecture.title} has no learners inside",
            "a network of learners, such as a SenFormer",
            "Choose another checkpoint; `architectures` lists networks",
        )
    return architecture


def _density(name: str, table: np.ndarray) -> dict[str, Any]:
    alone, paper = class_cosines(table), class_cosines(table, diagonals=True)
    return {
        "name": name,
        "pairs": len(alone),
        "mean": float(alone.mean()) if len(alone) else None,
        "with_diagonals": float(paper.mean()) if len(paper) else None,
        "edges": BINS.tolist(),
        "density": _heights(alone),
        "density_with_diagonals": _heights(paper),
    }


def _heights(values: np.ndarray) -> list[float]:
    if not len(values):
        return [0.0] * (len(BINS) - 1)
    return np.histogram(values, BINS, density=True)[0].tolist()


class LearnersDesk:
    """The works of a process by what they are about, whichever page or session asks."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._works: WorkDesk[LearnersWork] = WorkDesk()

    def open(self, recipe: Recipe, pictures: DecodedCache) -> LearnersWork:
        """The learners of a recipe's network on these pictures, with whatever is known by now."""
        key = f"{self._runner.builder.memo(recipe)} {pictures.fingerprint()}"
        found = self._works.open(key, lambda: LearnersWork(recipe, pictures, runner=self._runner))
        if found.state != "running":
            found.recall()
        return found
