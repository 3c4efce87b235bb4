"""Networks out of recipes: equal networks have one build key, whoever asks for them and by whatever way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import (
    TinyArchitecture,
    folder_data,
    pictures,
    saved,
    softmax_of,
    tiny_checkpoints,
    tiny_registered,
    tiny_tensors,
)
from safetensors.torch import save_file

from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.contracts import ARCHITECTURES, METHODS
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.engine.build import Builder
from fusionlib.engine.merge import Merger
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.engine.worker import Worker
from fusionlib.errors import ArchitectureError, RecipeError, UsageError
from fusionlib.recipe import Recipe
from fusionlib.studio.export import run_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with tiny_registered():
        yield


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker("build")


@pytest.fixture
def files(tmp_path: Path) -> list[Checkpoint]:
    return tiny_checkpoints(tmp_path, 3)


@pytest.fixture
def builder(files: list[Checkpoint], worker: Worker) -> Builder:
    merger = Merger(worker, CPU)
    merger.sources.know(files)
    return Builder(merger)


def linear(files: list[Checkpoint], *weights: float, buffers: str = "average", **more) -> Recipe:
    return write_recipe(files[: len(weights)], "linear", {"weights": list(weights)}, buffers, **more)


@pytest.mark.parametrize("way", ["built", "written"])
def test_files_sorted_by_name_are_ramped_in_the_order_of_their_network(
    builder: Builder, files: list[Checkpoint], tmp_path: Path, worker: Worker, way: str
) -> None:
    for item in files:
        save_file({name: item.read(name) for name in item.tensors}, tmp_path / f"sorted-{item.name}.safetensors")
    ordered = [open_checkpoint(tmp_path / f"sorted-{item.name}.safetensors") for item in files]
    assert list(ordered[0].tensors) != list(files[0].tensors)
    builder.merger.sources.know(ordered)

    def ramped(members: list[Checkpoint]) -> dict[str, torch.Tensor]:
        recipe = write_recipe(members, "layerwise", {"anchor": 1}, "average")
        if way == "built":
            found = builder.merger.merge(recipe)
            return found.arena.layout.views(found.rows[0])
        out = run_recipe(recipe, members, tmp_path / "merged.safetensors", worker=worker, device=CPU).path
        merged = open_checkpoint(out)
        return {name: merged.read(name) for name, info in merged.tensors.items() if info.dtype.is_floating_point}

    expected = ramped(files)
    for name, found in ramped(ordered).items():  # members are folded in the order of their fingerprints, which differ
        assert torch.allclose(found, expected[name], rtol=0, atol=1e-6), name


def test_neither_order_nor_a_weight_of_nothing_makes_another_network(builder: Builder, files: list[Checkpoint]) -> None:
    a, b, _ = files
    mean = builder.build(linear(files, 0.5, 0.5)).key
    assert builder.build(write_recipe([b, a], "isotropic", {}, "average")).key == mean
    assert builder.build(write_recipe([a, b], "linear", {"alpha": 0.5}, "average")).key == mean
    alone = builder.build(recipe_alone(a)).key
    assert builder.build(linear(files, 1.0, 0.0)).key == alone != mean
    flat = write_recipe([a, b], "profile", {"weights": {}, "rest": [0.5, 0.5]}, "average")
    assert builder.build(flat).key == mean
    assert builder.build(linear(files, 0.25, 0.75)).key not in (mean, alone)
    assert builder.build(linear(files, 1.0, 0.0, buffers="anchor")).key == alone


@pytest.mark.parametrize("buffers", ["average", "gaussian", "anchor"])
def test_an_exported_file_is_the_network_that_was_shown(
    builder: Builder, files: list[Checkpoint], buffers: str, tmp_path: Path, worker: Worker
) -> None:
    recipe = linear(files, 0.2, 0.3, 0.5, buffers=buffers)
    out = run_recipe(recipe, files, tmp_path / "merged.safetensors", worker=worker, device=CPU).path
    merged = open_checkpoint(out)
    builder.merger.sources.know([merged])
    assert builder.build(recipe).key == builder.build(recipe_alone(merged)).key


def test_the_order_of_tensors_in_the_file_does_not_count(builder: Builder, tmp_path: Path) -> None:
    tensors = tiny_tensors(7)
    first = saved(tmp_path / "one.safetensors", tensors)
    path = tmp_path / "other.pth"
    torch.save(dict(reversed(tensors.items())), path)
    other = open_checkpoint(path)
    builder.merger.sources.know([first, other])
    assert first.fingerprint != other.fingerprint
    assert builder.build(recipe_alone(first)).key == builder.build(recipe_alone(other)).key


def test_an_ensemble_answers_as_the_mean_of_its_members_one_network_at_a_time(
    builder: Builder, files: list[Checkpoint]
) -> None:
    a, b, _ = files
    built = builder.build(write_recipe([a, b], "ensemble", {"rule": "softmax"}, "average"))
    image = pictures(1)[0]
    wanted = sum(softmax_of({name: item.read(name) for name in item.tensors}, image) for item in (a, b)) / 2
    assert torch.allclose(
        built.logits(image[None]).softmax(1)[0].double(), wanted.reshape(wanted.shape[-3:]), atol=1e-6
    )
    assert built.forwards == 2 and len({id(member.network) for member in built.members}) == 1
    turned = builder.build(write_recipe([b, a], "ensemble", {"rule": "softmax"}, "average"))
    assert turned.key == built.key and torch.equal(turned.logits(image[None]), built.logits(image[None]))
    assert builder.build(write_recipe([a, b], "ensemble", {"rule": "logit"}, "average")).key != built.key
    assert builder.build(write_recipe([a, a], "ensemble", {}, "average")).forwards == 2


def test_recalibration_is_part_of_the_recipe(builder: Builder, files: list[Checkpoint], tmp_path: Path) -> None:
    data = DecodedCache(open_dataset(f"folder:{folder_data(tmp_path / 'data')}", None, None), 1 << 24)
    builder.merger.sources.know([], data)
    averaged = builder.build(linear(files, 0.5, 0.5))
    measured = builder.build(linear(files, 0.5, 0.5, buffers="recalibrate", calibration=data, count=3))
    other = linear(files, 0.5, 0.5, buffers="recalibrate", calibration=data, count=2)
    assert len({averaged.key, measured.key, builder.build(other).key}) == 3
    again = linear(files, 0.5, 0.5, buffers="recalibrate", calibration=data, count=3)
    assert builder.build(again).key == measured.key and builder.memo(again) != builder.memo(other)


def test_the_memo_knows_content_and_not_places(builder: Builder, files: list[Checkpoint]) -> None:
    recipe = linear(files, 0.5, 0.5)
    assert builder.memo(recipe) == builder.memo(recipe.without_folders())
    assert builder.memo(recipe) != builder.memo(linear(files, 0.5, 0.5, dtype="float16"))
    assert builder.memo(recipe_alone(files[0])) != builder.memo(recipe_alone(files[1]))


def test_a_memo_is_kept_while_its_recipe_lives_and_architectures_stay_as_they_are(
    builder: Builder, files: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recipe] = []
    new = Builder._new_memo
    monkeypatch.setattr(
        Builder, "_new_memo", lambda self, recipe: made.append(recipe.model_copy()) or new(self, recipe)
    )
    recipe = linear(files, 0.3, 0.7)
    memo = builder.memo(recipe)
    assert builder.memo(recipe) == memo and len(made) == 1
    assert builder.memo(recipe.model_copy(update={"temperature": 2.0})) != memo, "a copy is another recipe"
    other = TinyArchitecture()
    other.code = "other"  # type: ignore[attr-defined]
    monkeypatch.setitem(ARCHITECTURES._items, "tiny", other)
    assert builder.memo(recipe) != memo, "the same weights in another network"
    monkeypatch.undo()
    assert builder.memo(recipe) == memo
    monkeypatch.setattr(METHODS.get("linear"), "version", 1000)
    assert builder.memo(recipe) != memo, "another version of the method"
    del recipe
    gc.collect()
    assert not builder._memos


def test_what_is_not_there_is_said(builder: Builder, files: list[Checkpoint], tmp_path: Path) -> None:
    unknown = saved(tmp_path / "odd.safetensors", {"odd.weight": torch.zeros(3)})
    builder.merger.sources.know([unknown])
    with pytest.raises(ArchitectureError, match="No network is known"):
        builder.build(recipe_alone(unknown))
    gone = recipe_alone(files[0]).model_dump(mode="json")
    gone["checkpoints"][0] |= {"fingerprint": "0" * 64, "path": "nowhere.safetensors"}
    with pytest.raises(RecipeError, match="not there"):
        builder.build(Recipe.model_validate(gone))
    with pytest.raises(UsageError, match="weights"):
        builder.build(linear(files, 0.5, 0.6))
