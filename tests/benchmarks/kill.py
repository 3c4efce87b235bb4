"""kill -9 at random moments of exports, uploads, sweeps, runs and trainings: what is damaged, lost, left lying or done
twice. `python tests/benchmarks/kill.py`.

Every kill has a process of its own, forked from one that has loaded everything, which does one of the first three over
and over on an empty home folder and says what it has finished. Then the folder is looked through, a process started on
it as the app or a verb would be, and looked through again. A run is the verb `sweep`, which says each forward pass that
it has made; once it was killed, `runs resume` goes on with it, and no pass may be made twice but the one that the kill
met. A training is the verb `train`, killed again and again until it is through: its files and its record must be those
of an undisturbed one, to the byte. Ends with status 1 where anything was damaged, lost, done twice or not cleared away.
`--kills N --seed S` to repeat a run, `--only KIND` for one kind of work.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from helpers import folder_data, tiny_file, tiny_registered  # noqa: E402
from safetensors.torch import save  # noqa: E402

from fusionlib.checkpoints.writer import save_tensors  # noqa: E402
from fusionlib.cli import main as main_of_verbs  # noqa: E402
from fusionlib.data.spec import open_dataset  # noqa: E402
from fusionlib.engine.build import Member  # noqa: E402
from fusionlib.lab import loop  # noqa: E402
from fusionlib.lab.learner import Learner  # noqa: E402
from fusionlib.lab.manifest import FILE as RUN_FILE  # noqa: E402
from fusionlib.runs.answers import Answers  # noqa: E402
from fusionlib.runs.desk import RunDesk  # noqa: E402
from fusionlib.runs.uploads import UploadFolder  # noqa: E402
from fusionlib.studio import Options, Selection, Studio  # noqa: E402
from fusionlib.studio.training import WISH, Wish  # noqa: E402

SPAN_S = 0.4
"""A process lives for up to this long after it has begun."""

PASS_S, RUN_PASSES = 0.008, 22
"""What a forward pass of a run takes beside itself, and how many it has: eleven networks on two pictures."""

RUN = "a"
"""The name of a training in the Lab."""

TRAINING = (
    "train --regime csgld --arch tiny --set snapshots=2 samples=2 beta=0.3 lr=0.02 --epochs 12 --batch 1 --crop 8x8"
)
"""Noise, momentum, dropout, and files within epochs."""

STEP_S, TRAIN_S, KEEP_S, MOST_LIVES, MOST_S = 0.1, 1.5, 0.3, 100, 60.0
"""What a step of it takes beside itself, how long a process lives at most, how often its state is kept, how many
processes in turn are killed at most, and how long one waits for that when it is through.
"""

TURNS = 4
"""Of each other kind of work before a training, which is killed several times."""

WORKING = 0.8
"""Share of the kills that wait for a first step; others meet the start of the process too."""

ALPHAS = (0.25, 0.5, 0.75)
LARGE = 1 << 20
"""Elements of the checkpoints that are exported and uploaded: enough for a kill to meet them half written."""

Say = Callable[[str], Any]


def export(studio: Studio, _: random.Random, say: Say) -> None:
    """Exports of one pair at a few alphas in turn, each in place of the last."""
    view = studio.view(Selection("large1", "large2", "", None, "average"))
    for alpha in itertools.cycle(ALPHAS):
        say(studio.export(view, alpha).path.name)


def upload(studio: Studio, chance: random.Random, say: Say) -> None:
    """Uploads of ever new files."""
    while True:
        number = chance.randrange(1 << 30)
        content = save({"weight": torch.full((LARGE,), float(number))})
        studio.workspace.add_upload(f"upload {number}.safetensors", content)
        say(f"{digest(content)}.safetensors upload {number}")


def sweep(studio: Studio, chance: random.Random, say: Say) -> None:
    """Points of a curve at ever new alphas. What is said is what the store has taken, as soon as it has."""
    put = studio.store.put

    def put_and_say(key: str, value: Any) -> None:
        put(key, value)
        say(f"{key} {digest(json.dumps(value).encode())}")

    studio.store.put = put_and_say
    curve = studio.sweep(studio.view(Selection("a", "b", studio.workspace.sources[0].name, None, "average")))
    while True:
        curve.want_point(round(chance.random(), 6))
        curve.wait()


def check_exports(home: Path, said: list[str], whole: dict[str, str]) -> Iterator[str]:
    """Files that are not what an undisturbed export writes, and finished ones that are not there."""
    found = {path.name: digest(path) for path in visible(home / "exports")}
    yield from ("damaged" for name, content in found.items() if content != whole[name])
    yield from ("lost" for name in set(said) - set(found))


def check_uploads(home: Path, said: list[str], _: dict[str, str]) -> Iterator[str]:
    """Files that are not what their name says, and finished ones that are not there under the name that they were
    given.
    """
    uploads = UploadFolder(home / "uploads", 1 << 30)
    yield from ("damaged" for path in uploads.checkpoints() if digest(path) != path.stem)
    known = {path.name: uploads.shown_name(path) for path in uploads.checkpoints()}
    yield from ("lost" for name, shown in (line.split(" ", 1) for line in said) if known.get(name) != shown)


def check_sweep(home: Path, said: list[str], _: dict[str, str]) -> Iterator[str]:
    """Whether the store is whole, and finished evaluations that it has not as they were; read by nothing of ours."""
    if not said:
        return
    with closing(sqlite3.connect(home / "results.sqlite")) as db:
        yield from ("damaged" for row in db.execute("PRAGMA integrity_check") if row != ("ok",))
        known = {key: digest(value.encode()) for key, value in db.execute("SELECT key, value FROM results")}
    results = [line.split(" ", 1) for line in said]
    times = Counter(
        key for key, _ in results
    )  # the list of alphas is stored anew with each, perhaps once more than was said
    yield from ("lost" for key, value in results if key not in known or (times[key] == 1 and known[key] != value))


def run(studio: Studio, chance: random.Random, say: Say) -> None:
    """The verb `sweep` on the home folder of the studio."""
    place, data = studio.options.checkpoints[0], studio.options.data[0]
    files = [str(place / f"{name}.pth") for name in "ab"]
    verb(["sweep", *files, "--data", data, "--step", "0.1", "--home", str(studio.options.home)], say)
    time.sleep(SPAN_S)  # until it is killed


def verb(arguments: list[str], say: Say) -> None:
    """A command line; said is each picture that a network has been shown."""
    real = Member.logits

    def logits(self: Member, images: Any, size: Any = None) -> Any:
        time.sleep(PASS_S)
        found = real(self, images, size)
        say(f"{self.key} {digest(images.tobytes())}")
        return found

    Member.logits = logits  # type: ignore[method-assign]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main_of_verbs(arguments)


def resumed(home: Path, run: str) -> list[str]:
    """What is said where somebody goes on with a run."""
    out, end = os.pipe()

    def work() -> None:
        verb(["runs", "resume", run, "--home", str(home)], lambda line: os.write(end, f"{line}\n".encode()))
        os._exit(0)

    pid = in_a_fork(work)
    os.close(end)
    with os.fdopen(out) as lines:
        said = lines.read().splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return said


def check_run(home: Path, said: list[str], _: dict[str, str]) -> Iterator[str]:
    """Pictures that are shown to a network once more when the run is gone on with."""
    found = RunDesk(Answers(home / "results.sqlite").database).listed()
    if not found or found[0]["state"] == "done":
        return
    again = resumed(home, found[0]["id"]) if found[0]["state"] == "stale" else []
    twice = len(set(said) & set(again)) - 1  # one that was seen, and not kept yet, when the kill came
    yield from ["done twice"] * max(0, twice)
    yield from ["lost"] * (RUN_PASSES - len({*said, *again}))


def train(studio: Studio, _: random.Random, say: Say) -> None:
    """The verb `train` in the home folder of the studio, gone on with where it was broken off."""
    home, data = studio.options.home, studio.options.data[0]
    out, real = home / "lab" / RUN, Learner.update
    if not (out / WISH).exists():
        shutil.rmtree(out, ignore_errors=True)
        studio.training.new(RUN, Wish("csgld", (data,)))
    again = ["--resume"] if (out / RUN_FILE).exists() else []
    loop.KEEP_EVERY_S = KEEP_S

    def update(self: Learner, loss: torch.Tensor, head: int = 0) -> torch.Tensor:
        time.sleep(STEP_S)
        found = real(self, loss, head)
        say(str(self.step))
        return found

    Learner.update = update  # type: ignore[method-assign]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main_of_verbs([*TRAINING.split(), "--data", data, "--validate", data, "--out", str(out), *again])
    say("through")
    time.sleep(MOST_S)  # until it is killed


def trained(home: Path) -> dict[str, str]:
    """Digests of what a training has left, its command aside; empty where it is not through."""
    folder = home / "lab" / RUN
    record = json.loads((folder / RUN_FILE).read_text()) if (folder / RUN_FILE).exists() else {"finished": False}
    if not record["finished"]:
        return {}
    found = {f"training/{path.name}": digest(path) for path in folder.glob("*.safetensors")}
    return found | {f"training/{RUN_FILE}": digest(json.dumps({**record, "command": []}).encode())}


def check_training(home: Path, _: list[str], whole: dict[str, str]) -> Iterator[str]:
    """Kill it until it is through; files and record that are others than those of an undisturbed one, or not there."""
    folder, chance, lives = home / "lab" / RUN, random.Random(home.name), 0
    while not trained(home) and lives < MOST_LIVES:
        for path in folder.glob("*.safetensors"):
            yield from ["damaged"] * (digest(path) != whole[f"training/{path.name}"])
        lives += 1
        killed(home.parent, home, "train", chance, TRAIN_S, working=chance.random() < WORKING)
    yield from ["killed again"] * lives
    found = trained(home)
    yield from ("lost" for name in whole if name.startswith("training/") and name not in found)
    yield from ("damaged" for name, content in found.items() if content != whole[name])


WORK = {
    "export": (export, check_exports),
    "upload": (upload, check_uploads),
    "sweep": (sweep, check_sweep),
    "run": (run, check_run),
    "train": (train, check_training),
}


def digest(content: Path | bytes) -> str:
    """SHA-256 of a file or of bytes."""
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()


def visible(folder: Path) -> list[Path]:
    """Files that are no temporaries."""
    return [path for path in folder.glob("*") if not path.name.startswith(".")] if folder.is_dir() else []


def left_lying(home: Path) -> int:
    """Temporaries of any writer."""
    return sum(path.suffix in (".tmp", ".part", ".new") for path in home.rglob("*"))


def in_a_fork(work: Callable[[], None]) -> int:
    """Start `work` in a process of its own; its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


def options(place: Path, home: Path) -> Options:
    """A workspace of two small checkpoints with data and two large ones."""
    return Options(
        checkpoints=(place / "files",), data=(f"folder:{place / 'town'}",), demo=False, home=home, device="cpu"
    )


def killed(
    place: Path, home: Path, kind: str, chance: random.Random, span: float = SPAN_S, *, working: bool = False
) -> list[str]:
    """Let a process work on `home` for a random time and kill it; what it had said by then. The time begins when it
    does, or with what it says first where it is `working`.
    """
    out, end = os.pipe()

    def work() -> None:
        studio, seeded = Studio(options(place, home)), random.Random(chance.random())
        os.write(end, b"begun\n")
        WORK[kind][0](studio, seeded, lambda line: os.write(end, f"{line}\n".encode()))

    pid = in_a_fork(work)
    os.close(end)
    with os.fdopen(out) as lines:
        assert lines.readline() == "begun\n"
        first = lines.readline() if working else ""
        time.sleep(chance.random() * span)
        os.kill(pid, signal.SIGKILL)
        said = (first + lines.read()).splitlines(keepends=True)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    return [line[:-1] for line in said if line.endswith("\n")]


def started(place: Path, home: Path) -> None:
    """The next start, and its end."""

    def start() -> None:
        studio = Studio(options(place, home))
        studio.store.get("anything")
        studio.training.runs()
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(in_a_fork(start), 0)[1]) == 0


def prepared(place: Path) -> dict[str, str]:
    """Write what is worked on; the digests of undisturbed exports, and of what such a training leaves, by name."""
    for number in (1, 2):
        tiny_file(place / "files", "ab"[number - 1], number)
        save_tensors(place / "files" / f"large{number}.safetensors", {"weight": torch.full((LARGE,), float(number))})
    folder_data(place / "town", 2)

    names: list[str] = []

    def once(name: str) -> None:
        names.append(name)
        if len(names) == len(ALPHAS):
            os._exit(0)

    pid = in_a_fork(lambda: export(Studio(options(place, place / "whole")), random.Random(), once))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    exports = {path.name: digest(path) for path in visible(place / "whole" / "exports")}

    def train_once() -> None:
        def say(line: str) -> None:
            if line == "through":
                os._exit(0)

        train(Studio(options(place, place / "whole")), random.Random(), say)

    assert os.waitstatus_to_exitcode(os.waitpid(in_a_fork(train_once), 0)[1]) == 0
    return exports | trained(place / "whole")


def main() -> int:
    """Kill in turn; a line of counts for each kind of work. 1 where there is anything to blame."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(WORK), help="this kind of work alone")
    given = parser.parse_args()
    kinds = [given.only] if given.only else [*(kind for kind in WORK if kind != "train")] * TURNS + ["train"]
    chance, counts = random.Random(given.seed), {kind: Counter() for kind in dict.fromkeys(kinds)}
    torch.set_num_threads(1)  # threads do not survive a fork
    with tempfile.TemporaryDirectory() as folder, tiny_registered():
        place = Path(folder)
        whole = prepared(place)
        open_dataset(f"folder:{place / 'town'}")
        for number in range(given.kills):
            kind, home = kinds[number % len(kinds)], place / f"home {number}"
            said = killed(place, home, kind, chance)
            counts[kind].update(WORK[kind][1](home, said, whole))
            counts[kind].update({"kills": 1, "finished": len(said), "half written": left_lying(home)})
            started(place, home)
            counts[kind].update(["damaged later"] * sum(1 for _ in WORK[kind][1](home, said, whole)))
            counts[kind]["not cleared away"] += left_lying(home)
            shutil.rmtree(home)
    again = sum(found["killed again"] for found in counts.values())
    blame = ("damaged", "lost", "done twice", "damaged later", "not cleared away")
    for kind, found in counts.items():
        print(
            f"{kind:8}" + ", ".join(f"{found[name]} {name}" for name in ("kills", "finished", "half written", *blame))
        )
    print(f"trainings were killed {again} times more before they were through")
    return int(any(found[name] for found in counts.values() for name in blame))


if __name__ == "__main__":
    sys.exit(main())
