"""A full, read-only, damaged or missing home folder: what needs none works, what was measured is printed, what is lost
is said once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import folder_data, tiny_file

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import evaluate, main
from fusionlib.cli.common import open_studio
from fusionlib.errors import UsageError
from fusionlib.options import default_home
from fusionlib.runs.answers import Answers
from fusionlib.runs.store import Store

ROOT = Path(__file__).resolve().parent.parent
DATA = "--data folder:town"
VERBS = {
    "inspect": "inspect a.pth b.pth",
    "merge": "merge a.pth b.pth --out {n}.safetensors --save-recipe {n}.yaml",
    "fisher": f"merge a.pth b.pth --method fisher {DATA} --count 1 --out {{n}}.safetensors",
    "evaluate": f"evaluate a.pth {DATA}",
    "ensemble": f"evaluate a.pth --with b.pth {DATA}",
    "sweep": f"sweep a.pth b.pth {DATA} --step 0.25",
    "compare": f"compare a.pth b.pth {DATA} --methods isotropic,fisher",
    "diagnose": f"diagnose a.pth b.pth {DATA} --step 0.5",
    "errors": f"errors a.pth b.pth {DATA}",
    "layers": f"layers a.pth b.pth {DATA} --granularity part",
}
KEEPS_NOTHING = ("inspect", "merge")
LIMITS = {"is full": 30_000, "fills in the middle": 110_000}
"""Bytes that a file may have. SQLite's index of its journal alone takes 32,768."""

OLD = 7
"""Results in a store before it is nearly full."""

HOMES = (
    "is a file",
    "is below a file",
    "is read-only",
    "cannot be read",
    "cannot be made",
    "holds other things",
    "is locked",
    *LIMITS,
)
ASKED = [
    *((verb, "is a file") for verb in VERBS),
    *(("evaluate", home) for home in HOMES[1:-1]),
    *(
        (verb, home)
        for verb in ("merge", "sweep", "compare", "diagnose")
        for home in ("is read-only", "fills in the middle")
    ),
]
"""Every verb, every home, and the two that are met most."""

REFUSED = {
    "a recipe on a full disk": (
        {"arguments": "merge a.pth b.pth --out full.safetensors --save-recipe /dev/full"},
        "full cannot be written: No space left on device; full.safetensors is written, with the recipe inside",
    ),
    "a recipe in place of a folder": (
        {"arguments": "merge a.pth b.pth --out none.safetensors --save-recipe town"},
        "a folder of this name",
    ),
    "a recipe in a read-only folder": (
        {"arguments": "merge a.pth b.pth --out none.safetensors --save-recipe closed/r.yaml"},
        "no right to write into 'closed'",
    ),
    "a file in a read-only folder": (
        {"arguments": f"merge a.pth b.pth --method fisher {DATA} --out closed/none.safetensors"},
        "no right to write into 'closed'",
    ),
    "a file on a full disk": (
        {"arguments": "merge a.pth b.pth --out none.safetensors", "limit": 2000},
        "none.safetensors cannot be written",
    ),
    "an epoch on a full disk": (
        {"arguments": f"train {DATA} --arch tiny --epochs 2 --crop 16x16 --batch 1 --out half", "limit": 8000},
        "progress.state cannot be written",
    ),
    "a result on a full disk": (
        {"arguments": f"evaluate a.pth {DATA} --home other", "stdout": "/dev/full"},
        "the result cannot be printed: No space left on device",
    ),
}
"""Command lines that cannot do what they are asked to, with the reason."""


def mortal() -> list[str]:
    """What has to stand before a command for rights of files to hold, which they do not for root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def forked(place: Path, cases: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of each command line."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [*mortal(), sys.executable, ROOT / "tests" / "forked_cli.py"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        timeout=300,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(found) for found in json.loads(done.stdout)]


def built(place: Path, name: str) -> Path:
    """A home folder in this state."""
    home = place / name
    if name == "is a file":
        home.write_text("in the way")
    elif name == "is below a file":
        (place / "file").write_text("in the way")
        home = place / "file" / "home"
    elif name == "cannot be made":
        (place / "closed").mkdir(mode=0o555)
        home = place / "closed" / "home"
    elif name == "holds other things":
        (home / "results.sqlite").mkdir(parents=True)
    elif name in ("is read-only", "cannot be read"):
        home.mkdir(mode=0o555 if name == "is read-only" else 0o000)
    else:
        home.mkdir()
    return home


def nearly_full(home: Path) -> Path:
    """A home folder with a store in which a few results have room, but not the next page of a file of `LIMITS`."""
    store = Store(Answers(home / "results.sqlite").database)
    for number in range(OLD):
        store.put(f"old {number}", {"x": "y" * 4000})
    store.close()
    assert 80_000 < (home / "results.sqlite").stat().st_size < LIMITS["fills in the middle"]
    return home


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("place")
    tiny_file(place, "a", 1), tiny_file(place, "b", 2)
    folder_data(place / "town", 2)
    yield place
    for folder in place.iterdir():  # pytest removes them later
        if folder.is_dir():
            folder.chmod(0o755)


@pytest.fixture(scope="module")
def answers(place: Path) -> dict[tuple[str, str, bool], tuple[int, str, str]]:
    """What verbs say on these homes, as JSON or in words; `good` is a home as it should be."""
    homes = {name: built(place, name) for name in HOMES if name not in LIMITS}
    cases: dict[tuple[str, str, bool], dict[str, Any]] = {}
    for verb, name in [*((verb, "good") for verb in VERBS), *ASKED]:
        for as_json in (True, False) if verb in ("evaluate", "sweep") else (True,):
            home = homes.get(name, place / f"{name} {verb} {as_json}")
            if name == "fills in the middle":
                nearly_full(home)
            words = VERBS[verb].format(n=len(cases)).split() + ([] if verb == "inspect" else ["--home", str(home)])
            cases[verb, name, as_json] = {
                "arguments": [*words, *(["--json"] if as_json else [])],
                "limit": LIMITS.get(name),
            }
    for name, (case, _) in REFUSED.items():
        cases["", name, False] = {**case, "arguments": case["arguments"].split()}
    with closing(sqlite3.connect(homes["is locked"] / "results.sqlite", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        return dict(zip(cases, forked(place, list(cases.values())), strict=True))


def figures(value: Any) -> Any:
    """A result without what two runs need not share: seconds, and where files were written."""
    if isinstance(value, dict):
        left_out = (
            "not_kept",
            "merge_seconds",
            "evaluation_seconds",
            "seconds",
            "forward_passes",
            "forward_passes_known",
            "out",
            "recipe",
            *(("path",) if "buffers" in value else ()),
            "files",
        )
        return {key: figures(item) for key, item in value.items() if key not in left_out}
    return [figures(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("verb", "home"), ASKED)
def test_every_verb_finds_the_same_whatever_the_home(answers, verb: str, home: str) -> None:
    status, printed, said = answers[verb, home, True]
    assert (status, said) == (0, "")
    found, good = json.loads(printed), json.loads(answers[verb, "good", True][1])
    assert "not_kept" not in good and figures(found) == figures(good)
    assert home == "fills in the middle" or bool(found.get("not_kept")) is (verb not in KEEPS_NOTHING)


@pytest.mark.parametrize(("verb", "home"), [(verb, home) for verb, home in ASKED if verb in ("evaluate", "sweep")])
def test_what_is_lost_is_said_in_one_line_beside_the_result(answers, verb: str, home: str) -> None:
    status, printed, said = answers[verb, home, False]
    figures_alone = [text.splitlines()[:-1] for text in (printed, answers[verb, "good", False][1])]
    assert status == 0 and figures_alone[0] == figures_alone[1], "all but the seconds that it took"
    assert (
        said.count("\n") == 1
        and said.startswith(f"fusionlib {verb}: ")
        and "could not be kept: " in said
        and "--home" in said
    )


def test_a_store_that_fills_in_the_middle_keeps_what_had_room(answers, place: Path) -> None:
    kept, good = keys_in(place / "fills in the middle sweep True"), keys_in(place / "good sweep True")
    old = {f"old {number}" for number in range(OLD)}
    lost = int(json.loads(answers["sweep", "fills in the middle", True][1])["not_kept"][0].split()[0])
    assert kept > old and kept - old < good and len(good - kept) <= lost


def keys_in(home: Path) -> set[str]:
    """What a whole store holds, read by nothing of ours."""
    with closing(sqlite3.connect(home / "results.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {key for (key,) in db.execute("SELECT key FROM results")}
        return kept | {" ".join(row) for row in db.execute("SELECT subject, measure FROM answers")}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_ends_with_one_line(answers, place: Path, name: str) -> None:
    status, printed, said = answers["", name, False]
    assert (status, printed) == (2, "") and said.count("\n") == 1 and REFUSED[name][1] in said
    assert not (place / "none.safetensors").exists() and list(place.rglob(".fusion-*")) == []


def test_what_was_whole_by_then_stays(answers, place: Path) -> None:
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert open_checkpoint(place / "full.safetensors").metadata["recipe"].startswith("version: 1")
    assert set(os.listdir(place / "half")) == {"epoch-001.safetensors", "run.json"} and open_checkpoint(
        place / "half" / "epoch-001.safetensors"
    )


@pytest.mark.parametrize(
    ("home", "ending", "said"),
    [
        ("good", KeyboardInterrupt(), "stopped; what was finished is kept\n"),
        (
            "bad",
            KeyboardInterrupt(),
            "stopped; 1 entry could not be kept: a file is where a folder should be (in bad; --home names another",
        ),
        ("bad", UsageError("A", "b", "C"), "A. Needs: b. C.\nfusionlib evaluate: 1 entry could not be kept: "),
    ],
)
def test_what_ends_in_the_middle_promises_nothing_that_was_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, home: str, ending: BaseException, said: str
) -> None:
    def run(given: argparse.Namespace) -> None:
        open_studio(given).store.put("k", {"x": 1})
        raise ending

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "run", run)
    (tmp_path / "bad").write_text("in the way")
    with pytest.raises(SystemExit):
        main(["evaluate", "a.pth", *DATA.split(), "--home", home])
    assert capsys.readouterr().err.startswith(f"fusionlib evaluate: {said}")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FUSION_HOME": "/here"}, "/here"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/fusion"),
        ({"XDG_CACHE_HOME": ""}, "/user/.cache/fusion"),
        ({}, "/user/.cache/fusion"),
    ],
)
def test_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("FUSION_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/user")
    assert str(default_home()) == expected


def test_a_user_without_a_home_folder_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    for name in ("FUSION_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    store = Store(default_home() / "results.sqlite")
    store.put("k", {"x": 1})
    assert store.get("k") == {"x": 1} and store.notes == (
        "1 entry could not be kept: a file is where a folder should be",
    )
