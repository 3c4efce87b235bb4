"""The comparison table: its figures are those of the merged files, known rows cost nothing, and refusals are
explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fusionlib.charts.comparison import ALONE as GREY
from fusionlib.charts.comparison import gain_figure
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import MEASURES, METHODS, STATISTICS
from fusionlib.data.halves import halves
from fusionlib.engine.build import Builder
from fusionlib.engine.recipes import recipe_alone
from fusionlib.errors import ArchitectureError, DataError, UsageError
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.studio import CALIBRATED, Choices, Own, write_recipe
from fusionlib.studio.calibration_jobs import TemperatureJob
from fusionlib.studio.comparison_ranking import ranked
from tests.helpers import World, counted_forwards, folder_data, saved, tiny_file, tiny_tensors, tiny_world, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    tiny_file(tmp_path / "files", "c", 3)
    with tiny_world(tmp_path, count=4) as found:
        yield found


def compared(world: World, names: str = "abc", **choices):
    return world.studio.comparisons.open(list(names), world.source, None, Choices(**choices))


def rows_of(comparison) -> dict[str, dict]:
    return {row["name"]: row for row in comparison.snapshot()["rows"]}


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every batch that is measured."""
    return counted_forwards(monkeypatch)


@pytest.mark.parametrize(
    ("method", "buffers"),
    [
        ("isotropic", "average"),
        ("layerwise", "gaussian"),
        ("layerwise", "anchor"),
        ("isotropic", "recalibrate"),
        ("fisher", "average"),
        ("rebasin", "average"),
    ],
)
def test_a_row_is_what_the_merged_file_gives(world: World, tmp_path: Path, method: str, buffers: str) -> None:
    comparison = compared(world, anchor=1, methods=(method,), buffers=buffers)
    comparison.measure()
    row = rows_of(comparison)[method]
    assert row["state"] == "measured", row["note"]
    assert row["members"] == ["b", "a", "c"] and row["anchor"] == "b" and row["merge_seconds"] is not None
    checkpoints = [world.studio.workspace.get(name).checkpoint for name in row["members"]]
    pictures = comparison.pictures
    recipe = write_recipe(checkpoints, method, {} if method == "isotropic" else {"anchor": 0}, buffers, pictures)
    world.studio.merge(recipe, checkpoints, tmp_path / "merged.safetensors", pictures)
    alone = world.studio.evaluate(open_checkpoint(tmp_path / "merged.safetensors"), pictures, measures=CALIBRATED)
    assert row["miou"] == pytest.approx(alone["miou"], abs=1e-6) and row["loss"] == pytest.approx(
        alone["loss"], abs=1e-5
    )
    assert row["ece"] == pytest.approx(calibration_summary(alone["calibration"])["ece_sample_weighted"], abs=1e-5)
    best = max(rows_of(comparison)[name]["miou"] for name in "abc")
    assert row["gain"] == pytest.approx(100 * (row["miou"] - best))


def test_every_registered_method_has_a_row_with_figures_or_a_reason(world: World) -> None:
    comparison = compared(world)
    comparison.measure()
    rows = rows_of(comparison)
    assert list(rows)[:3] == ["a", "b", "c"] and set(METHODS.names()) <= set(rows)
    assert all(row["state"] == "measured" or row["note"] for row in rows.values())
    for name, reason in (
        ("slerp", "exactly two"),
        ("ties", "base"),
        ("dare", "base"),
        ("task_arithmetic", "base"),
        ("profile", "layer by layer"),
    ):
        assert rows[name]["state"] == "not applicable" and reason in rows[name]["note"] and rows[name]["miou"] is None
    for name in ("linear", "isotropic", "layerwise", "fisher", "rebasin", "backbone", "head_swap", "ensemble"):
        assert rows[name]["state"] == "measured", rows[name]["note"]
    assert rows["ensemble"]["forwards"] == 3 and rows["isotropic"]["forwards"] == 1
    assert rows["linear"]["miou"] == rows["isotropic"]["miou"]
    best = comparison.snapshot()["best"]
    assert rows[best]["miou"] == max(row["miou"] for row in rows.values() if row["miou"] is not None)
    assert gain_figure(list(rows.values()), "4 pictures").layout.xaxis.title.text.endswith("(points)")


def test_two_checkpoints_and_a_base_open_more_methods(world: World) -> None:
    comparison = compared(world, "ab", base=1)
    comparison.measure()
    rows = rows_of(comparison)
    assert all(rows[name]["state"] == "measured" for name in ("slerp", "ties", "dare", "task_arithmetic"))
    assert "density 0.2, scale 1 (defaults, untuned)" in rows["ties"]["note"] and "untuned" not in rows["slerp"]["note"]
    assert "--set base=1" in rows["ties"]["command"] and rows["ensemble"]["command"] is None


def test_the_tables_of_the_papers(world: World, forwards: list[int]) -> None:
    comparison = compared(world, groups=("buffers", "incremental", "subsets"))
    assert comparison.snapshot()["waiting"] == 2 * (2 + 4)
    comparison.measure()
    found = comparison.snapshot()
    assert found["state"] == "done" and not found["waiting"]
    by_group = {
        group: [row for row in found["rows"] if row["group"] == group]
        for group in ("single", "buffers", "incremental", "subsets")
    }
    assert [row["buffers"] for row in by_group["buffers"]] == ["anchor", "average", "gaussian", "recalibrate"]
    order = [row["name"] for row in sorted(by_group["single"], key=lambda row: -row["miou"])]
    assert [set(row["members"]) for row in by_group["incremental"]] == [set(order[:2])] * 2 + [set(order)] * 2
    assert [row["method"] for row in by_group["incremental"]] == ["isotropic", "layerwise"] * 2
    assert len(by_group["subsets"]) == 8
    assert all(row["anchor"] == ("a" if "a" in row["members"] else row["members"][0]) for row in by_group["subsets"])
    # 3 single networks, 4 policies of which one is also isotropic everywhere, and 8 subsets of which that is one.
    assert len(forwards) == 4 * (3 + 4 + 7)


def test_a_cancelled_run_goes_on_where_it_stopped(
    world: World, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = compared(world, methods=("isotropic", "layerwise"))
    monkeypatch.setattr(comparison, "told", comparison.cancel)  # after the first row
    comparison.want()
    until(lambda: comparison.state == "cancelled")
    monkeypatch.undo()  # the count of forwards with it
    assert (
        len(forwards) == 4
        and rows_of(comparison)["a"]["state"] == "measured"
        and rows_of(comparison)["b"]["state"] == "waiting"
    )
    again = compared(world.reopened(), methods=("isotropic", "layerwise"))
    assert rows_of(again)["a"]["state"] == "measured"
    again.measure()
    assert again.state == "done" and again.done == 4 * 4  # b, c and the two merges


def test_seconds_of_a_row_are_those_of_its_own_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of a merge that was made at another time, and none where nothing ran."""
    real = Builder.build
    monkeypatch.setattr(Builder, "build", lambda *given, **more: replace(real(*given, **more), seconds=1000.0))
    comparison = compared(world, methods=("isotropic", "linear", "fisher"))
    comparison.measure()
    rows = rows_of(comparison)
    assert all(0 < rows[name]["evaluation_seconds"] < 100 for name in ("a", "isotropic", "fisher"))
    assert rows["linear"]["evaluation_seconds"] is None, "the same network as the mean of all"
    comparison.measure(fresh=True)
    assert 0 < rows_of(comparison)["fisher"]["evaluation_seconds"] < 100


def test_equal_networks_are_measured_anew_once(world: World, forwards: list[int]) -> None:
    comparison = compared(world, methods=("isotropic", "linear"))
    for fresh in (False, True):
        forwards.clear()
        comparison.measure(fresh=fresh)
        assert sum(forwards) == 4 * 4, "three checkpoints and their mean, which has two rows"
        assert {row["state"] for row in comparison.snapshot()["rows"]} == {"measured"}


def test_fisher_information_moves_the_bar(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(world, methods=("fisher",))
    seen: list[tuple[int, int]] = []
    progress = comparison.progress
    monkeypatch.setattr(comparison, "progress", lambda done, total: (seen.append((done, total)), progress(done, total)))
    comparison.measure()
    alone, gradients = 4 * 3, STATISTICS.get("fisher").cost * 4 * 3
    assert {total for _, total in seen} == {alone + gradients + 4}
    during = [done for done, _ in seen if alone < done < alone + gradients]
    assert len(set(during)) == 4 * 3 - 1 and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert comparison.done == comparison.total


def test_known_rows_are_there_at_once_and_never_measured_again(world: World, forwards: list[int]) -> None:
    compared(world, groups=("methods", "subsets")).measure()
    forwards.clear()
    again = compared(world.reopened(), groups=("methods", "subsets"))
    assert not again.snapshot()["waiting"] and all(row["state"] != "waiting" for row in rows_of(again).values())
    again.measure()
    assert not forwards and again.state == "done"
    again.measure(fresh=True)
    assert forwards


def test_a_comparison_that_was_opened_before_finds_what_another_has_measured(world: World, forwards: list[int]) -> None:
    own = (Own("ties", (("base", 1), ("density", 0.4))),)
    plain, more = {"methods": ("isotropic",), "groups": ("methods", "subsets")}, {"methods": ("layerwise",)}
    before = compared(world, **plain)
    compared(world, **plain, own=own).measure()
    compared(world, **more, own=own).measure()
    assert rows_of(before)["a"]["state"] == "waiting" and before.snapshot()["waiting"]
    forwards.clear()
    again = compared(world, **plain)
    assert again is before and again.state == "done" and not again.snapshot()["waiting"]
    assert (
        all(row["state"] == "measured" for row in rows_of(again).values())
        and len(rows_of(again)) == 3 + 1 + 8
        and not forwards
    )


def test_one_bad_row_does_not_end_the_table(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self, arena, out=None):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(METHODS.get("layerwise"), "__call__", broken)
    comparison = compared(world, methods=("layerwise", "isotropic"))
    comparison.measure()
    rows = rows_of(comparison)
    assert rows["layerwise"]["state"] == "failed" and "out of luck" in rows["layerwise"]["note"]
    assert rows["isotropic"]["state"] == "measured" and comparison.state == "done"


def test_pictures_that_change_meanwhile_end_the_table(
    world: World, monkeypatch: pytest.MonkeyPatch, forwards: list[int]
) -> None:
    """They are the same for all rows: each would look through them in vain."""
    comparison = compared(world, methods=("isotropic", "layerwise"))
    monkeypatch.setattr(comparison.pictures, "is_current", lambda: False)
    with pytest.raises(UsageError, match="were changed after they were opened"):
        comparison.measure()
    assert sum(forwards) == 4 and comparison.state == "failed" and world.studio.runner.tally.seconds > 0
    assert {row["state"] for row in comparison.snapshot()["rows"]} <= {"measured", "waiting"}
    monkeypatch.undo()
    comparison.measure()
    assert comparison.state == "done"


def test_checkpoints_with_other_heads_merge_what_they_share(world: World) -> None:
    tiny_file(world.folder / "files", "other", 4, classes=11)
    world.studio.workspace.refresh()
    comparison = world.studio.comparisons.open(["a", "other"], world.source, None, Choices())
    comparison.measure()
    rows = rows_of(comparison)
    assert rows["backbone"]["state"] == "measured", rows["backbone"]["note"]
    for name in ("isotropic", "ensemble", "rebasin"):
        assert rows[name]["state"] == "not applicable" and rows[name]["note"]


def test_a_swap_of_unlike_heads_is_the_file_that_its_command_writes(world: World, tmp_path: Path) -> None:
    tiny_file(world.folder / "files", "other", 4, classes=11)
    world.studio.workspace.refresh()
    comparison = world.studio.comparisons.open(["other", "b"], world.source, None, Choices(methods=("head_swap",)))
    comparison.measure()
    row = rows_of(comparison)["head_swap"]
    assert row["state"] == "measured", row["note"]
    export = world.studio.exports.row(comparison, "head_swap")
    written = open_checkpoint(export.path)
    assert written.tensors["head.weight"].shape[0] == 3
    assert world.studio.evaluate(written, comparison.pictures)["loss"] == row["loss"]


def test_a_set_without_any_known_network_is_refused_at_once(world: World, tmp_path: Path) -> None:
    odd = [
        saved(tmp_path / f"odd{seed}.safetensors", {f"odd.{name}": value for name, value in tiny_tensors(seed).items()})
        for seed in (1, 2)
    ]
    pictures = world.studio.workspace.pictures(world.source, None)
    with pytest.raises(ArchitectureError, match=r"they are those of tiny.*--rename"):
        world.studio.comparisons.of(odd, pictures, Choices())  # type: ignore[arg-type]
    a = world.studio.workspace.get("a").checkpoint
    rows = world.studio.comparisons.of([odd[0], a], pictures, Choices())  # type: ignore[list-item, arg-type]
    rows.measure()
    found = rows_of(rows)
    assert (
        found["a"]["state"] == "measured"
        and "they are those of tiny" in found["odd1"]["note"]
        and found["isotropic"]["state"] == "not applicable"
    )


def test_long_names_are_short_beside_the_bars_and_figures_have_room() -> None:
    row = {"group": "subsets", "forwards": 1, "miou": 0.5, "buffers": "average"}
    names = [
        "subsets: epoch-010 + epoch-020 + epoch-030, isotropic",
        "subsets: epoch-010 + epoch-020 + epoch-040, isotropic",
    ]
    figure = gain_figure(
        [{**row, "name": name, "gain": gain} for name, gain in zip(names, (-10.0, 2.0), strict=True)], ""
    )
    assert list(figure.data[0].y) == names and all(
        len(text) <= 32 and "isotropic" in text for text in figure.layout.yaxis.ticktext
    )
    low, high = figure.layout.xaxis.range
    assert low < -11 and high > 3


def test_wrong_choices_are_refused(world: World, tmp_path: Path) -> None:
    for choices in ({"anchor": 3}, {"base": -1}, {"groups": ("all",)}, {"methods": ("magic",)}, {"buffers": "none"}):
        with pytest.raises(UsageError):
            compared(world, **choices)
    with pytest.raises(UsageError, match="1 checkpoint"):
        compared(world, "a")
    with pytest.raises(UsageError, match="at most 5"):
        Choices(groups=("subsets",)).checked(6)
    bare = world.studio.workspace.open_pictures(f"pictures:{folder_data(tmp_path / 'bare', 1, masks=False)}", None)
    with pytest.raises(DataError, match="no masks"):
        world.studio.comparisons.of([world.studio.workspace.get(name).checkpoint for name in "ab"], bare, Choices())


def test_equal_networks_are_one_row_and_the_best_is_first(world: World) -> None:
    comparison = compared(world, "ab", groups=("methods", "buffers"))
    comparison.measure()
    found, builds = comparison.snapshot(), comparison.builds()
    rows, left_out = ranked(found["rows"], builds)
    merge = next(row for row in rows if "isotropic" in row["name"])
    same = ["isotropic", "linear", "buffers: averaged statistics"]
    assert {*same} <= {row["name"] for row in merge["same"]} and merge["name"].startswith("isotropic = ")
    assert merge["name"] == " = ".join(row["name"] for row in merge["same"])
    assert {row["name"] for one in rows for row in one["same"]} | {row["name"] for row in left_out} == set(
        rows_of(comparison)
    )
    scores = [row["miou"] for row in rows]
    assert scores == sorted(scores, reverse=True) and found["best"] in rows[0]["name"].split(" = ")
    assert len({builds[row["same"][0]["name"]] for row in rows}) == len(rows)
    assert {row["state"] for row in left_out} == {"not applicable"} and "ties" in {row["name"] for row in left_out}
    figure = gain_figure(rows, "")
    assert list(figure.data[0].y)[::-1] == [row["name"] for row in rows], "the chart's top is the table's first row"
    alone = {name for name, colour in zip(figure.data[0].y, figure.data[0].marker.color, strict=True) if colour == GREY}
    assert {row["name"] for row in rows if row["group"] == "single"} == alone


def test_rows_that_wait_come_after_those_that_are_measured() -> None:
    row = {"group": "methods", "miou": None, "state": "waiting"}
    given = [
        {**row, "name": "x"},
        {**row, "name": "low", "state": "measured", "miou": 0.2},
        {**row, "name": "y", "state": "running"},
        {**row, "name": "none", "state": "measured"},
        {**row, "name": "high", "state": "measured", "miou": 0.4},
        {**row, "name": "broken", "state": "failed"},
    ]
    rows, left_out = ranked(given, {})
    assert [one["name"] for one in rows] == ["high", "low", "none", "x", "y"]
    assert [one["name"] for one in left_out] == ["broken"]


def test_temperature_changes_how_sure_the_best_network_is_and_nothing_else(world: World, forwards: list[int]) -> None:
    comparison = compared(world, groups=("temperature",))
    assert comparison.snapshot()["waiting"] == 1
    comparison.measure()
    assert comparison.state == "done" and not comparison.snapshot()["waiting"]
    assert len(forwards) == 4 * 3 + 2 + 4, "three networks, the fit on every other picture, the scaled network"
    *singles, row = comparison.snapshot()["rows"]
    best = max(singles, key=lambda one: one["miou"])
    value = row["parameters"]["temperature"]
    assert row["name"] == f"{best['name']}, temperature {value:.3g}" and row["group"] == "temperature"
    assert row["miou"] == best["miou"] and row["gain"] == 0 and row["pixel_accuracy"] == best["pixel_accuracy"]
    assert row["note"].endswith("T fitted on 2 of 4 pictures") and row["command"] is None
    assert comparison.snapshot()["best"] == best["name"]
    checkpoint = world.studio.workspace.get(best["name"]).checkpoint
    first, _ = halves(comparison.pictures)
    job = TemperatureJob(recipe_alone(checkpoint), world.studio.runner, first, comparison.pictures)
    plain, after = job.summaries()
    assert job.fit["temperature"] == value and plain["ece_sample_weighted"] == best["ece"]
    assert row["ece"] == after["ece_sample_weighted"] and row["loss"] != best["loss"]
    forwards.clear()
    again = compared(world.reopened(), groups=("temperature",))
    assert again.state == "done" and rows_of(again)[row["name"]]["miou"] == row["miou"] and not forwards


def test_a_temperature_needs_two_pictures(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=1) as world:
        comparison = compared(world, "ab", groups=("temperature",))
        comparison.measure()
        row = comparison.snapshot()["rows"][-1]
        assert row["state"] == "not applicable" and "two or more pictures" in row["note"]


def test_a_temperature_that_cannot_be_fitted_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(world, groups=("temperature", "methods"), methods=("isotropic",))
    monkeypatch.setattr(type(MEASURES.get("temperature")), "update", lambda *_: 1 / 0)
    comparison.measure()
    rows = rows_of(comparison)
    failed = next(row for row in rows.values() if row["group"] == "temperature")
    assert failed["state"] == "failed" and "ZeroDivision" in failed["note"]
    assert rows["isotropic"]["state"] == "measured" and comparison.state == "done"
