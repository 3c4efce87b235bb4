"""Runs outlive their processes: killed, cancelled or asked for twice, no picture is looked at twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from helpers import folder_data, tiny_file

PICTURES = 6
SWEEP = ["sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.25"]
VARY = ["sweep", "a.pth", "b.pth", "--data", "folder:town", "--method", "slerp", "--vary", "alpha=0.2:0.8:0.2"]
COMPARE = ["compare", "a.pth", "b.pth", "--data", "folder:town", "--methods", "linear,slerp,ensemble"]
EVALUATE = ["evaluate", "a.pth", "--with", "b.pth", "--data", "folder:town"]
SEARCH = ["search", "a.pth", "b.pth", "--set", "step=0.25", "--select", "folder:town"]
DAMAGED = ["--data", "x=folder:town", "--data", "y=corrupt:noise:1:folder:town"]
DOMAINS = ["domains", "a.pth", "b.pth", *DAMAGED, "--rows", "mean"]
KILLED = {
    "sweep": (SWEEP, 5, 8),
    "vary": (VARY, 4, 11),
    "compare": (COMPARE, 6, 20),
    "evaluate": (EVALUATE, 2, 5),
    "search": (SEARCH, 5, 17),
    "domains": (DOMAINS, 3 * 2, 20),
}
"""Command line, networks that it looks at (each domain anew), and the forward pass before which it is killed."""

Said = tuple[int, Any, str]


def case(name: str, command: list[str], **more: Any) -> dict[str, Any]:
    """A command line in the home folder `name`, its forward passes counted."""
    return {"arguments": [*command, "--json", "--home", f"home-{name}"], "counter": f"count-{name}", **more}


STEPS: dict[str, Any] = {}
for _name, (_command, _, _at) in KILLED.items():
    STEPS[f"{_name} killed"] = case(_name, _command, die_at=_at)
    STEPS[f"{_name} listed"] = case(_name, ["runs"])
    STEPS[f"{_name} resumed"] = case(_name, ["runs", "resume", "{id}"] if _name != "vary" else _command)
    STEPS[f"{_name} again"] = case(_name, _command)
STEPS["twice"] = [case("twice", SWEEP, pause=0.01), case("twice", SWEEP, pause=0.01)]
STEPS["twice listed"] = case("twice", ["runs"])
STEPS["search twice"] = [case("search twice", SEARCH, pause=0.01), case("search twice", SEARCH, pause=0.01)]
STEPS["cancelled"] = [
    case("cancelled", SWEEP, pause=0.05, ended="ended-run"),
    case("cancelled", ["runs", "cancel", "{id}"], after=["count-cancelled", 4], ended="ended-cancel"),
]
STEPS["cancelled listed"] = case("cancelled", ["runs"])
STEPS["cancelled resumed"] = case("cancelled", ["runs", "resume", "{id}"])
STEPS["resumed when done"] = case("cancelled", ["runs", "resume", "{id}"])
STEPS["cancelled when done"] = case("cancelled", ["runs", "cancel", "{id}"])
STEPS["nobody"] = case("cancelled", ["runs", "resume", "nobody"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("survival")
    tiny_file(place, "a", 1), tiny_file(place, "b", 2)
    folder_data(place / "town", PICTURES)
    return place


@pytest.fixture(scope="module")
def said(place: Path) -> dict[str, Any]:
    """What each step ended with: exit status, result and errors; of two at once a pair."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "forked_cli.py"],
        input=json.dumps(list(STEPS.values())),
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return dict(zip(STEPS, map(_read, found), strict=True))


def _read(found: Any) -> Any:
    if isinstance(found[0], list):
        return [_read(one) for one in found]
    status, printed, errors = found
    return status, json.loads(printed) if printed else None, errors


def passes(place: Path, name: str) -> int:
    return (place / f"count-{name}").stat().st_size


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_is_gone_on_with_and_no_picture_is_looked_at_twice(place: Path, said, name: str) -> None:
    command, networks, at = KILLED[name]
    assert said[f"{name} killed"][0] == -9
    (row,) = said[f"{name} listed"][1]["runs"]
    assert row["state"] == "stale" and row["arguments"][: len(command)] == command
    status, resumed, errors = said[f"{name} resumed"]
    assert (status, errors) == (0, "") and resumed["forward_passes"] == networks * PICTURES - (at - 1)
    assert passes(place, name) == networks * PICTURES, "all steps together"
    status, again, errors = said[f"{name} again"]
    assert (status, errors, again["forward_passes"]) == (0, "", 0)
    if name in ("sweep", "vary"):
        whole = resumed.get("resumed", resumed)
        assert all(whole[key] == again[key] for key in ("points", "curves") if key in again)
    if name == "search":
        assert resumed["resumed"]["best"] == again["best"] and resumed["resumed"]["evaluations"] == again["evaluations"]


def test_of_two_that_ask_for_the_same_one_runs_and_the_other_follows(place: Path, said) -> None:
    (status, one, errors), (other_status, other, other_errors) = said["twice"]
    assert (status, other_status, errors, other_errors) == (0, 0, "", "")
    assert one["points"] == other["points"] and one["best"] == other["best"]
    assert passes(place, "twice") == one["forward_passes"] + other["forward_passes"] == 5 * PICTURES
    assert 0 in (one["forward_passes"], other["forward_passes"])
    assert [row["state"] for row in said["twice listed"][1]["runs"]] == ["done"]


def test_of_two_searches_one_runs_and_the_other_follows(place: Path, said) -> None:
    (status, one, errors), (other_status, other, other_errors) = said["search twice"]
    assert (status, other_status, errors, other_errors) == (0, 0, "", "")
    assert one["best"] == other["best"] and one["evaluations"] == other["evaluations"]
    assert passes(place, "search twice") == one["forward_passes"] + other["forward_passes"] == 5 * PICTURES
    assert 0 in (one["forward_passes"], other["forward_passes"])


def test_a_cancel_from_another_process_ends_a_run_within_a_second(place: Path, said) -> None:
    (status, _, errors), (asked, answer, _) = said["cancelled"]
    assert status == 130 and "stopped; what was finished is kept" in errors
    assert asked == 0 and answer["runs"][0]["state"] == "stopping"
    ended, cancelled = (float((place / f"ended-{who}").read_text()) for who in ("run", "cancel"))
    assert ended - cancelled < 1.0 + 0.05
    assert [row["state"] for row in said["cancelled listed"][1]["runs"]] == ["cancelled"]
    status, resumed, errors = said["cancelled resumed"]
    assert (status, errors) == (0, "") and 0 < resumed["forward_passes"] < 5 * PICTURES
    assert resumed["runs"][0]["state"] == "cancelled" and len(resumed["resumed"]["points"]) == 5
    assert passes(place, "cancelled") == 5 * PICTURES


@pytest.mark.parametrize(
    ("step", "named"),
    [("resumed when done", "is done"), ("cancelled when done", "is done"), ("nobody", "the id of a run")],
)
def test_what_cannot_be_gone_on_with_is_said(said, step: str, named: str) -> None:
    status, _, errors = said[step]
    assert status == 2 and named in errors and errors.count("\n") == 1
