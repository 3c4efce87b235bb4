"""Passes by the workers of a Ray cluster: the same states as here, to the last bit, whatever happens to a worker."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, counted_forwards, folder_data, saved, worker
from model_files import NET
from PIL import Image

from fusionlib.architectures.user import register_user_model
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, MEASURES
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.engine.build import Builder
from fusionlib.engine.merge import Merger
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import ArchitectureError, Cancelled, UsageError
from fusionlib.question import Question
from fusionlib.runs import ray_cluster
from fusionlib.runs.answers import Answers
from fusionlib.runs.ray_cluster import need_ray, ray
from fusionlib.runs.ray_executor import RayPasses, _weights
from fusionlib.runs.ray_worker import Failed, PassWorker
from fusionlib.runs.runner import Runner
from fusionlib.runs.statistics import StatisticsStore
from fusionlib.studio.export import write_recipe

PICTURES = 12
TABLES = {
    "states": "subject, measure, version, picture, state, tiles",
    "answers": "subject, measure, version, data, images, tiled, figures",
    "builds": "memo, build, notes, forwards, passes",
}

CODE = f"""import time
{NET}
class Net(Net):
    def forward(self, x):
        if x.shape[-1] == 40:
            raise ValueError("too narrow")
        time.sleep(.02)
        return self.logits(x)

def make(classes):
    return Net(classes)
"""


@dataclass
class Bench:
    """Three checkpoints of a model file and a folder of pictures; homes that runners come and go in."""

    place: Path
    files: list[Checkpoint]
    model: str

    def pictures(self, name: str = "town", **options: Any) -> DecodedCache:
        return DecodedCache(open_dataset(f"folder:{self.place / name}", None), 1 << 26, **options)

    def runner(self, home: Path, passes: RayPasses | None = None) -> Runner:
        merger = Merger(worker(), CPU, None, StatisticsStore(home / "statistics"))
        merger.sources.know(self.files, self.pictures())
        return Runner(Builder(merger), Answers(home / "results.sqlite"), passes)

    def questions(self, *measures: str, data: DecodedCache | None = None) -> list[Question]:
        """Every kind of network by these measures: a checkpoint, a merge, one that looks at pictures, an ensemble."""
        a, *_ = map(recipe_alone, self.files)
        made = [
            write_recipe(self.files[:count], method, parameters, buffers, self.pictures(), 3)
            for method, parameters, buffers, count in (
                ("linear", {"alpha": 0.5}, "average", 2),
                ("isotropic", {}, "recalibrate", 3),
                ("ensemble", {}, "average", 2),
            )
        ]
        key = (data or self.pictures()).fingerprint()
        return [Question((recipe,), key, name) for recipe in (a, *made) for name in measures]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("ray")
    (place / "mine.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        ARCHITECTURES.names()
        patch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
        network = ARCHITECTURES.get(register_user_model(f"{place}/mine.py:make"))
        files = []
        for seed, name in enumerate("abc"):
            torch.manual_seed(seed)
            files.append(saved(place / f"{name}.safetensors", network.build(3).state_dict()))
        folder_data(place / "town", PICTURES)
        yield Bench(place, files, f"{place}/mine.py:make")


@pytest.fixture(scope="module")
def passes(bench: Bench) -> Iterator[RayPasses]:
    """Two workers, for all tests of the module: a cluster takes ten seconds to start."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install -e '.[ray]'")
    opened = RayPasses(CPU, models=(bench.model,), workers=2)
    starting = Thread(target=opened.about)  # the cluster is there for others when a piece of work has ended
    starting.start()
    starting.join()
    yield opened
    opened.close()


def rows(home: Path, table: str) -> list[tuple]:
    with sqlite3.connect(home / "results.sqlite") as file:
        return sorted(file.execute(f"SELECT {TABLES[table]} FROM {table}").fetchall())


def same_tables(one: Path, other: Path) -> None:
    for table in TABLES:
        assert rows(one, table) and rows(one, table) == rows(other, table), table


def figures(runner: Runner, questions: list[Question], pictures: DecodedCache, progress: Any = None) -> list[Any]:
    told = runner.ask(questions, pictures, progress)
    return [(one.question.measure, dict(one.figures), one.images, one.tiled, one.builds) for one in told]


# --- the same figures -------------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_every_measure_of_every_kind_of_network_has_equal_states(bench: Bench, passes: RayPasses, tmp_path: Path):
    ones = [name for name, one in MEASURES.items() if one.networks == "one" and one.grain == "picture"]
    assert {"confusion", "loss", "labels"} <= set(ones)
    several = [name for name, one in MEASURES.items() if one.networks != "one" and one.grain == "picture"]
    pair = tuple(map(recipe_alone, bench.files[:2]))
    questions = bench.questions(*ones) + [Question(pair, bench.pictures().fingerprint(), name) for name in several]
    here, there = bench.runner(tmp_path / "here"), bench.runner(tmp_path / "there", passes)
    with pytest.MonkeyPatch.context() as patch:
        looked = counted_forwards(patch)
        found = figures(there, questions, bench.pictures())
        assert not looked, "this process builds networks and sums, and looks at nothing"
        assert found == figures(here, questions, bench.pictures())
        assert sum(looked) == here.tally.run - 3  # recalibration, which no measured network is asked for
    same_tables(tmp_path / "here", tmp_path / "there")
    assert there.tally.run == here.tally.run and len(rows(tmp_path / "there", "states")) % PICTURES == 0
    threads = {(count, versions) for _, count, _, versions in passes.about()}
    assert len(threads) == 1 and threads.pop()[0] == torch.get_num_threads()


@pytest.mark.ray
def test_what_is_no_sum_over_pictures_is_measured_here(bench: Bench, passes: RayPasses, tmp_path: Path, monkeypatch):
    looked = counted_forwards(monkeypatch)
    questions = bench.questions("calibration_fine")[:1]
    found = figures(bench.runner(tmp_path / "there", passes), questions, bench.pictures())
    assert sum(looked) == PICTURES
    assert found == figures(bench.runner(tmp_path / "here"), questions, bench.pictures())
    same_tables(tmp_path / "here", tmp_path / "there")


@pytest.mark.ray
def test_large_pictures_are_measured_in_the_same_tiles(bench: Bench, passes: RayPasses, tmp_path: Path):
    folder = folder_data(bench.place / "large", 2)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (1500, 1400, 3), np.uint8)).save(folder / "images" / "p1.png")
    Image.fromarray(rng.integers(0, 3, (1500, 1400), np.uint8)).save(folder / "masks" / "p1.png")
    pictures = bench.pictures("large", tiles=True)
    questions = bench.questions("confusion", "labels", data=pictures)[:2]
    found = figures(bench.runner(tmp_path / "there", passes), questions, pictures)
    assert found == figures(bench.runner(tmp_path / "here"), questions, pictures) and found[0][3] == 1
    same_tables(tmp_path / "here", tmp_path / "there")


@pytest.mark.ray
def test_the_command_line_gives_the_same_curve(bench: Bench, passes: RayPasses, tmp_path: Path, capsys):
    def curve(*more: str) -> dict[str, Any]:
        place = bench.place
        files = [str(place / f"{name}.safetensors") for name in "ab"]
        options = ["--data", f"folder:{place / 'town'}", "--step", "0.5", "--model", bench.model, "--json"]
        main(["sweep", *files, *options, *more])
        found = json.loads(capsys.readouterr().out)
        return {name: value for name, value in found.items() if name != "seconds"}

    passes.about()  # the cluster is there; workers of another piece of work come and go in it
    there = curve("--home", str(tmp_path / "there"), "--engine", "ray", "--workers", "1")
    assert there == curve("--home", str(tmp_path / "here")) and there["forward_passes"] == 3 * PICTURES
    same_tables(tmp_path / "here", tmp_path / "there")


# --- what may happen on the way ---------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_worker_that_is_killed_costs_its_task_alone(bench: Bench, passes: RayPasses, tmp_path: Path):
    questions, killed = bench.questions("confusion"), []
    (first, *_), (second, *_) = passes.about()

    def progress(done: int, total: int) -> None:
        if done and not killed:
            killed.append(done)
            os.kill(first, signal.SIGKILL)

    runner = bench.runner(tmp_path / "there", passes)
    found = figures(runner, questions, bench.pictures(), progress)
    assert killed and killed[0] < 5 * PICTURES
    after = [pid for pid, *_ in passes.about()]
    assert second in after and first not in after
    assert found == figures(bench.runner(tmp_path / "here"), questions, bench.pictures())
    same_tables(tmp_path / "here", tmp_path / "there")
    kept = [row for row in rows(tmp_path / "there", "states") if row[1] == "confusion"]
    assert len(kept) == 4 * PICTURES


@pytest.mark.ray
def test_a_worker_that_is_lost_for_good_is_said_and_others_go_on(bench: Bench, passes: RayPasses, tmp_path: Path):
    questions, lost = bench.questions("confusion")[:1], []
    passes.about()

    def progress(done: int, total: int) -> None:
        if done and not lost:
            lost.extend(passes._actors)
            ray().kill(lost[0])

    runner = bench.runner(tmp_path / "there", passes)
    with pytest.raises(UsageError, match="Ray lost a worker") as raised:
        runner.ask(questions, bench.pictures(), progress)
    assert len(raised.value.one_line) < 700 and not passes._actors
    kept = runner.tally.run
    assert kept == len([row for row in rows(tmp_path / "there", "states") if row[1] == "confusion"]) < PICTURES
    found = figures(runner, questions, bench.pictures())
    assert runner.tally.run == PICTURES and not set(lost) & set(passes._actors)
    assert found == figures(bench.runner(tmp_path / "here"), questions, bench.pictures())


@pytest.mark.ray
def test_after_a_cancel_exactly_the_rest_is_measured(bench: Bench, passes: RayPasses, tmp_path: Path):
    questions = bench.questions("confusion")[:1]
    runner = bench.runner(tmp_path / "there", passes)

    def progress(done: int, total: int) -> None:
        if done >= 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        runner.ask(questions, bench.pictures(), progress)
    states = rows(tmp_path / "there", "states")
    kept = len([row for row in states if row[1] == "confusion"])
    assert 3 <= kept < PICTURES and runner.tally.run == kept
    again = bench.runner(tmp_path / "there", passes)
    found = figures(again, questions, bench.pictures())
    assert again.tally.run == PICTURES - kept and set(states) < set(rows(tmp_path / "there", "states"))
    assert found == figures(bench.runner(tmp_path / "here"), questions, bench.pictures())
    same_tables(tmp_path / "here", tmp_path / "there")


@pytest.mark.ray
def test_a_network_that_fails_says_there_what_it_says_here(bench: Bench, passes: RayPasses, tmp_path: Path):
    folder = folder_data(bench.place / "narrow", 2)
    for part in ("images", "masks"):
        with Image.open(folder / part / "p1.png") as picture:
            picture.resize((40, 48), Image.Resampling.NEAREST).save(folder / part / "p1.png")
    pictures = bench.pictures("narrow")
    said = []
    for home, engine in (("here", None), ("there", passes)):
        with pytest.raises(ArchitectureError) as raised:
            bench.runner(tmp_path / home, engine).ask(bench.questions("confusion", data=pictures)[:1], pictures)
        said.append(raised.value.one_line)
    assert said[0] == said[1] and "mine:make cannot run on pictures of 40x48" in said[0]
    assert rows(tmp_path / "here", "states") == rows(tmp_path / "there", "states"), "the wide one is known"


@pytest.mark.ray
def test_a_model_file_that_was_changed_is_loaded_anew_by_the_workers(bench: Bench, passes: RayPasses, tmp_path: Path):
    path = Path(bench.model.rpartition(":")[0])
    question = bench.questions("confusion")[:1]
    try:
        path.write_text(CODE.replace("return self.logits(x)", "return self.logits(x).flip(1)"))
        register_user_model(bench.model)
        flipped = figures(bench.runner(tmp_path / "there", passes), question, bench.pictures())
        assert flipped == figures(bench.runner(tmp_path / "here"), question, bench.pictures())
    finally:
        path.write_text(CODE)
        register_user_model(bench.model)
    assert flipped != figures(bench.runner(tmp_path / "there", passes), question, bench.pictures())


def test_a_worker_with_other_code_is_refused(bench: Bench):
    """What a network is made of there must have the key that it has here."""
    built = bench.runner(bench.place / "home").builder.build(recipe_alone(bench.files[0]))
    sent, size = _weights(built.members[0])
    assert size == built.members[0].weights.nbytes
    with warnings.catch_warnings():
        there = PassWorker(torch.get_num_threads(), "cpu", "float32", (bench.model,))
    assert there._member(sent, {}).key == sent.key
    with pytest.raises(UsageError, match="has other code for mine:make than this process"):
        there._member(replace(sent, key="0" * 64), {})


def test_errors_travel_as_plain_values():
    told = Failed("ArchitectureError", ("got", "needs", "do")).error()
    assert isinstance(told, ArchitectureError) and told.one_line == "got. Needs: needs. do."
    other = Failed("OutOfMemoryError", ("no room",)).error()
    assert type(other) is RuntimeError and str(other) == "OutOfMemoryError: no room"


# --- how it is asked for ----------------------------------------------------------------------------------------------


def test_without_ray_one_line_says_so(bench: Bench, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "no.pth", "--data", "folder:town", "--home", str(tmp_path), "--engine", "ray"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert "--engine ray without Ray" in said and '-e ".[ray]"' in said


def test_a_folder_called_ray_is_not_taken_for_it(tmp_path: Path, monkeypatch):
    (tmp_path / "ray").mkdir()
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UsageError, match="without Ray"):
        need_ray()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--workers", "2"], "--workers with --engine here. Needs: --engine ray"),
        (["--address", "auto", "--workers", "2"], "--address and --workers with --engine here"),
        (["--engine", "ray", "--workers", "0"], "--workers 0. Needs: 1 or more"),
    ],
)
def test_options_that_nothing_reads_are_refused(given: list[str], said: str, tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "no.pth", "--data", "folder:town", "--home", str(tmp_path), *given])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1", "a" * 300 + ":70000", ":"])
def test_an_address_where_nobody_answers_is_said_at_once(address: str, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_joined", [])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(UsageError, match="No Ray cluster answers at") as raised:
        ray_cluster.join(address, 0)
    assert len(raised.value.one_line) < 500 and "ray" not in sys.modules


def test_a_process_is_part_of_one_cluster(monkeypatch):
    monkeypatch.setattr(ray_cluster, "_joined", ["10.0.0.5:6379"])
    ray_cluster.join("10.0.0.5:6379", 0)
    with pytest.raises(UsageError, match="in a process that is part of '10"):
        ray_cluster.join("10.0.0.6:6379", 0)


def test_nothing_of_ray_is_loaded_unless_it_is_asked_for():
    code = (
        "import sys, fusionlib.studio, fusionlib.runs.ray_executor, fusionlib.cli.sweep;"
        "from fusionlib.studio import Options, Studio; Studio(Options(demo=False));"
        "print([name for name in sys.modules if name.split('.')[0] == 'ray'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- what a cluster of this machine opens -----------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cluster_of_this_machine_listens_to_this_machine_alone(passes: RayPasses):
    passes.about()
    ours = {f"socket:[{inode}]" for pid in _descendants(os.getpid()) for inode in _sockets(pid)}
    addresses = [address for address, inode in _listening() if f"socket:[{inode}]" in ours]
    assert addresses and set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}, addresses
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and len(os.environ["RAY_AUTH_TOKEN"]) >= 32


def _descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(entry)
                if target.startswith("socket:["):
                    yield target.removeprefix("socket:[").removesuffix("]")


def _listening() -> Iterator[tuple[str, str]]:
    """Addresses (hexadecimal) and inodes of the TCP sockets that listen."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                yield fields[1].partition(":")[0], fields[9]
