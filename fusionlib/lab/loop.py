"""The training loop: batch by batch as a regime says, files as they come, resumable at any step."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fusionlib.atomic import make_folder, write_atomically
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import (
    ARCHITECTURES,
    REGIMES,
    START,
    Architecture,
    Dataset,
    Point,
    Progress,
    Regime,
    parameters_of,
)
from fusionlib.data.labels import counterparts, label_space
from fusionlib.errors import Cancelled, DataError, UsageError
from fusionlib.lab.batches import CropSampler
from fusionlib.lab.counterparts import Counterparts
from fusionlib.lab.folder import held
from fusionlib.lab.learner import DivergedError, Learner, diverged
from fusionlib.lab.manifest import (
    STATE,
    Origin,
    RunRecord,
    SavedPoint,
    Series,
    Source,
    Validated,
    rates,
    read_run,
    stride_of,
)
from fusionlib.lab.plan import TrainingPlan, between, check_data, cost, span_of, validations
from fusionlib.lab.validation import Validation
from fusionlib.lab.weights import load_weights, saved_tensors

TELL_EVERY_S = 2.0
"""Seconds after which the record says how far a run is."""

KEEP_EVERY_S = 60.0
"""Seconds after which a run keeps its state within an epoch."""


class Trainer:
    """One run of a plan and a regime, in a folder: its checkpoints, `run.json`, and `progress.state` to resume it.

    Every file is whole or not there, and the state is written after what it says was saved: a run that is killed goes
    on from the last state and comes to the same bytes. What is measured of it on the pictures of `validate` changes
    none of them, and may be another set, or none, whenever it goes on. With `as_data` each output of
    the network counts as the class of the data that is its counterpart (`Counterparts`); else as the one of its number.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        data: Dataset,
        regime: Regime,
        out: Path,
        *,
        target: Dataset | None = None,
        select: Dataset | None = None,
        validate: Dataset | None = None,
        start: Path | None = None,
        as_data: bool = False,
        groups: Sequence[str] = (),
        device: torch.device | None = None,
        command: Sequence[str] = (),
    ) -> None:
        check_data(plan, data, regime, target, select, as_data=as_data)
        self.plan, self.regime, self.out, self.command = plan, regime, out, tuple(command)
        self.architecture: Architecture = ARCHITECTURES.get(plan.architecture)
        chosen_by = 0 if select is None else len(select)
        span = span_of(plan, regime, len(data), chosen_by)
        torch.manual_seed(plan.seed)
        network = self.architecture.build(plan.classes)
        self.start: Origin | None = None
        if start is not None:
            checkpoint = load_weights(network, start, groups)
            self.start = Origin(checkpoint.name, checkpoint.fingerprint)
        whole = self.architecture.preprocessing.resize is not None  # the network sees whole pictures at one size
        crop = None if whole else plan.crop
        space = label_space(self.architecture.label_space(plan.classes)) if as_data else data.label_space
        counted = counterparts(space, data.label_space)
        self.counts_as = None if counted is None else counted.tolist()
        classes = None if counted is None else Counterparts(counted, data.label_space.count)
        sampler = CropSampler(data, crop, plan.batch, plan.seed)
        further = None if target is None else CropSampler(target, crop, plan.batch, plan.seed, labelled=False)
        apart = None if select is None else CropSampler(select, crop, plan.batch, plan.seed)
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.learner = Learner(plan, regime, network, self.architecture, span, sampler, further, device, apart, classes)
        self.data = _source(data)
        self.target, self.select = (None if one is None else _source(one) for one in (target, select))
        self.validation: Validation | None = None
        if validate is not None:
            due = between(regime, span, start is not None)
            self.validation = Validation(self.architecture, plan.classes, validate, device, due)
        self.log: list[dict[str, Any]] = []
        self.points: list[SavedPoint] = []
        self.finished = False
        self._failure: str | None = None
        self._losses: list[float] = []
        self._epoch_loss, self._resumed = 0.0, False
        self._done, self._total = 0, cost(plan, regime, len(data), chosen_by)

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        return self.learner.network

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what the run leaves."""
        parameters = {item.name: getattr(self.regime, item.name) for item in parameters_of(type(self.regime))}
        return {
            **self.plan.settings,
            "regime": REGIMES.name_of(type(self.regime)),
            "version": self.regime.version,
            **parameters,
            "data": self.data.fingerprint,
            "target": self.target and self.target.fingerprint,
            **({"select": self.select.fingerprint} if self.select else {}),
            "start": self.start and self.start.sha256,
            **({"counts_as": self.counts_as} if self.counts_as else {}),
        }

    def run(self, progress: Progress | None = None) -> list[dict[str, Any]]:
        """Train the steps still missing. Returns the log: epoch, loss in nats, learning rate. May raise `Cancelled`.

        Progress is in batches, as `fusionlib.lab.plan.cost` counts them.

        Raises: `WriteError` where the folder, or a file, cannot be written; those before are there to resume from.
        `DivergedError` where the loss, or what would be saved, is no number any more.
        """
        make_folder(self.out)
        if self.finished:
            self._mend_record()
            return self.log
        with held(self.out):
            return self._run(progress)

    def _run(self, progress: Progress | None) -> list[dict[str, Any]]:
        if self._resumed:
            self.learner.restore_random()
        else:
            self.regime.begin(self.learner)
        self.record().write(self.out)
        self._done, kept = self.learner.step * self.regime.passes, time.monotonic()
        told = kept
        try:
            self._validate(progress)
            while self.learner.step < self.learner.span.steps:
                if self._advance() or time.monotonic() - kept > KEEP_EVERY_S:
                    self._keep()
                    self._validate(progress)
                    kept = told = time.monotonic()
                elif time.monotonic() - told > TELL_EVERY_S:
                    self.record().write(self.out)
                    told = time.monotonic()
                self._done = self.learner.step * self.regime.passes
                if progress is not None:
                    progress(self._done, self._total)
            self._finish(progress)
        except Cancelled:
            self._keep()
            raise
        except DivergedError as problem:
            self._failure = problem.one_line
            self.record().write(self.out)
            raise
        return self.log

    def timed(self, steps: int = 2) -> float:
        """Seconds of a batch: the fastest of so many steps after one more. The trainer is of no use afterwards."""
        learner, found = self.learner, []
        learner.seed_epoch()
        self.regime.begin(learner)
        for _ in range(1 + steps):
            begun = time.perf_counter()
            learner.set_rate(self.regime.rate(learner.step, learner.span))
            float(self.regime.step(learner, learner.batch()))
            found.append(time.perf_counter() - begun)
            learner.step = min(learner.step + 1, max(1, learner.span.steps) - 1)
        return min(found[1:]) / self.regime.passes

    def outlay(self) -> dict[str, Any]:
        """What the whole run takes: batches, and pictures that are shown to networks to validate them, with the time of
        one each, and the time of all, in seconds. The trainer is of no use afterwards.
        """
        passes = seconds = 0
        if self.validation is not None:
            networks = validations(self.regime, self.learner.span, self.start is not None)
            passes = networks * self.validation.source.pictures
            seconds = self.validation.timed(self.learner.tensors())
        batch = self.timed()
        return {
            "batches": self._total,
            "seconds_per_batch": batch,
            "validation_passes": passes,
            "seconds_per_picture": seconds,
            "seconds": batch * self._total + seconds * passes,
        }

    def resume(self) -> bool:
        """Continue from `progress.state` where it exists; True when it did.

        Raises `UsageError` when it is of another plan, regime, start or data.
        """
        path = self.out / STATE
        if not path.exists():
            return False
        try:
            state = torch.load(path, weights_only=True, map_location=self.learner.device)
            before = json.loads(state["settings"])
        except Exception as error:
            raise UsageError(
                f"{path.name} cannot be read: {type(error).__name__}",
                "the file that the run wrote",
                "Begin anew in another --out, with --start and the last checkpoint",
            ) from error
        now = json.loads(json.dumps(self.settings))
        if before != now:
            names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
            raise UsageError(
                f"{path.name} belongs to a run with other settings: "
                + ", ".join(f"{name} {before.get(name)}" for name in names),
                "the settings of that run",
                "Choose another --out, or repeat the first command with --resume",
            )
        self.learner.set_state(state["learner"])
        self.log, self._losses, self._epoch_loss = state["log"], state["losses"], state["epoch_loss"]
        self.points = [_restored(one) for one in state["points"]]
        self.finished, self._resumed = state["finished"], True
        if self.validation is not None and state.get("validation") == self.validation.source.fingerprint:
            self.validation.figures = [Validated(**one) for one in state["figures"]]
        return True

    def record(self) -> RunRecord:
        """The run as it stands."""
        span, settings = self.learner.span, self.settings
        return RunRecord(
            command=self.command,
            regime=settings["regime"],
            version=self.regime.version,
            parameters={item.name: settings[item.name] for item in parameters_of(type(self.regime))},
            plan=self.plan.settings,
            data=self.data,
            target=self.target,
            start=self.start,
            length=span.length,
            steps=span.steps,
            done=self.learner.step,
            finished=self.finished,
            lr=rates(self.regime, span),
            losses=Series(stride_of(span.steps), tuple(self._losses)),
            epochs=tuple(self.log),
            points=tuple(self.points),
            select=self.select,
            validation=self.validation and self.validation.source,
            figures=tuple(self.validation.figures) if self.validation else (),
            failure=self._failure,
        )

    def _advance(self) -> bool:
        """One step; whether something was saved, or an epoch ended."""
        learner, span = self.learner, self.learner.span
        if learner.step % span.length == 0:
            learner.seed_epoch()
            self._epoch_loss = 0.0
        rate = self.regime.rate(learner.step, span)
        learner.set_rate(rate)
        loss = float(self.regime.step(learner, learner.batch()))
        self._epoch_loss += loss
        if learner.step % stride_of(span.steps) == 0:
            self._losses.append(loss)
        learner.step += 1
        points = list(self.regime.after_step(learner))
        ended = learner.step % span.length == 0 or learner.step == span.steps
        if ended:
            points += self.regime.after_epoch(learner)
            seen = (learner.step - 1) % span.length + 1
            epoch = -(-learner.step // span.length)
            self.log.append({"epoch": epoch, "loss": self._epoch_loss / seen, "lr": rate})
        self._save(points)
        return ended or bool(points)

    def _mend_record(self) -> None:
        """Write it again where it cannot be read."""
        try:
            read_run(self.out)
        except DataError:
            self.record().write(self.out)

    def _finish(self, progress: Progress | None) -> None:
        def count() -> None:
            self._done += 1
            if progress is not None:
                progress(self._done, self._total)

        self.learner.looked = count
        known = {one.name for one in self.points}
        self._save([point for point in self.regime.finish(self.learner) if point.name not in known])
        self._validate(progress)
        self.finished = True
        self._keep()

    def _validate(self, progress: Progress | None) -> None:
        """Measure what is saved and has no figure, then the network where that is due: after each step at most once."""
        looking, step = self.validation, self.learner.step
        if looking is None:
            return

        def along(_: int, __: int) -> None:
            if progress is not None:
                progress(self._done, self._total)

        before = len(looking.figures)
        for point in self.points:
            if not looking.knows(point.name, point.step):
                looking.add(point.name, point.step, saved_tensors(self.out / point.file), along)
        if step in looking.due and not looking.knows(None, step):
            looking.add(None, step, self.learner.tensors(), along)
        if len(looking.figures) > before:
            self.record().write(self.out)

    def _save(self, points: Sequence[Point]) -> None:
        for point in points:
            path = self.out / f"{point.name}.safetensors"
            if not all(bool(torch.isfinite(one).all()) for one in point.tensors.values() if one.is_floating_point()):
                raise diverged(f"{point.name} would hold what is no number", self.learner.step)
            save_tensors(path, point.tensors, {**self._about(point), **point.about})
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            step = self.learner.step
            rate = self.regime.rate(step - 1, self.learner.span) if step else None
            parents = self._parents(point)
            self.points.append(SavedPoint(point.name, path.name, content, point.role, step, rate, parents))

    def _about(self, point: Point) -> Mapping[str, str]:
        """How it was made, as metadata of its file."""
        settings = self.settings
        parameters = {item.name: settings[item.name] for item in parameters_of(type(self.regime))}
        return {
            "epoch": str(self.learner.step // self.learner.span.length),
            "plan": json.dumps(self.plan.settings),
            "regime": json.dumps({"name": settings["regime"], "parameters": parameters}),
            "role": point.role,
        }

    def _parents(self, point: Point) -> tuple[Origin, ...]:
        known = {one.name: Origin(one.name, one.sha256) for one in self.points}
        if self.start is not None:
            known[START] = Origin(START, self.start.sha256)  # its file may be called as a point of this run is
        last = (self.points[-1].name,) if self.points else (START,)
        return tuple(known[name] for name in (last if point.parents is None else point.parents) if name in known)

    def _keep(self) -> None:
        """The record, then the state: a run goes on from the state, and what it says to be saved is there."""
        self.record().write(self.out)
        state = {
            "settings": json.dumps(self.settings),
            "learner": self.learner.state(),
            "log": self.log,
            "losses": self._losses,
            "epoch_loss": self._epoch_loss,
            "points": [asdict(one) for one in self.points],
            "finished": self.finished,
            "validation": self.validation and self.validation.source.fingerprint,
            "figures": [asdict(one) for one in self.validation.figures] if self.validation else [],
        }
        content = io.BytesIO()  # into a file, torch.save meets a full disk with an error that does not say so
        torch.save(state, content)
        write_atomically(self.out / STATE, content.getbuffer())


def _source(data: Dataset) -> Source:
    return Source(data.spec, len(data), data.fingerprint())


def _restored(content: Mapping[str, Any]) -> SavedPoint:
    return SavedPoint(**{**content, "parents": tuple(Origin(**one) for one in content["parents"])})
