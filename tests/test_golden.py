"""Figures of every method and measure are those of the golden files, and move with a version alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionlib.contracts import METHODS
from tests.golden.__main__ import write
from tests.golden.figures import Changes, Recomputed, changes, processor, stored, versions
from tests.golden.scene import FOLDER
from tests.helpers import tiny_registered


@pytest.fixture(scope="module")
def fresh():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums depends on it
    with tiny_registered():
        yield Recomputed()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", METHODS.names())
def test_figures_are_those_of_the_golden_file(fresh: Recomputed, name: str) -> None:
    old = stored(name)
    assert old is not None, "a new method: run python -m tests.golden"
    found = changes(old, fresh.method(name), old["processor"] == processor())
    assert not found.silent, "raise the version of whatever moved, then run python -m tests.golden"
    assert not found.stale, "run python -m tests.golden"


def test_there_is_a_golden_file_for_every_method_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(METHODS.names())


def test_golden_files_hold_the_version_of_every_method_and_measure() -> None:
    for name in METHODS.names():
        old = stored(name)
        assert old is not None and old["version"] == METHODS.get(name).version
        assert {measure: part["version"] for measure, part in old["measures"].items()} == versions()


def altered(record: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A copy of a record in which numbers at dotted places (`__` for a dot) are others."""
    record = copy.deepcopy(record)
    for place, value in values.items():
        *way, last = place.split("__")
        part = record
        for step in way:
            part = part[step]
        part[last] = value(part[last])
    return record


def nudged(numbers: list[float]) -> list[float]:
    return [numbers[0] * 1.00001, *numbers[1:]]


def test_what_moves_without_a_version_is_told_from_what_moves_with_one() -> None:
    record = stored("linear")
    assert record is not None
    assert changes(record, record) == Changes((), ())
    miou = "measures__confusion__float32__mapped__miou"
    assert len(changes(record, altered(record, **{miou: lambda x: x + 1e-5})).silent) == 1
    pixels = "measures__confusion__float32__mapped__pixels"
    assert len(changes(record, altered(record, **{pixels: lambda x: x + 1})).silent) == 1
    assert changes(record, altered(record, **{miou: lambda x: x + 1e-9})) == Changes((), ()), "rounding"
    half = altered(record, measures__confusion__mixed__mapped__miou=lambda x: x + 0.01)
    assert changes(record, half) == Changes((), ()), "half precision is another on other processors"
    assert changes(record, altered(record, measures__confusion__mixed__mapped__miou=lambda x: x + 0.05)).silent
    raised = altered(record, measures__confusion__version=lambda x: x + 1, **{miou: lambda x: x + 1e-5})
    found = changes(record, raised)
    assert not found.silent and "confusion" in found.stale[0]
    weights = altered(record, weights__average=nudged)
    assert changes(record, weights).silent, "no version of a measure explains other weights"
    found = changes(record, altered(weights, version=lambda x: x + 1, **{miou: lambda x: x / 2}))
    assert not found.silent and len(found.stale) == 1


def test_the_command_refuses_to_write_figures_that_no_version_explains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {key: value for key, value in (stored("linear") or {}).items() if key != "processor"}
    assert not write("linear", record, tmp_path) and stored("linear", tmp_path) == stored("linear") | {
        "processor": processor()
    }
    assert write("linear", altered(record, weights__average=nudged), tmp_path), "refused"
    assert "the method's version did not" in capsys.readouterr().err
    newer = altered(record, weights__average=nudged, version=lambda x: x + 1)
    assert not write("linear", newer, tmp_path)
    after = stored("linear", tmp_path)
    assert after is not None and after["version"] == record["version"] + 1 and after["weights"] == newer["weights"]
