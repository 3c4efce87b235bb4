"""Training runs of the app: each a process of its own in a folder of its own, watched, stopped and gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fusionlib.atomic import make_folder, reason, tidy, write_atomically
from fusionlib.data.plain_json import read_json
from fusionlib.engine.jobs import Job
from fusionlib.errors import Cancelled, FusionError, UsageError, WriteError, clipped, shown
from fusionlib.lab.folder import is_held
from fusionlib.lab.manifest import FILE, STATE, RunRecord, read_run
from fusionlib.lab.plan import VALIDATED
from fusionlib.runs.desk import Plan, RunDesk
from fusionlib.runs.keys import key_of

WISH, LOG = "wish.json", "train.log"
PARENT = "FUSIONLIB_PARENT"
"""Environment of the process that trains: who started it. It ends, its state kept, where that is gone."""

PROGRAM: tuple[str, ...] = (sys.executable, "-m", "fusionlib")
"""What trains."""

LOOK_S = 0.3
"""How often a run is looked at."""

PATIENCE_S = 30.0
"""How long a run that was asked to stop may take to keep its state."""

LARGEST_WISH = 1 << 20
MOST_LINES = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Wish:
    """What to train: a regime with its settings, where it begins (the path of a checkpoint, or an architecture), specs
    of labelled pictures, of unlabelled ones, of those to choose by and of those to validate on, and what every regime
    goes by.
    """

    regime: str
    data: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    architecture: str | None = None
    target: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    epochs: int = 3
    batch: int = 8
    crop: tuple[int, int] | None = None
    seed: int = 0
    class_weights: bool = True
    validate: tuple[str, ...] = ()
    validate_count: int = VALIDATED

    def arguments(self, out: Path, options: Sequence[str] = (), *, resume: bool = False) -> tuple[str, ...]:
        """The command line that trains it; `options` are those of the process for its networks."""
        settings = [f"{name}={_setting(value)}" for name, value in self.settings.items()]
        return (
            "train",
            *("--regime", self.regime),
            *(("--set", *settings) if settings else ()),
            *(part for spec in self.data for part in ("--data", spec)),
            *(part for spec in self.target for part in ("--target", spec)),
            *(part for spec in self.select for part in ("--select", spec)),
            *(part for spec in self.validate for part in ("--validate", spec)),
            *(("--validate-count", str(self.validate_count)) if self.validate else ()),
            *(("--start", self.start) if self.start else ()),
            *(("--arch", self.architecture) if self.architecture else ()),
            *("--epochs", str(self.epochs), "--batch", str(self.batch), "--seed", str(self.seed)),
            *(("--crop", f"{self.crop[0]}x{self.crop[1]}") if self.crop else ()),
            *(() if self.class_weights else ("--plain-loss",)),
            *options,
            *("--out", str(out)),
            *(("--resume",) if resume else ()),
        )


class TrainingRun(Job):
    """One run in its folder. Progress is in steps."""

    def __init__(self, folder: Path, wish: Wish, desk: RunDesk, options: Sequence[str] = ()) -> None:
        super().__init__(f"training {folder.name}")
        self.folder, self.wish, self.options = folder, wish, tuple(options)
        self.ended: list[Any] = []
        """Called without arguments whenever the run has come to an end."""
        plan = Plan("train", wish.arguments(folder, options, resume=True), os.getcwd())
        self.lease = lambda progress: desk.held(key_of("train", str(folder)), plan, progress)
        self._seen: tuple[int, RunRecord | None, FusionError | None] = (0, None, None)
        self.notice()

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.folder.name

    @property
    def record(self) -> RunRecord | None:
        """What it has left so far; None before it began, and of a file that is none."""
        return self._look()[1]

    @property
    def problem(self) -> FusionError | None:
        """Why its record cannot be read, where there is one: to go on writes it anew."""
        return self._look()[2]

    @property
    def begun(self) -> bool:
        """Whether it has left anything to go on from."""
        return any((self.folder / name).exists() for name in (FILE, STATE))

    @property
    def elsewhere(self) -> bool:
        """Whether another process trains in its folder."""
        return self.state != "running" and is_held(self.folder)

    def notice(self) -> None:
        """Take over what the folder says by now: another process may have begun, or ended, what this one has not."""
        with self._lock:
            found = self.record
            if self.state != "running" and found is not None and found.finished:
                self.state = "done"
            elif self.state in ("idle", "cancelled"):
                self.state = "cancelled" if self.begun else "idle"

    def _look(self) -> tuple[int, RunRecord | None, FusionError | None]:
        try:
            changed = (self.folder / FILE).stat().st_mtime_ns
        except OSError:
            return 0, None, None
        if changed != self._seen[0]:
            try:
                self._seen = changed, read_run(self.folder), None
            except FusionError as problem:
                self._seen = changed, None, problem
        return self._seen

    def want(self) -> None:
        """Begin, or go on, in the background."""
        self.start(lambda _: self._supervise())

    def _supervise(self) -> None:
        """Start the process and watch it to its end. Raises `UsageError` with its own words where it fails."""
        resume = self.begun
        self.stage = "starting its process"
        arguments = self.wish.arguments(self.folder, self.options, resume=resume)
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**child_environment(), PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl+C in the terminal of the app is for the app, which stops its runs itself
        )
        told: deque[str] = deque(maxlen=MOST_LINES)
        reader = threading.Thread(target=_drain, args=(process, told), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                if self.record is not None:
                    self.stage = ""
                    self.progress(self.record.done, self.record.steps)
                else:
                    self.progress(0, 0)
                time.sleep(LOOK_S)
        except Cancelled:
            _stop(process)
            raise
        finally:
            reader.join(2.0)
            for call in self.ended:
                call()
        if process.returncode:
            words = next((line for line in reversed(told) if line.strip()), f"status {process.returncode}")
            raise UsageError(clipped(words, 500), "a run that goes through", "Correct what it names, then resume")


class TrainingDesk:
    """The runs of a home folder. A run's name is that of its folder; only folders there are looked at."""

    def __init__(self, folder: Path, desk: RunDesk, options: Sequence[str] = ()) -> None:
        self.folder, self.options = folder, tuple(options)
        self._desk, self._runs, self._lock = desk, dict[str, TrainingRun](), threading.Lock()

    def runs(self) -> list[TrainingRun]:
        """All runs, the newest first."""
        try:
            folders = [one for one in self.folder.iterdir() if (one / WISH).is_file() and not one.is_symlink()]
        except OSError:
            return []
        folders.sort(key=lambda one: (one / WISH).stat().st_mtime_ns, reverse=True)
        return [run for one in folders if (run := self._found(one)) is not None]

    def get(self, name: str) -> TrainingRun:
        """The run called `name`. Raises `UsageError` listing the names."""
        runs = {run.name: run for run in self.runs()}
        if name not in runs:
            raise UsageError(f"No run {shown(name)}", f"one of {', '.join(runs) or 'none'}", "Choose another")
        return runs[name]

    def free_name(self, stem: str) -> str:
        """`stem`, or the first of `stem-2`, `stem-3`, ... that is not taken."""
        taken, name, number = {run.name for run in self.runs()}, stem, 1
        while name in taken or (self.folder / name).exists():
            number += 1
            name = f"{stem}-{number}"
        return name

    def new(self, name: str, wish: Wish) -> TrainingRun:
        """A run that has not begun. Raises `UsageError` for a name that is taken or no name, `WriteError`."""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"Run {shown(name)}",
                "a name of letters, digits, dots, dashes and underscores, up to 40",
                "Choose another name",
            )
        folder = self.folder / name
        taken = UsageError(f"Run {shown(name)} is there already", "a name of its own", "Choose another name")
        if folder.exists():
            raise taken
        make_folder(self.folder)
        try:
            folder.mkdir()
        except FileExistsError:  # another session was faster
            raise taken from None
        except OSError as problem:
            raise WriteError(
                f"The folder of run {shown(name)} cannot be made: {reason(problem)}",
                "a home folder that can be written to",
                "Make room, correct the rights, or start the app with another --home",
            ) from problem
        write_atomically(folder / WISH, json.dumps(asdict(wish)))
        run = self._found(folder)
        assert run is not None
        return run

    def stop(self) -> None:
        """Ask all that run to stop: the app ends."""
        for run in self._runs.values():
            run.cancel()

    def _found(self, folder: Path) -> TrainingRun | None:
        with self._lock:
            if folder.name not in self._runs:
                wish = _read_wish(folder / WISH)
                if wish is None:
                    return None
                tidy(folder)
                self._runs[folder.name] = TrainingRun(folder, wish, self._desk, self.options)
            self._runs[folder.name].notice()
            return self._runs[folder.name]


def _read_wish(path: Path) -> Wish | None:
    """What a folder says that it trains; None of what is no wish. Only what a wish names gets onto a command line."""
    try:
        content = read_json(path, LARGEST_WISH, "the wish of a run")
        crop = content["crop"]
        return Wish(
            regime=_text(content["regime"]),
            data=tuple(map(_text, content["data"])),
            settings={_text(name): value for name, value in content["settings"].items()},
            start=None if content["start"] is None else _text(content["start"]),
            architecture=None if content["architecture"] is None else _text(content["architecture"]),
            target=tuple(map(_text, content["target"])),
            select=tuple(map(_text, content.get("select", ()))),
            epochs=int(content["epochs"]),
            batch=int(content["batch"]),
            crop=None if crop is None else (int(crop[0]), int(crop[1])),
            seed=int(content["seed"]),
            class_weights=bool(content["class_weights"]),
            validate=tuple(map(_text, content.get("validate", ()))),
            validate_count=int(content.get("validate_count", VALIDATED)),
        )
    except (FusionError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        return None


def _text(value: Any) -> str:
    """A value of a command line: what begins with a dash would be an option."""
    if not isinstance(value, str) or value.startswith("-"):
        raise TypeError("no text")
    return value


def _setting(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def child_environment() -> dict[str, str]:
    """The environment of a process that finds this library from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


def _drain(process: subprocess.Popen[bytes], told: deque[str]) -> None:
    assert process.stderr is not None
    for line in iter(process.stderr.readline, b""):
        told.append(line.rsplit(b"\r", 1)[-1].decode("utf-8", "replace").rstrip())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl+C does, which keeps the state; without mercy where that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
