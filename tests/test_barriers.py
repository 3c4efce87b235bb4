"""Barriers before and after Git Re-Basin: those of the written files, measured once, and none where nothing moved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fusionlib.architectures.recognise import permutations_of
from fusionlib.checkpoints.permuting import permuted
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import Cancelled, DataError, UsageError
from fusionlib.recipe import Recipe
from fusionlib.studies.barriers import ALPHAS
from fusionlib.studio import Choices, write_recipe
from fusionlib.studio.barriers import barrier_text, recipe_barriers
from tests.helpers import World, arena_of, counted_forwards, folder_data, saved, tiny_file, tiny_tensors, tiny_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, count=2) as found:
        yield found


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted_forwards(monkeypatch)


def with_a_shuffled_copy(world: World, folder: Path, buffers: str = "average") -> Recipe:
    """Re-Basin of a; a with its units shuffled; b; so that the first match undoes the shuffle."""
    arena = arena_of(folder / "packed", tiny_tensors(1), tiny_tensors(2))
    orders = [torch.randperm(8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    shuffled = permuted(arena.layout, permutations_of(arena.shapes), orders, arena.weights[0])
    tables = [
        arena.layout.views(row) | dict(arena.integers[0]) for row in (arena.weights[0], shuffled, arena.weights[1])
    ]
    files = [saved(folder / f"{name}.safetensors", table) for name, table in zip("xyz", tables, strict=True)]
    world.studio.sources.know(files, pictures_of(world))
    return write_recipe(files, "rebasin", {}, buffers, pictures_of(world))


def pictures_of(world: World) -> DecodedCache:
    pictures = world.studio.workspace.pictures(world.source, None)
    assert pictures is not None
    return pictures


@pytest.mark.parametrize("buffers", ["average", "gaussian", "recalibrate"])
def test_matching_a_shuffled_copy_takes_the_barrier_away(world: World, tmp_path: Path, buffers: str) -> None:
    recipe = with_a_shuffled_copy(world, tmp_path, buffers)
    first, second = recipe_barriers(recipe, world.studio.runner, pictures_of(world))
    assert (first["name"], first["anchor"], first["buffers"], first["alphas"]) == ("y", "x", buffers, list(ALPHAS))
    assert first["moved"] > 0 and first["units"] == 16 and second["name"] == "z"
    before, after = first["before"], first["after"]
    assert before["loss"][0] == after["loss"][0] and before["loss"][-1] == after["loss"][-1], (
        "the ends are the same networks"
    )
    assert before["loss"][0] == pytest.approx(before["loss"][-1], abs=1e-5)
    assert len(set(before["loss"][1:-1])) > 1
    if buffers != "recalibrate":
        assert after["barriers"]["loss"]["entezari"] == pytest.approx(0, abs=1e-5)
        assert after["miou"] == pytest.approx([after["miou"][0]] * 5, abs=1e-6)
    text = barrier_text(first)
    assert (
        f"statistics: {buffers}" in text
        and "5 alphas, 2 pictures" in text
        and "mIoU barrier" in text
        and "mean of the ends" in text
    )


def test_the_middle_is_what_the_merged_files_give(world: World, tmp_path: Path) -> None:
    checkpoints = [world.studio.workspace.get(name).checkpoint for name in "ab"]
    pictures, runner = pictures_of(world), world.studio.runner
    world.studio.sources.know(checkpoints, pictures)  # type: ignore[arg-type]
    (entry,) = recipe_barriers(write_recipe(checkpoints, "rebasin", {}, "average"), runner, pictures)  # type: ignore[arg-type]
    for method, parameters, path in (("rebasin", {}, entry["after"]), ("linear", {"alpha": 0.5}, entry["before"])):
        recipe = write_recipe(checkpoints, method, parameters, "average")  # type: ignore[arg-type]
        world.studio.merge(recipe, checkpoints, tmp_path / "m.safetensors")  # type: ignore[arg-type]
        alone = world.studio.evaluate(open_checkpoint(tmp_path / "m.safetensors"), pictures)
        assert path["miou"][2] == pytest.approx(alone["miou"], abs=1e-6) and path["loss"][2] == pytest.approx(
            alone["loss"], abs=1e-6
        )
    with pytest.raises(UsageError, match="the method rebasin"):
        recipe_barriers(recipe, runner, pictures)


def test_points_are_shared_with_sweeps_and_measured_once(world: World, forwards: list[int]) -> None:
    world.studio.sweep(world.view()).measure(0.25)
    forwards.clear()
    comparison = world.studio.comparisons.open(["a", "b"], world.source, None, Choices(methods=("rebasin",)))
    comparison.measure()
    assert len(forwards) == 2 * 3, "three points after the match, of which the merge is one"
    row = next(row for row in comparison.snapshot()["rows"] if row["name"] == "rebasin")
    assert row["state"] == "measured" and row["barriers"][0]["name"] == "b"
    assert "units moved" in row["note"] and "loss barrier" in row["note"] and "statistics: average" in row["note"]
    forwards.clear()
    again = world.reopened().studio.comparisons.open(["a", "b"], world.source, None, Choices(methods=("rebasin",)))
    again.measure()
    assert not forwards
    assert next(row for row in again.snapshot()["rows"] if row["name"] == "rebasin")["note"] == row["note"]


def test_a_match_that_moves_nothing_measures_nothing(world: World, tmp_path: Path, forwards: list[int]) -> None:
    near = {name: value * 1.01 if value.is_floating_point() else value for name, value in tiny_tensors(1).items()}
    save_tensors(tmp_path / "files" / "near.safetensors", near)
    world.studio.workspace.refresh()
    comparison = world.studio.comparisons.open(["a", "near"], world.source, None, Choices(methods=("rebasin",)))
    comparison.measure()
    row = next(row for row in comparison.snapshot()["rows"] if row["name"] == "rebasin")
    assert "0 of 16 units moved" in row["note"] and "the barrier is unchanged" in row["note"]
    assert row["barriers"][0]["before"] is None and barrier_text(row["barriers"][0]) == ""
    assert len(forwards) == 2 * 3


def test_cancelled_half_way_the_points_stay(world: World, tmp_path: Path, forwards: list[int]) -> None:
    recipe, runner, pictures = with_a_shuffled_copy(world, tmp_path), world.studio.runner, pictures_of(world)

    def until_the_third(done: int, total: int) -> None:
        if done >= 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        recipe_barriers(recipe, runner, pictures, until_the_third)
    known, seen = len(forwards), []
    forwards.clear()
    recipe_barriers(recipe, runner, pictures, lambda done, total: seen.append((done, total)))
    # The shuffle is undone, so that three points after the first match are the anchor itself.
    assert known and known + len(forwards) == 2 * (3 + 3 * 3), "every picture once, whenever it was cancelled"
    assert seen[-1][0] == seen[-1][1]


def test_pictures_without_masks_are_refused(world: World, tmp_path: Path) -> None:
    bare = world.studio.workspace.open_pictures(f"pictures:{folder_data(tmp_path / 'bare', 1, masks=False)}", None)
    with pytest.raises(DataError, match="no masks"):
        recipe_barriers(with_a_shuffled_copy(world, tmp_path), world.studio.runner, bare)


def test_merge_says_what_the_match_did_to_the_barrier(
    tmp_path: Path, capsys: pytest.CaptureFixture, world: World
) -> None:
    files = [str(tiny_file(tmp_path / "more", f"c{seed}", seed)) for seed in range(3)]
    data = ["--data", f"folder:{folder_data(tmp_path / 'labelled', 2)}", "--home", str(tmp_path / "cli")]
    main(
        [
            "merge",
            "--method",
            "rebasin",
            "--checkpoints",
            *files,
            "--out",
            str(tmp_path / "m.safetensors"),
            *data,
            "--save-recipe",
            str(tmp_path / "r.yaml"),
            "--json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in found["barriers"]] == ["c1", "c2"]
    assert set(found["barriers"][0]["after"]["barriers"]["loss"]) == {"entezari", "frankle"}
    main(["merge", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "n.safetensors"), *data])
    shown = capsys.readouterr().out
    assert "units moved" in shown and "c1 to c0: loss barrier" in shown
    main(["merge", "--method", "rebasin", "--checkpoints", *files, "--out", str(tmp_path / "o.safetensors"), *data[2:]])
    assert "barrier " not in capsys.readouterr().out
