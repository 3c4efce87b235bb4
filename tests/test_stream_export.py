"""Exported files hold to the bit what the preview shows, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml
from helpers import (
    CPU,
    TinyArchitecture,
    World,
    folder_data,
    pictures,
    saved,
    tiny_checkpoints,
    tiny_file,
    tiny_tensors,
    tiny_world,
)

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.rounding import round_to_dtype
from fusionlib.checkpoints.sources import open_sources
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.engine.blend import Blend
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, Cancelled, FusionError, LayoutError, RecipeError, UsageError
from fusionlib.merging import stream
from fusionlib.merging.buffers import merged_integers, settle
from fusionlib.merging.linear import Linear
from fusionlib.merging.stream import stream_merge
from fusionlib.recipe import Calibration, Recipe, read_recipe
from fusionlib.studio import write_recipe

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
POLICIES = ("average", "gaussian", "anchor")
IMAGES = pictures(3)


def run(call):
    return call()


def in_memory(checkpoints: list[Checkpoint], method: Linear, policy: str) -> dict[str, torch.Tensor]:
    """The merge as the preview makes it, tensor by tensor in the files' own dtypes."""
    arena = Arena.pack(checkpoints)
    row = method(arena).weights[0]
    settle(policy, arena, method, row)
    round_to_dtype(arena.layout, row)
    floats = {entry.name: arena.layout.view(row, entry.name).to(entry.dtype) for entry in arena.layout.entries}
    return {**floats, **merged_integers(policy, arena, method)}


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("weights", [(0.3, 0.7), (1.0, 0.0), (0.0, 1.0), (0.2, 0.5, 0.3)])
def test_the_file_is_the_merge_in_memory(
    tmp_path: Path, dtype: torch.dtype, policy: str, weights: tuple[float, ...]
) -> None:
    checkpoints = tiny_checkpoints(tmp_path, len(weights), dtype)
    method = Linear(weights=weights)
    stream_merge(checkpoints, method.shares(len(weights)), policy, tmp_path / "out.safetensors", {})
    written, expected = open_checkpoint(tmp_path / "out.safetensors"), in_memory(checkpoints, method, policy)
    assert list(written.tensors) == list(checkpoints[0].tensors)
    assert [name for name in expected if not same(written.read(name), expected[name])] == []


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("odd", ["body.weight", "norm.running_mean"])
def test_files_of_mixed_dtypes_too(tmp_path: Path, policy: str, odd: str) -> None:
    for wide in (torch.float64, torch.float16):
        tables = [{**tiny_tensors(seed), odd: tiny_tensors(seed)[odd].to(wide)} for seed in (1, 2)]
        checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
        stream_merge(checkpoints, (0.3, 0.7), policy, tmp_path / "out.safetensors", {})
        written, expected = open_checkpoint(tmp_path / "out.safetensors"), in_memory(checkpoints, Linear(0.3), policy)
        assert [name for name in expected if not same(written.read(name), expected[name])] == []


def test_small_pieces_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = tiny_checkpoints(tmp_path)
    stream_merge(checkpoints, (0.3, 0.7), "gaussian", tmp_path / "whole.safetensors", {})
    monkeypatch.setattr(stream, "CHUNK", 7)
    seen: list[tuple[int, int]] = []
    stream_merge(checkpoints, (0.3, 0.7), "gaussian", tmp_path / "cut.safetensors", {}, lambda *at: seen.append(at))
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "cut.safetensors").read_bytes()
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] == sum(
        info.numel for info in checkpoints[0].tensors.values() if info.dtype.is_floating_point
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with tiny_world(tmp_path_factory.mktemp("world"), count=4) as opened:
        yield opened


def calibration(world: World) -> DecodedCache:
    return world.studio.workspace.pictures(world.source, None)


def network_for(arena: Arena) -> BoundNetwork:
    return BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)


def reloaded(path: Path) -> BoundNetwork:
    arena = Arena.pack([open_checkpoint(path)])
    network = network_for(arena)
    network.load(arena.weights[0])
    return network


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("policy", [*POLICIES, "recalibrate"])
def test_the_reloaded_network_answers_as_the_preview_did(
    world: World, tmp_path: Path, policy: str, dtype: torch.dtype
) -> None:
    checkpoints = tiny_checkpoints(tmp_path, 2, dtype)
    arena = Arena.pack(checkpoints)
    blend = Blend(arena, network_for(arena), policy, calibration=calibration(world))
    blend.set(Linear(0.3), run)
    recipe = write_recipe(checkpoints, "linear", {"alpha": 0.3}, policy, calibration(world))
    export = world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", calibration(world))
    assert torch.equal(reloaded(export.path).logits(IMAGES), blend.network.logits(IMAGES))
    assert export.notes == blend.notes
    written = open_checkpoint(export.path)
    assert {name: info.dtype for name, info in written.tensors.items()} == {
        name: info.dtype for name, info in checkpoints[0].tensors.items()
    }


def test_recalibration_takes_the_number_of_pictures_that_the_recipe_says(world: World, tmp_path: Path) -> None:
    checkpoints = tiny_checkpoints(tmp_path)
    prints = set()
    for count in (1, 4, 9):
        recipe = write_recipe(checkpoints, "linear", {"alpha": 0.3}, "recalibrate", calibration(world), count)
        export = world.studio.merge(recipe, checkpoints, tmp_path / f"{count}.safetensors", calibration(world))
        prints.add(tuple(open_checkpoint(export.path).read("norm.running_mean").tolist()))
    assert len(prints) == 2, "there are only four pictures"


@pytest.mark.parametrize("count", [0, -3])
def test_recalibration_with_no_pictures_at_all_is_refused(world: World, tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="at least one"):
        write_recipe(tiny_checkpoints(tmp_path), "linear", {"alpha": 0.3}, "recalibrate", calibration(world), count)


def test_a_blend_goes_back_and_forth_without_a_trace(world: World, tmp_path: Path) -> None:
    arena = Arena.pack(tiny_checkpoints(tmp_path))
    before = arena.weights.clone()
    for policy in (*POLICIES, "recalibrate"):
        blend = Blend(arena, network_for(arena), policy, calibration=calibration(world))
        blend.set(Linear(0.3), run)
        first = blend.network.logits(IMAGES)
        blend.set(Linear(0.9), run)
        assert not torch.equal(blend.network.logits(IMAGES), first)
        for number in (1, 0):
            blend.set_alone(number, run)
            alone = network_for(arena)
            alone.load(arena.weights[number])
            assert torch.equal(blend.network.logits(IMAGES), alone.logits(IMAGES)), "alone with its own statistics"
        blend.set(Linear(0.3), run)
        assert torch.equal(blend.network.logits(IMAGES), first)
    assert torch.equal(arena.weights, before)


def test_an_interrupted_recalibration_is_begun_anew(world: World, tmp_path: Path) -> None:
    arena = Arena.pack(tiny_checkpoints(tmp_path))
    blend = Blend(arena, network_for(arena), "recalibrate", calibration=calibration(world))
    blend.set(Linear(0.3), run)
    good = blend.network.flat.clone()
    calls = []

    def stops(call):
        calls.append(1)
        if len(calls) == 4:
            raise Cancelled
        return call()

    with pytest.raises(Cancelled):
        blend.set(Linear(0.6), stops)
    blend.set(Linear(0.3), run)
    assert torch.equal(blend.network.flat, good)


# --- what the file says about itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["gaussian", "recalibrate"])
def test_the_recipe_travels_without_folders_and_runs_again_to_the_same_bytes(
    world: World, tmp_path: Path, policy: str
) -> None:
    secret = tmp_path / "secret folder"
    tiny_file(secret, "a", 1), tiny_file(secret, "b", 2)
    checkpoints = [open_checkpoint(secret / "a.pth"), open_checkpoint(secret / "b.pth")]
    recipe = write_recipe(checkpoints, "linear", {"alpha": 0.25}, policy, calibration(world))
    first = world.studio.merge(recipe, checkpoints, tmp_path / "first.safetensors", calibration(world)).path
    content = first.read_bytes()
    for hidden in ("secret folder", str(tmp_path), str(world.folder), os.sep + "tmp"):
        assert hidden.encode() not in content
    text = open_checkpoint(first).metadata["recipe"]
    assert yaml.safe_load(text)["parameters"] == {"alpha": 0.25}
    (secret / "recipe.yaml").write_text(text)
    again = read_recipe(secret / "recipe.yaml")
    second = world.studio.merge(
        again, open_sources(again, [secret]), tmp_path / "second.safetensors", calibration(world)
    ).path
    assert second.read_bytes() == content


def test_other_calibration_pictures_are_refused(world: World, tmp_path: Path) -> None:
    checkpoints = tiny_checkpoints(tmp_path)
    recipe = write_recipe(checkpoints, "linear", {"alpha": 0.25}, "recalibrate", calibration(world))
    other = DecodedCache(open_dataset(f"folder:{folder_data(tmp_path / 'other', 2)}"), 1 << 20)
    for wrong in (other, None):
        with pytest.raises(RecipeError, match="not those of the recipe"):
            world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", wrong)
    assert not (tmp_path / "out.safetensors").exists()


def test_recalibration_of_an_unknown_network_says_what_is_missing(world: World, tmp_path: Path) -> None:
    tables = [{"weight": torch.randn(3, generator=torch.Generator().manual_seed(seed))} for seed in (1, 2)]
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    recipe = write_recipe(checkpoints, "linear", {"alpha": 0.25}, "recalibrate", calibration(world))
    with pytest.raises(ArchitectureError, match="--model"):
        world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", calibration(world))
    plain = write_recipe(checkpoints, "linear", {"alpha": 0.25}, "average")
    merged = open_checkpoint(world.studio.merge(plain, checkpoints, tmp_path / "out.safetensors").path).read("weight")
    assert torch.equal(merged, torch.lerp(tables[0]["weight"], tables[1]["weight"], 0.75))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "nonsense"},
        {"parameters": {"beta": 1}},
        {"parameters": {"alpha": 3}},
        {"buffers": "median"},
        {"parameters": {"weights": [0.5, 0.6]}},
        {"parameters": {"weights": [1.0]}},
        {"calibration": Calibration(data="x", fingerprint="y", count=1), "buffers": "recalibrate"},
    ],
)
def test_a_recipe_that_cannot_be_carried_out_writes_nothing_and_keeps_the_old_file(
    world: World, tmp_path: Path, change: dict
) -> None:
    checkpoints = tiny_checkpoints(tmp_path)
    recipe: Recipe = write_recipe(checkpoints, "linear", {"alpha": 0.5}, "average").model_copy(update=change)
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    with pytest.raises(FusionError):
        world.studio.merge(recipe, checkpoints, out, None)
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["c0.pth", "c1.pth", "out.safetensors"]


def test_a_failure_half_way_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoints = tiny_checkpoints(tmp_path)
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"old")
    for problem in (Cancelled(), MemoryError(), KeyboardInterrupt()):

        def stop(done: int, total: int, problem: BaseException = problem) -> None:
            if done > total / 2:
                raise problem

        with pytest.raises(type(problem)):
            stream_merge(checkpoints, (0.5, 0.5), "average", out, {}, stop)
        assert out.read_bytes() == b"old"
        assert sorted(os.listdir(tmp_path)) == ["c0.pth", "c1.pth", "out.safetensors"]


def test_files_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = open_checkpoint(tiny_file(tmp_path, "other", 5, classes=4))
    with pytest.raises(LayoutError, match=r"head\.weight"):
        stream_merge([*tiny_checkpoints(tmp_path, 1), other], (0.5, 0.5), "average", tmp_path / "out.safetensors", {})
    assert not (tmp_path / "out.safetensors").exists()
