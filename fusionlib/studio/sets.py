"""How good and how different the networks of a set are, worked off in the background; and what that is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusionlib.architectures.nearest import unknown_network
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.deep_ensemble import deep_ensemble_equivalent, equivalent_in_words
from fusionlib.engine.identity import identities
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import FusionError, UsageError
from fusionlib.measures.calibrated_likelihood import calibrated_log_likelihood
from fusionlib.measures.observation import UNIT
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.sets import NetworkSet, Reference
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.domains_plan import unique
from fusionlib.studio.plans import lease, set_plan
from fusionlib.studio.workspace import Workspace

MOST = 64
"""Networks of a set: as many as a recipe names."""

Likelihoods = list[float | None]


class SetWork(Work):
    """A set of networks on labelled pictures; what is measured is kept, whoever asked for it.

    `reference` is the deep ensemble that equivalents count in; without one the set itself. Raises `UsageError` for
    fewer than two networks and for networks of different classes, `DataError` without masks, `ArchitectureError` where
    no network is known for one of them.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache,
        buffers: str = "average",
        reference: Sequence[Checkpoint] = (),
        *,
        runner: Runner,
    ) -> None:
        runner.need_masks(pictures)
        self.checkpoints, self.pictures, self.buffers = tuple(checkpoints), pictures, buffers
        self.reference = tuple(reference)
        merger = runner.builder.merger
        merger.sources.know([*checkpoints, *reference], pictures)
        for title, files in (("The set", self.checkpoints), ("The reference", self.reference)):
            if files or title == "The set":
                _check(title, files, runner)
        self.names = unique([one.name for one in checkpoints])
        data = pictures.fingerprint()
        soup, why = _soup(self.checkpoints, buffers, pictures)
        alone = tuple(map(recipe_alone, checkpoints))
        others = tuple(map(recipe_alone, reference))
        compared = Reference(tuple(unique([one.name for one in reference])), others) if others else None
        study = NetworkSet(tuple(self.names), alone, data, soup, why, compared)
        self._likelihoods: dict[Question, Likelihoods] = {}
        super().__init__(f"set {', '.join(self.names)}", study, runner, {data: pictures}, self._lease(runner))
        self.recall()
        if self.settled:
            self.state = "done"

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> dict[str, Any]:
        """Measure what is not known, and wait: `snapshot`."""
        self.run(progress=progress, fresh=fresh)
        return self.snapshot()

    def begin(self, study: Any = None, *, fresh: bool = False) -> None:
        """As of any work; with `fresh` likelihoods are worked out again."""
        if fresh and self.state != "running":
            self._likelihoods = {}
        super().begin(study, fresh=fresh)

    def snapshot(self) -> dict[str, Any]:
        """State, progress, the `cost` of what is left, and the table of what is known, as JSON values.

        `ensembles` and `soup` have their calibrated `log_likelihood` (nats a pixel) and `dee`, how many networks of the
        `reference` together are as good, `dee_text` the same in words (`<= 1`, `> 5`).
        """
        names, compared = self._study.compared
        curve = self._curve(compared)
        points = [{"networks": size, "log_likelihood": value} for size, value in enumerate(curve, 1)]
        table = self.table()
        for row, value in zip(table["ensembles"], self._curve(self._study.likelihoods), strict=True):
            row |= _worth(value, curve)
        table["soup"] |= _worth(self._soup_likelihood(), curve)
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "names": self.names,
            "data": self.pictures.spec,
            "images": len(self.pictures),
            "buffers": self.buffers,
            "cost": self.cost(),
            **table,
            "reference": {"names": list(names), "curve": points, "itself": self._study.reference is None},
        }

    @property
    def _study(self) -> NetworkSet:
        assert isinstance(self.study, NetworkSet)
        return self.study

    def _curve(self, question: Question) -> Likelihoods:
        """Calibrated log-likelihood of the first 1, 2, ... networks; None where it is not known, or undefined."""
        found = self._of(question)
        return [None] * len(question.recipes) if found is None else found

    def _soup_likelihood(self) -> float | None:
        question = self._study.soup_likelihood
        found = None if question is None else self._of(question)
        return None if found is None else found[0]

    def _of(self, question: Question) -> Likelihoods | None:
        if question not in self.known:
            return None
        if question not in self._likelihoods:
            states = self.runner.pictures(question, self.pictures)
            if states is None:
                return None
            pixels = np.array([int(state["pixels"]) for state in states])
            steps, undefined = (
                np.stack([np.atleast_2d(state[name].numpy()) for state in states]) for name in ("steps", "undefined")
            )
            losses = np.where(undefined > 0, np.inf, steps * UNIT)
            self._likelihoods[question] = [
                calibrated_log_likelihood(losses[:, row], pixels) for row in range(losses.shape[1])
            ]
        return self._likelihoods[question]

    def _lease(self, runner: Runner) -> Any:
        paths = ",".join(str(one.path) for one in self.reference)
        more = ["--buffers", self.buffers, *(["--reference", paths] if paths else [])]
        prints = [one.fingerprint for one in self.checkpoints]
        others = [one.fingerprint for one in self.reference]
        plan = set_plan("sets", [one.path for one in self.checkpoints], self.pictures, *more)
        return lease(runner.desk, plan, *prints, "against", *others, self.pictures.fingerprint(), self.buffers)


class SetDesk:
    """The sets of a process: one work per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[SetWork] = WorkDesk()

    def open(
        self,
        names: Sequence[str],
        source: str,
        split: str | None,
        buffers: str = "average",
        reference: Sequence[str] = (),
    ) -> SetWork:
        """The set of checkpoints of the workspace on its data, with whatever is known by now."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in (*names, *reference)]
        opened: list[Checkpoint] = [item.checkpoint for item in items]  # type: ignore[misc]
        pictures = self._workspace.pictures(source, split)
        networks = identities((item.architecture for item in items), pictures.label_space)
        prints = [one.fingerprint for one in opened]
        parts = [*names, "against", *reference, *prints, pictures.fingerprint(), buffers, *networks]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        count = len(names)
        found = self._works.open(key, lambda: self.of(opened[:count], pictures, buffers, opened[count:]))
        if found.state != "running":
            found.recall()
        return found

    def of(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache,
        buffers: str = "average",
        reference: Sequence[Checkpoint] = (),
    ) -> SetWork:
        """The set of opened checkpoints; nothing is measured yet."""
        self._workspace.refresh_models()
        return SetWork(checkpoints, pictures, buffers, reference, runner=self._runner)


def _check(title: str, files: Sequence[Checkpoint], runner: Runner) -> None:
    """Raises what `SetWork` says of networks that cannot answer together."""
    if not 2 <= len(files) <= MOST:
        raise UsageError(
            f"{title} of {len(files)} network{'' if len(files) == 1 else 's'}", f"2 to {MOST}", "Name others"
        )
    unknown = [one for one in files if runner.builder.merger.recognised(one) is None]
    if unknown:
        raise unknown_network(unknown)
    runner.builder.space(write_recipe(files, "ensemble", {}, "average"))


def _soup(files: Sequence[Checkpoint], buffers: str, pictures: DecodedCache) -> tuple[Recipe | None, str]:
    """The recipe of the mean of the weights; None, and why, where these do not fit one another."""
    recipe = write_recipe(files, "isotropic", {}, buffers, pictures)
    try:
        Arena.pack(files, only_statistics=True)
    except FusionError as error:
        return None, error.one_line
    return recipe, ""


def _worth(value: float | None, curve: Likelihoods) -> dict[str, Any]:
    """A likelihood, and what it is worth in networks of a deep ensemble."""
    known = [(size, one) for size, one in enumerate(curve, 1) if one is not None]
    if value is None or len(known) < len(curve):
        return {"log_likelihood": value, "dee": None, "dee_text": "n/a"}
    return {
        "log_likelihood": value,
        "dee": deep_ensemble_equivalent(known, value),
        "dee_text": equivalent_in_words(known, value),
    }
