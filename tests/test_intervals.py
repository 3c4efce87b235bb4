"""Intervals of measured gains: out of stored states, the same wherever they are told, and without a pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionlib.cli import main
from fusionlib.diagnostics.bootstrap import gain_interval, unit_totals, units_of
from fusionlib.question import Question
from fusionlib.studio import Selection, intervals
from tests.helpers import World, folder_data, tiny_world

NAMES = ["ash", "birch", "cedar", "elm", "fir", "oak"]


def unlike(folder: Path, count: int = 6) -> str:
    """Pictures that are no frames of one video."""
    folder_data(folder, count)
    for part in ("images", "masks"):
        for number, name in enumerate(NAMES[:count]):
            (folder / part / f"p{number}.png").rename(folder / part / f"{name}.png")
    return f"folder:{folder}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, data=(unlike(tmp_path / "data"),)) as world:
        yield world


def by_hand(world: World, alphas: list[float]) -> tuple[float, float] | None:
    """The interval out of the states that the runner tells."""
    view, runner = world.view(), world.studio.runner
    pictures = view.need_pictures()
    units = units_of([pictures.group(index) for index in range(len(pictures))])
    recipes = [view.alone("a"), view.alone("b"), *map(view.recipe, alphas)]
    states = [runner.pictures(Question((one,), pictures.fingerprint(), "confusion"), pictures) for one in recipes]
    totals = [unit_totals([state["matrix"].numpy() for state in of], units) for of in states]
    return gain_interval(totals[:2], totals[2:])


def test_a_sweep_and_a_diagnosis_tell_the_same_interval_and_run_nothing_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, found = world.view(), world.studio.diagnosis(["a", "b"], world.source, None)
    world.studio.sweep(view).measure(0.25)
    asked = []
    inner = intervals.gain_interval
    monkeypatch.setattr(intervals, "gain_interval", lambda *given: (asked.append(given), inner(*given))[1])
    passes = world.studio.runner.tally.run
    told = world.studio.outlook(view)["evidence"]
    assert tuple(told["interval"]) == by_hand(world, [0.25, 0.5, 0.75])
    assert told["units"] == {"count": 6, "kind": "pictures"}
    for _ in range(2):
        reported = found.report()["pairs"][0]["verdict"]["evidence"]
        assert reported["interval"] == told["interval"] and reported["units"] == told["units"]
        assert world.studio.outlook(view)["evidence"] == {**told, "worst_block": reported["worst_block"]}
    assert len(asked) == 1 and world.studio.runner.tally.run == passes
    world.studio.sweep(view).measure_points([0.6])
    assert tuple(world.studio.outlook(view)["evidence"]["interval"]) == by_hand(world, [0.25, 0.5, 0.6, 0.75])


def test_what_is_nearly_an_end_is_no_choice_of_a_resample(world: World) -> None:
    view = world.view()
    sweep = world.studio.sweep(view)
    sweep.measure(0.5)
    before = world.studio.outlook(view)["evidence"]["interval"]
    sweep.measure_points([0.05, 0.95])
    assert world.studio.outlook(view)["evidence"]["interval"] == before


def test_a_curve_that_was_measured_the_other_way_round_has_the_same_interval(world: World) -> None:
    world.studio.sweep(world.studio.view(Selection("b", "a", world.source, None))).measure(0.2)
    evidence = world.studio.diagnosis(["a", "b"], world.source, None).report()["pairs"][0]["verdict"]["evidence"]
    assert evidence["interval"] == pytest.approx(by_hand(world, [0.2, 0.4, 0.6, 0.8]))


def test_a_few_pictures_of_one_sequence_have_no_interval(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=6) as world:
        world.studio.sweep(world.view()).measure(0.5)
        found = world.studio.outlook(world.view())
        assert found["evidence"]["interval"] is None and found["level"] != "merge"
        assert found["evidence"]["units"] == {"count": 1, "kind": "run of up to 10 neighbouring pictures"}


def test_the_command_line_says_the_interval_and_what_was_resampled(
    capsys: pytest.CaptureFixture[str], world: World, tmp_path: Path
) -> None:
    files = [str(tmp_path / "files" / f"{name}.pth") for name in "ab"]
    common = [*files, "--data", f"folder:{tmp_path / 'data'}", "--home", str(tmp_path / "other"), "--step", "0.5"]
    verdicts = []
    for verb in ("sweep", "diagnose"):
        main([verb, *common, "--json"])
        found = json.loads(capsys.readouterr().out)
        verdicts.append(found["verdict"] if verb == "sweep" else found["pairs"][0]["verdict"])
    for verdict in verdicts:
        low, high = verdict["evidence"]["interval"]
        assert low <= high and verdict["evidence"]["units"] == {"count": 6, "kind": "pictures"}
        if not verdict["evidence"]["guessing"]:
            assert f"({100 * low:+.1f} to " in verdict["line"] or abs(low) < 0.0005
    main(["sweep", *common])
    assert verdicts[0]["line"] in capsys.readouterr().out
