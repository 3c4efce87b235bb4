"""Sweeps of any parameter of any method, on one dataset or several."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers import counted_forwards, folder_data, saved, threefold_registered, tiny_file, tiny_registered, tiny_tensors
from hypothesis import given
from hypothesis import strategies as st

from fusionlib.cli import main
from fusionlib.contracts import Study
from fusionlib.errors import UsageError
from fusionlib.question import Known, Question, Refused, Told
from fusionlib.recipe import Recipe, Source
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.vary import MOST_POINTS, Vary, check_map, values_of

TOWN, LAND = ("--data", "folder:town"), ("--data", "folder:land")


# --- the range -------------------------------------------------------------------------------------------------------


def test_both_ends_belong_to_a_range() -> None:
    assert values_of("layerwise", "start=1:29:2") == ("start", tuple(range(1, 30, 2)))
    assert values_of("layerwise", "start=1:30:2") == ("start", (*range(1, 30, 2), 30))
    assert values_of("linear", "alpha=0:1:0.3") == ("alpha", (0, 0.3, 0.6, 0.9, 1))
    assert values_of("ties", "density=0.5:0.5:1") == ("density", (0.5,))
    assert values_of("task_arithmetic", "scale=-1:1:1") == ("scale", (-1, 0, 1))
    assert all(isinstance(value, int) for value in values_of("layerwise", "start=1:3:1")[1])


@given(st.integers(1, 400))
def test_the_usual_grid_is_one_of_them(points: int) -> None:
    step = round(1 / points, 6)
    assert values_of("linear", f"alpha=0:1:{step}")[1] == alpha_grid(step)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 1))
def test_values_rise_from_one_end_to_the_other(one: float, other: float, step: float) -> None:
    low, high = sorted((round(one, 6), round(other, 6)))
    _, values = values_of("linear", f"alpha={low}:{high}:{step}")
    assert values[0] == low and values[-1] == high and list(values) == sorted(set(values))
    assert all(later - before <= step + 1e-6 or math.isclose(later, high) for before, later in pairwise(values))


@pytest.mark.parametrize(
    ("method", "text", "needs"),
    [
        ("linear", "beta=0:1:0.5", "a parameter of linear that is a number: alpha"),
        ("linear", "weights=0:1:0.5", "that is a number: alpha"),
        ("linear", "alpha", "NAME=FROM:TO:STEP"),
        ("linear", "alpha=0:1", "alpha=0:1:0.25"),
        ("linear", "alpha=0:1:x", "alpha=0:1:0.25"),
        ("linear", "alpha=1:0:0.1", "FROM not above TO"),
        ("linear", "alpha=0:1:0", "STEP above 0"),
        ("linear", "alpha=0:1:-1", "STEP above 0"),
        ("linear", "alpha=0:inf:1", "finite"),
        ("linear", "alpha=nan:1:1", "finite"),
        ("linear", "alpha=0:2:0.5", "alpha from 0 to 1"),
        ("linear", "alpha=0:1:1e-9", f"at most {MOST_POINTS} points"),
        ("linear", "alpha=0:1e308:1e-308", "at most"),
        ("layerwise", "start=1:3:0.5", "whole numbers, as start is one"),
        ("layerwise", "start=0:3:1", "start from 1 to 100000"),
        ("isotropic", "alpha=0:1:0.5", "a method with a parameter that is a number"),
        ("fisher", "normalise=0:1:1", "anchor, seed"),
        ("none", "alpha=0:1:0.5", "layerwise"),
    ],
)
def test_what_is_no_range_is_refused_in_words(method: str, text: str, needs: str) -> None:
    with pytest.raises(UsageError) as refused:
        values_of(method, text)
    assert needs in refused.value.one_line and refused.value.do


# --- the study -------------------------------------------------------------------------------------------------------


def study(count: int = 2, **more: Any) -> Vary:
    sources = tuple(Source(path=f"{number}", fingerprint=f"{number}" * 64) for number in range(count))
    recipe = Recipe(method="linear", checkpoints=sources)
    return Vary(recipe, "alpha", alpha_grid(0.25), (("t", "town"), ("l", "land")), **more)


def next_step(item: Study, known: Known) -> tuple[Question, ...]:
    """The first questions that are not answered."""
    return next((step.questions for step in item.steps(known) if not set(step.questions) <= set(known)), ())


def told(question: Question, **figures: Any) -> Told:
    return Told(question, figures, 2, 0, False, ())


def test_ends_come_first_and_every_dataset_before_the_next_value() -> None:
    item, known, visited = study(), {}, []
    while asked := next_step(item, known):
        visited.append((asked[0].recipes[0].parameters["alpha"], asked[0].data))
        assert {question.measure for question in asked} == {"confusion", "loss"}
        known |= {question: told(question, miou=visited[-1][0]) for question in asked}
    assert visited == [(value, data) for value in (0, 1, 0.5, 0.25, 0.75) for data in ("t", "l")]
    curves = item.table(known)["curves"]
    assert [(curve["data"], curve["parameter"]) for curve in curves] == [("town", "alpha"), ("land", "alpha")]
    assert [point["value"] for point in curves[0]["points"]] == [0, 0.25, 0.5, 0.75, 1]
    assert curves[1]["best"] == {"value": 1, "miou": 1}


def test_a_table_holds_what_is_known_so_far() -> None:
    item = study()
    assert [curve["points"] for curve in item.table({})["curves"]] == [[], []]
    first = next_step(item, {})
    half = {first[0]: told(first[0], miou=1.0)}
    assert item.table(half)["curves"][0]["points"] == [], "half a point is none"
    assert item.table({**half, first[1]: Refused("no")})["curves"][0]["points"] == [], "and a refused one neither"
    known = {question: told(question, miou=None) for question in first}
    (one, other) = item.table(known)["curves"]
    assert [point["value"] for point in one["points"]] == [0] and one["best"] is None and other["points"] == []


def test_of_more_than_two_alpha_weighs_the_first_against_the_mean_of_the_others() -> None:
    assert study(3, against_mean=True).recipe_at(0.5).parameters == {"weights": [0.5, 0.25, 0.25]}
    assert study(4, against_mean=True).recipe_at(1.0).parameters == {"weights": [1.0, 0, 0, 0]}
    assert study().recipe_at(0.25).parameters == {"alpha": 0.25}


def test_two_parameters_are_a_map_coarse_to_fine_both_ways() -> None:
    recipe = study().recipe.model_copy(update={"method": "ties"})
    item = Vary(recipe, "density", (0.2, 0.5, 0.8), (("t", "town"),), second="scale", second_values=(0.5, 1.0))
    assert set(item.places) == {(one, other) for one in (0.2, 0.5, 0.8) for other in (0.5, 1.0)}
    assert set(item.places[:4]) == {(0.2, 0.5), (0.2, 1.0), (0.8, 0.5), (0.8, 1.0)}, "corners first"
    assert item.recipe_at(0.2, 1.0).parameters == {"density": 0.2, "scale": 1.0}
    known = {}
    for step in item.steps({}):
        asked = step.questions[0].recipes[0].parameters
        score = None if asked["density"] == 0.5 else asked["density"] * asked["scale"]
        known |= {question: told(question, miou=score) for question in step.questions}
    (curve,) = item.table(known)["curves"]
    assert (curve["parameter"], curve["second"], len(curve["points"])) == ("density", "scale", 6)
    assert curve["best"] == {"value": 0.8, "second_value": 1.0, "miou": 0.8}


@pytest.mark.parametrize(
    ("other", "needs"),
    [(("density", (0.1,)), "two different"), (("scale", tuple(range(502))), "at most 1001")],
)
def test_a_map_of_one_parameter_or_too_many_points_is_refused(other: tuple, needs: str) -> None:
    with pytest.raises(UsageError, match=needs) as refused:
        check_map(("density", (0.1, 0.2)), other)
    assert refused.value.do


def test_a_thousand_points_are_planned_at_once() -> None:
    item = study()
    item = Vary(item.recipe, "alpha", alpha_grid(0.001), item.data[:1])
    assert len({question for step in item.steps({}) for question in step.questions}) == 1001 * 2


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """a.pth, b.pth, c.pth, town/ of three pictures and land/ of two of them, as working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    for seed, name in enumerate("abc", 1):
        tiny_file(tmp_path, name, seed)
    folder_data(tmp_path / "town", 3), folder_data(tmp_path / "land", 2)
    with tiny_registered(), threefold_registered():
        yield tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> dict[str, Any]:
        main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert printed.err == ""
        return json.loads(printed.out)

    return call


def test_a_curve_is_what_evaluate_says_of_each_merge(place: Path, said) -> None:
    found = said("sweep", "a.pth", "b.pth", "c.pth", "--method", "ties", "--set", "base=2", "scale=0.8",
                 "--vary", "density=0.2:0.7:0.25", *TOWN)  # fmt: skip
    (curve,) = found["curves"]
    assert (curve["data"], curve["parameter"], curve["images"]) == ("folder:town", "density", 3)
    assert [point["value"] for point in curve["points"]] == [0.2, 0.45, 0.7]
    assert found["method"] == "ties" and found["parameters"] == {"base": 2, "scale": 0.8}
    assert found["forward_passes"] == 9 and found["verdict"]["level"] == "do not merge"
    for point in curve["points"]:
        said("merge", "--method", "ties", "--set", "base=2", "scale=0.8", f"density={point['value']}", "--checkpoints",
             "a.pth", "b.pth", "c.pth", "--out", "m.safetensors")  # fmt: skip
        alone = said("evaluate", "m.safetensors", *TOWN)
        assert alone["forward_passes"] == 0, "the same network"
        assert (point["miou"], point["loss"]) == (alone["miou"], alone["loss"])
        assert dict(zip(curve["classes"], point["iou"], strict=True)) == alone["iou"]
    best = max(curve["points"], key=lambda point: point["miou"])
    assert curve["best"] == {"value": best["value"], "miou": best["miou"]}


def test_several_datasets_give_a_curve_each(place: Path, said) -> None:
    usual = said("sweep", "a.pth", "b.pth", *TOWN, "--step", "0.5")
    found = said("sweep", "a.pth", "b.pth", *TOWN, *LAND, "--step", "0.5")
    assert [(curve["data"], curve["images"]) for curve in found["curves"]] == [("folder:town", 3), ("folder:land", 2)]
    assert found["forward_passes"] == 0, "the other's pictures are among them"
    first = found["curves"][0]
    assert [(point["value"], point["miou"]) for point in first["points"]] == [
        (point["alpha"], point["miou"]) for point in usual["points"]
    ]
    assert said("sweep", "a.pth", "b.pth", *TOWN, "--vary", "alpha=0:1:0.5")["curves"] == [first]
    finer = said("sweep", "a.pth", "b.pth", *TOWN, *LAND, "--vary", "alpha=0:1:0.25")
    assert finer["forward_passes"] == 2 * 3, "two new points on three pictures, which hold the other two"


def test_without_vary_the_form_is_the_usual_one_whatever_the_method(place: Path, said) -> None:
    usual = said("sweep", "a.pth", "b.pth", *TOWN, "--step", "0.5")
    arc = said("sweep", "a.pth", "b.pth", *TOWN, "--step", "0.5", "--method", "slerp")
    assert set(usual) <= set(arc) and set(usual["points"][0]) == set(arc["points"][0])
    assert (arc["a"], arc["b"]) == (usual["a"], usual["b"]) and arc["forward_passes"] == 3
    assert arc["points"][0]["miou"] == usual["b"]["miou"] and arc["points"][1] != usual["points"][1]
    assert said("sweep", "a.pth", "b.pth", *TOWN, "--step", "0.5", "--method", "linear")["points"] == usual["points"]


def test_of_three_checkpoints_the_first_is_weighed_against_the_others(place: Path, said) -> None:
    found = said("sweep", "a.pth", "b.pth", "c.pth", *TOWN, "--step", "0.5")
    said("merge", "a.pth", "b.pth", "c.pth", "--weights", "0.5,0.25,0.25", "--out", "m.safetensors")
    middle = said("evaluate", "m.safetensors", *TOWN)
    assert middle["forward_passes"] == 0 and middle["miou"] == found["points"][1]["miou"]
    assert {"a", "b", "c"} <= set(found) and found["c"]["images"] == 3
    both = said("sweep", "a.pth", "b.pth", "c.pth", *TOWN, *LAND, "--step", "0.5")
    assert both["forward_passes"] == 0
    assert [point["miou"] for point in both["curves"][0]["points"]] == [point["miou"] for point in found["points"]]


def test_a_map_is_what_the_curves_through_it_are(place: Path, said, capsys) -> None:
    words = ("sweep", "a.pth", "b.pth", "c.pth", *LAND, "--method", "ties", "--set", "base=2")
    over = ("--vary", "density=0.2:0.8:0.3", "--vary", "scale=0.5:1:0.5")
    (curve,) = said(*words, *over)["curves"]
    line = said(*words, "scale=1", *over[:2])
    assert line["forward_passes"] == 0 and (curve["second"], len(curve["points"])) == ("scale", 6)
    assert [point["miou"] for point in curve["points"] if point["second_value"] == 1] == [
        point["miou"] for point in line["curves"][0]["points"]
    ]
    main([*words, *over])
    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in ("0.2", "0.5", "0.8")] == [
        [one, other] for one in ("0.2", "0.5", "0.8") for other in ("0.5", "1")
    ]
    assert sum(row[-1:] == ["best"] for row in rows) == 1


def test_three_networks_at_once_have_a_curve_too(place: Path, said, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = counted_forwards(monkeypatch)
    found = said("sweep", "a.pth", "b.pth", *LAND, "--method", "threefold", "--vary", "spread=0:0.4:0.2")
    assert found["forward_passes"] == len(looked) == 3 * 3 * 2
    assert len({point["loss"] for point in found["curves"][0]["points"]}) == 3


def test_merges_look_at_pictures_of_the_first_dataset(place: Path, said) -> None:
    words = ("sweep", "a.pth", "b.pth", "--buffers", "recalibrate", "--vary", "alpha=0.5:0.5:1")
    found = said(*words, *TOWN, *LAND)
    assert found["forward_passes"] == 3 + 3, "recalibrated on three pictures and measured on these"
    assert found["curves"][0]["points"][0]["miou"] == said(*words, *TOWN)["curves"][0]["points"][0]["miou"]
    turned = said(*words, *LAND, *TOWN)
    assert turned["forward_passes"] == 2 + 3, "recalibrated on two, which is another network"
    fish = said("sweep", "a.pth", "b.pth", "--method", "fisher", "--vary", "seed=0:1:1", *LAND)
    assert fish["forward_passes"] == 2 * (2 * 2 + 2), "information of two networks for each seed"
    words = ("sweep", "a.pth", "b.pth", "--method", "fisher", "--vary", "seed=0:1:1", *LAND, *TOWN)
    both, again = said(*words), said(*words)
    assert (both["forward_passes"], both["forward_passes_known"]) == (2 * 1, 2 * 2 * 2 + 2 * 2 + 2 * 2), (
        "land lies in town"
    )
    assert (again["forward_passes"], again["forward_passes_known"]) == (0, 2 * 2 * 2 + 2 * 2 + 2 * 3), (
        "found out once for both"
    )


def test_unlike_heads_are_merged_by_methods_that_take_them(place: Path, said) -> None:
    saved(place / "four.safetensors", tiny_tensors(4, classes=4))
    found = said("sweep", "a.pth", "four.safetensors", *LAND, "--method", "layerwise", "--vary", "start=1:9:4")
    assert [point["value"] for point in found["curves"][0]["points"]] == [1, 5, 9]


def test_a_curve_again_needs_no_pass_and_a_fresh_one_needs_them_all(place: Path, said) -> None:
    words = ("sweep", "a.pth", "b.pth", *LAND, "--method", "slerp", "--vary", "alpha=0.25:0.75:0.25")
    first, again, fresh = said(*words), said(*words), said(*words, "--fresh")
    assert [one["forward_passes"] for one in (first, again, fresh)] == [6, 0, 6]
    assert again["forward_passes_known"] == 6 and first["curves"] == again["curves"] == fresh["curves"]
    listed = said("runs")["runs"]
    assert [(one["kind"], one["state"]) for one in listed] == [("sweep", "done")], "the same piece of work"
    assert {"id", "kind", "state", "done", "total", "seconds_left", "owner"} <= set(listed[0])
    assert listed[0]["arguments"] == [*words, "--fresh", "--json"] and listed[0]["done"] == listed[0]["total"] == 6


def test_text_has_a_table_for_each_dataset_with_the_best_marked(place: Path, capsys) -> None:
    main(["sweep", "a.pth", "b.pth", *TOWN, *LAND, "--method", "slerp", "--vary", "threshold=0.9:1:0.05"])
    lines = capsys.readouterr().out.splitlines()
    heads = [number for number, line in enumerate(lines) if line.split()[:2] == ["threshold", "mIoU"]]
    assert [lines[number - 1] for number in heads] == [
        "folder:town, 3 pictures, slerp",
        "folder:land, 2 pictures, slerp",
    ]
    for number in heads:
        rows = lines[number + 1 : number + 4]
        assert [row.split()[0] for row in rows] == ["0.9", "0.95", "1"]
        assert sum(row.endswith("  best") for row in rows) == 1
    assert "forward passes" in lines[-1]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("sweep a.pth --data folder:town", "two or more to merge"),
        ("sweep a.pth b.pth", "--data"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:0.5 --step 0.1", "--step with --vary"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:0.5 --set alpha=0.5", "Both --set alpha"),
        ("sweep a.pth b.pth --data folder:town --set alpha=0.5", "Both --set alpha"),
        ("sweep a.pth b.pth --data folder:town --set weights=0.5,0.5", "take the place of alpha"),
        ("sweep a.pth b.pth --data folder:town --vary beta=0:1:0.5", "alpha"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:2:0.5", "alpha from 0 to 1"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:0.5 --vary alpha=0:1:1", "two different"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:1 --vary beta=0:1:1", "is a number: alpha"),
        ("sweep a.pth b.pth --data folder:town" + 3 * " --vary alpha=0:1:1", "two for a map"),
        ("sweep a.pth b.pth --data folder:town --method isotropic", "See `methods`"),
        ("sweep a.pth b.pth --data folder:town --method layerwise", "Give --vary anchor=FROM:TO:STEP"),
        ("sweep a.pth b.pth --data folder:town --method layerwise --vary anchor=0:2:1", "Anchor 2 of 2"),
        ("sweep a.pth b.pth --data folder:town --method layerwise --set begin=2 --vary start=1:2:1", "--set begin=2"),
        ("sweep a.pth b.pth c.pth --data folder:town --method slerp --vary alpha=0:1:0.5", "SLERP of 3"),
        ("sweep a.pth b.pth --data folder:town --method none --vary alpha=0:1:0.5", "layerwise"),
        ("sweep a.pth other.safetensors --data folder:town --vary alpha=0:1:0.5", "differ"),
        ("sweep other.safetensors a.pth --data folder:town --vary alpha=0:1:0.5", "--model"),
        ("sweep a.pth b.pth --data folder:town --data pictures:town/images", "no masks"),
        ("sweep a.pth b.pth --data folder:town --data folder:nowhere", "nowhere"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:0.5 --buffers x", "average"),
        ("sweep a.pth b.pth --data folder:town --vary alpha=0:1:0.5 --dtype int8", "int8"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_before_any_pass(
    place: Path, capsys, monkeypatch: pytest.MonkeyPatch, line: str, named: str
) -> None:
    saved(place / "other.safetensors", {"w": tiny_tensors(1)["head.weight"]})
    looked = counted_forwards(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    printed = capsys.readouterr()
    assert ended.value.code == 2 and printed.out == "" and printed.err.count("\n") == 1
    assert named in printed.err and looked == []
