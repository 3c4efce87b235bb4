"""What is measured of the curve between two speaks wherever the two are spoken of, and its best merge is compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionlib.errors import Cancelled
from fusionlib.studio import Choices, Comparison, Selection
from pages.widgets import server
from pages.widgets.compare_open import explored
from tests.helpers import World, counted_forwards, folder_data, tiny_file, tiny_world, until
from tests.page_tools import button, opened, tiny_files


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """a and b, and c far from both."""
    tiny_file(tmp_path / "files", "c", 3)
    with tiny_world(tmp_path, count=3) as found:
        yield found


def compared(world: World, *names: str, **choices) -> Comparison:
    given = Choices(groups=("methods",), methods=("isotropic", "slerp"), **choices)
    return world.studio.comparisons.open(names, world.source, None, given)


def view(world: World, *names: str):
    return world.studio.view(Selection(names[0], names[1], world.source, None, more=names[2:]))


def curve_rows(comparison: Comparison) -> list[dict]:
    return [row for row in comparison.snapshot()["rows"] if row["group"] == "curve"]


def test_compare_says_of_a_pair_what_explore_and_diagnose_say(world: World) -> None:
    before = compared(world, "a", "b").outlook()
    assert before is not None and not before["measured"]
    world.studio.sweep(view(world, "a", "b")).measure(0.25)
    shown = world.studio.outlook(view(world, "a", "b"))
    assert shown["measured"] and compared(world, "a", "b").outlook() == shown
    (pair,) = world.studio.diagnosis(["a", "b"], world.source, None).report()["pairs"]
    assert pair["verdict"]["line"] == shown["line"]
    turned = world.studio.outlook(view(world, "b", "a"))
    assert turned["measured"] and turned["evidence"]["gain"] == shown["evidence"]["gain"]
    levels = {row["name"]: row["verdict"] for row in compared(world, "a", "b").snapshot()["rows"]}
    assert levels["isotropic"] == {"level": shown["level"], "line": shown["line"]}


def test_of_a_set_every_measured_pair_counts(world: World) -> None:
    for pair in (("a", "b"), ("c", "a"), ("b", "c")):
        world.studio.sweep(view(world, *pair)).measure(0.5)
    found = world.studio.outlook(view(world, "a", "b", "c"))
    assert found["measured"] and compared(world, "a", "b", "c").outlook() == found


def test_points_off_the_grids_are_found_in_either_order(world: World) -> None:
    sweep = world.studio.sweep(view(world, "b", "a"))
    sweep.measure_points(("a", "b", 0.3125, 0.6))
    other = world.studio.sweep(view(world, "a", "b"))
    assert {0.6875, 0.4} <= set(other.points)
    assert sweep.points[0.3125] == other.points[0.6875]


def test_the_best_alpha_of_a_known_curve_is_a_row_without_a_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert curve_rows(compared(world, "a", "b")) == []
    sweep = world.studio.sweep(view(world, "a", "b"))
    sweep.measure(0.2)
    points = {point["alpha"]: point["miou"] for point in sweep.snapshot()["points"] if 0 < point["alpha"] < 1}
    best = max(points, key=points.__getitem__)
    passes = counted_forwards(monkeypatch)
    (row,) = curve_rows(compared(world, "a", "b"))
    assert passes == [] and row["state"] == "measured" and row["miou"] == points[best]
    assert row["parameters"]["alpha"] == best and row["members"] == ["a", "b"]
    assert row["name"] == f"best alpha of the curve: a {best:g}, b {1 - best:g}"
    said = f"alpha {best:g} is the best of the 4 that are known, chosen on the same 3 pictures: optimistic"
    assert row["note"].endswith(said)
    assert explored(row, row["members"]) == {
        "a": "a", "b": "b", "more": [], "buffers": "average", "mix": "alpha", "alpha": best,
    }  # fmt: skip
    (other,) = curve_rows(compared(world, "b", "a", anchor=1))
    assert other["miou"] == row["miou"] and other["parameters"]["alpha"] == pytest.approx(1 - best)
    assert curve_rows(compared(world, "a", "b", buffers="gaussian")) == []


def test_it_is_never_measured_for_the_table(world: World) -> None:
    comparison = compared(world, "a", "b")
    comparison.measure()
    assert curve_rows(comparison) == [], "its own merge at 0.5 is no curve"
    world.studio.sweep(view(world, "a", "b")).measure(0.2)
    comparison.recall()
    assert len(curve_rows(comparison)) == 1 and comparison.settled
    comparison.measure(fresh=True)
    assert comparison.settled and curve_rows(comparison) == [], "what others have measured is not fresh"


def test_a_run_goes_on_only_where_one_was_cut(world: World) -> None:
    world.studio.sweep(view(world, "a", "b")).measure(0.5)
    comparison = compared(world, "a", "b")
    assert {row["state"] for row in comparison.snapshot()["rows"]} == {"measured", "waiting"}
    assert not comparison.cut_short

    class Cut:
        def run(self, task: object, progress: object) -> list:
            raise Cancelled

    comparison.executor = Cut()  # type: ignore[assignment]
    with pytest.raises(Cancelled):
        comparison.measure()
    assert comparison.cut_short
    world.studio.comparisons._works._works.clear()
    assert compared(world, "a", "b").cut_short, "the run is remembered, whoever asks next"
    compared(world, "a", "b").measure()
    assert not compared(world, "a", "b").cut_short


def test_the_page_shows_the_measured_verdict_and_does_not_resume_what_was_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_files(tmp_path / "files", 2)
    with opened("compare.py", tmp_path / "home", monkeypatch) as start:
        app = start("--checkpoints", str(folder), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
        studio = server.studio()
        sweep = studio.sweep(studio.view(Selection("c0", "c1", studio.workspace.sources[0].name, None)))
        sweep.measure(0.25)
        app.run()
        label = app.get("page_link")[0].proto.label.replace("\\", "")
        assert label == f"Measured: {studio.outlook(sweep.view)['line']}"
        assert button(app, "rows on 2 pictures").label.startswith("Measure ")
        table = next(item.value for item in app.dataframe if "row" in item.value.columns)
        row = next(row for _, row in table.iterrows() if "best alpha of the curve" in row["row"])
        assert row["Explore"] == "Open in Explore" and "optimistic" in row["remark"]
        button(app, "rows on").click().run()
        comparison = next(reversed(studio.comparisons._works._works.values()))
        until(lambda: comparison.state == "done")
