"""`run.json`: what a run is, where its rate goes, what it has left and of what that was made. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fusionlib.atomic import write_atomically
from fusionlib.contracts import Regime, Span
from fusionlib.data.plain_json import read_json
from fusionlib.errors import DataError

FILE = "run.json"
STATE = "progress.state"
"""What a run is resumed from; not named like a checkpoint, so that none takes it for one."""

LARGEST_BYTES = 32 << 20
MOST_VALUES = 5000
"""Of a series over the steps: of a longer run every n-th step is kept."""

_NEEDS = f"the {FILE} that a training run wrote"


@dataclass(frozen=True)
class Origin:
    """A checkpoint that others were made of: its name, and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class SavedPoint:
    """A file of a run, saved when `step` steps were done, the last at this learning rate (None: there was none).

    `parents` are what it was made of: points of the run, or its start.
    """

    name: str
    file: str
    sha256: str
    role: str
    step: int
    lr: float | None
    parents: tuple[Origin, ...]


@dataclass(frozen=True)
class Validated:
    """mIoU, a fraction, of a file of the run; without a `name` of the network in training, after that step.

    None: no pixel is labelled, or the file was gone when its turn came.
    """

    step: int
    name: str | None
    miou: float | None


@dataclass(frozen=True)
class Series:
    """Values at steps 0, `stride`, 2 `stride`, ..."""

    stride: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """Pictures of a run: how they are named, how many they are, and their content key."""

    spec: str
    pictures: int
    fingerprint: str


@dataclass(frozen=True)
class RunRecord:
    """One run: `regime` with its `parameters`, the `plan`, the `command` line; learning rates of all `steps` planned,
    losses (nats) of those `done`, and every file that it has left, in order.

    `epochs` has for each that is done its number, mean loss and last rate. `start` is None where it began at random,
    `select` where nothing was chosen by pictures apart. `figures` are measured on the pictures of `validation`.
    `failure` says why it can go no further.
    """

    command: tuple[str, ...]
    regime: str
    version: int
    parameters: Mapping[str, Any]
    plan: Mapping[str, Any]
    data: Source
    target: Source | None
    start: Origin | None
    length: int
    steps: int
    done: int
    finished: bool
    lr: Series
    losses: Series
    epochs: tuple[Mapping[str, Any], ...]
    points: tuple[SavedPoint, ...]
    select: Source | None = None
    validation: Source | None = None
    figures: tuple[Validated, ...] = ()
    failure: str | None = None

    @property
    def seed(self) -> int:
        """What initialisation, order of pictures, crops and dropout follow from."""
        return int(self.plan["seed"])

    def write(self, folder: Path) -> None:
        """Put it into the folder, whole or not at all. Raises `WriteError`."""
        content = {"format": 1, "seed": self.seed, **asdict(self)}
        write_atomically(folder / FILE, json.dumps(content, indent=1, allow_nan=False))


def stride_of(steps: int) -> int:
    """How far apart the values of a series lie."""
    return max(1, -(-steps // MOST_VALUES))


def rates(regime: Regime, span: Span) -> Series:
    """The learning rate of every step of a run, as far as a series goes: what a page draws before there is a run."""
    stride = stride_of(span.steps)
    return Series(stride, tuple(regime.rate(step, span) for step in range(0, span.steps, stride)))


def read_run(folder: Path) -> RunRecord:
    """The record of the run in a folder. Raises `DataError` that names the file where it is not there, or is none."""
    path = folder / FILE
    content = read_json(path, LARGEST_BYTES, _NEEDS)
    try:
        if content["format"] != 1:
            raise DataError(
                f"{path} is of format {content['format']!r:.40}", "format 1", "Use the version that wrote it"
            )
        return _record(content)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        if isinstance(problem, DataError):
            raise
        reason = f"{type(problem).__name__}: {str(problem)[:100]}"
        raise DataError(f"{path} is no record of a run ({reason})", _NEEDS, "Replace it") from problem


def _record(content: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        command=tuple(_text(word) for word in content["command"]),
        regime=_text(content["regime"]),
        version=int(content["version"]),
        parameters=dict(content["parameters"]),
        plan={"seed": int(content["seed"]), **content["plan"]},
        data=_source(content["data"]),
        target=None if content["target"] is None else _source(content["target"]),
        start=None if content["start"] is None else _origin(content["start"]),
        length=int(content["length"]),
        steps=int(content["steps"]),
        done=int(content["done"]),
        finished=content["finished"] is True,
        lr=_series(content["lr"]),
        losses=_series(content["losses"]),
        epochs=tuple(
            {"epoch": int(one["epoch"]), "loss": float(one["loss"]), "lr": float(one["lr"])}
            for one in content["epochs"]
        ),
        points=tuple(_point(one) for one in content["points"]),
        select=None if content.get("select") is None else _source(content["select"]),
        validation=None if content.get("validation") is None else _source(content["validation"]),
        failure=None if content.get("failure") is None else _text(content["failure"]),
        figures=tuple(_validated(one) for one in content.get("figures", ())),
    )


def _point(content: Mapping[str, Any]) -> SavedPoint:
    return SavedPoint(
        name=_text(content["name"]),
        file=_file(content["file"]),
        sha256=_text(content["sha256"]),
        role=_text(content["role"]),
        step=int(content["step"]),
        lr=None if content["lr"] is None else float(content["lr"]),
        parents=tuple(_origin(one) for one in content["parents"]),
    )


def _validated(content: Mapping[str, Any]) -> Validated:
    name, miou = content["name"], content["miou"]
    return Validated(int(content["step"]), None if name is None else _text(name), None if miou is None else float(miou))


def _origin(content: Mapping[str, Any]) -> Origin:
    return Origin(_text(content["name"]), _text(content["sha256"]))


def _source(content: Mapping[str, Any]) -> Source:
    return Source(_text(content["spec"]), int(content["pictures"]), _text(content["fingerprint"]))


def _series(content: Mapping[str, Any]) -> Series:
    return Series(max(1, int(content["stride"])), tuple(float(value) for value in content["values"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def _file(value: Any) -> str:
    """The name of a file in the folder itself: a record may come from anybody, and leads nowhere else."""
    name = _text(value)
    if name != Path(name).name:
        raise ValueError(f"{name[:60]!r} is no name of a file in the folder")
    return name
