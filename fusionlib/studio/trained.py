"""What training runs cost before they begin, and how good the checkpoints are that they leave."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import REGIMES, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import UsageError, clipped
from fusionlib.lab.manifest import Series, rates
from fusionlib.lab.plan import TrainingPlan, build_regime, cost, span_of, validations
from fusionlib.runs.desk import Plan
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.curve import BASIC, Curve
from fusionlib.studio.plans import lease
from fusionlib.studio.training import PROGRAM, Wish, child_environment

VERSION = 2


class Outlay(NamedTuple):
    """What a run takes: `batches`, and the learning rate of its `steps`. It leaves a file after each step of `saved`,
    and shows `networks` of them, and of those in between, the pictures to validate on: `validation` forward passes.
    """

    batches: int
    steps: int
    rates: Series
    saved: tuple[int, ...]
    networks: int
    validation: int


def outlay(wish: Wish, pictures: int, select: int = 0, validate: int = 0) -> Outlay:
    """What a wish takes on so many pictures, with `select` to choose by and `validate` there to validate on. Raises
    `UsageError` where its parameters do not fit.
    """
    regime = build_regime(wish.regime, wish.settings, start=wish.start is not None)
    plan = TrainingPlan(seed=wish.seed, epochs=wish.epochs, batch=wish.batch)
    span = span_of(plan, regime, pictures, select)
    networks = validations(regime, span, wish.start is not None) if validate else 0
    shown = min(validate, wish.validate_count or validate)
    saved = tuple(regime.saved(span))
    return Outlay(
        cost(plan, regime, pictures, select), span.steps, rates(regime, span), saved, networks, networks * shown
    )


class Pace(NamedTuple):
    """Seconds of a batch of training, and of a picture that is shown to a network."""

    batch: float
    picture: float

    def of(self, found: Outlay) -> float:
        """Seconds of a whole run."""
        return self.batch * found.batches + self.picture * found.validation


class BatchTime(Job):
    """Seconds of a batch of a wish, and of a picture that it validates on: a process of its own trains three and writes
    nothing. Kept in the table.

    What decides it is the network, the size of the batch and of its crops, those pictures, and the device.
    """

    def __init__(self, wish: Wish, network: str, store: Store, options: Sequence[str], device: str) -> None:
        super().__init__("time of a batch")
        self.wish, self._store, self._options = wish, store, tuple(options)
        crop = "x".join(map(str, wish.crop or ()))
        self.key = key_of("batch time", str(VERSION), network, str(wish.batch), crop, device, *wish.validate)

    @property
    def pace(self) -> Pace | None:
        """What is known."""
        found = self._store.get(self.key)
        return None if found is None else Pace(float(found["batch"]), float(found["picture"]))

    def want(self) -> None:
        """Measure it in the background."""
        self.start(lambda _: self._measure())

    def _measure(self) -> None:
        self.stage = "three batches are trained"
        arguments = self.wish.arguments(Path("unused"), self._options)
        told = subprocess.run(
            [*PROGRAM, *arguments, "--cost", "--json"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            check=False,
        )
        try:
            found = json.loads(told.stdout)
            kept = {"batch": float(found["seconds_per_batch"]), "picture": float(found["seconds_per_picture"])}
        except (ValueError, KeyError, TypeError) as problem:
            lines = told.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {told.returncode}"]
            raise UsageError(clipped(lines[-1], 500), "a run that goes through", "Correct what it names") from problem
        self._store.put(self.key, kept)


class LeftWork(Work):
    """mIoU of checkpoints that a run has left, each alone, on labelled pictures."""

    def __init__(self, name: str, checkpoints: Sequence[Checkpoint], pictures: DecodedCache, runner: Runner) -> None:
        runner.need_masks(pictures)
        self.pictures, self.name = pictures, name
        runner.builder.merger.sources.know(checkpoints, pictures)
        data = pictures.fingerprint()
        hold = lease(runner.desk, Plan("evaluate", ()), "left", name, data)
        study = Curve((), data, BASIC)
        super().__init__(f"what {name} left", study, runner, {data: pictures}, hold)
        self.look_at(checkpoints)

    def look_at(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Take these in place of those before; nothing runs."""
        self.runner.builder.merger.sources.know(checkpoints, self.pictures)
        known = dict(self._curve.points)
        points = {one.fingerprint: known.get(one.fingerprint) or recipe_alone(one) for one in checkpoints}
        self.study = self._curve.of(points)
        self.recall()

    @property
    def scores(self) -> dict[str, float]:
        """mIoU by the fingerprint of a checkpoint, as far as it is known."""
        found = self._curve.found(dict(self.known))
        return {key: figures["miou"] for key, figures in found.items() if figures["miou"] is not None}

    def want(self) -> None:
        """Measure what is not known, in the background."""
        self.begin()

    @property
    def _curve(self) -> Curve:
        assert isinstance(self.study, Curve)
        return self.study


def parameters_text(regime: str, settings: dict[str, Any]) -> str:
    """What a run was told beside the defaults, in a line."""
    defaults = {item.name: item.default for item in parameters_of(REGIMES.get(regime))}
    return ", ".join(f"{name} {value}" for name, value in settings.items() if defaults.get(name) != value)
