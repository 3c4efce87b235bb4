"""Several views of a picture answered as one: against the mean written out, and wherever a network is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import folder_data, pictures, tiny_checkpoints, tiny_registered
from pydantic import ValidationError
from torch.nn.functional import interpolate

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.cli import main
from fusionlib.engine.build import Builder, forwards_of
from fusionlib.engine.merge import Merger
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.engine.views import resized
from fusionlib.engine.worker import Worker
from fusionlib.errors import UsageError
from fusionlib.recipe import AT_ONCE, Recipe, Views, read_recipe
from fusionlib.studio.export import run_recipe

CPU = torch.device("cpu")
BOTH = Views(scales=(0.5, 1.0, 1.5), flip=True)


@pytest.fixture(scope="module", autouse=True)
def network():
    with tiny_registered():
        yield


@pytest.fixture
def files(tmp_path: Path) -> list[Checkpoint]:
    return tiny_checkpoints(tmp_path, 2)


@pytest.fixture
def builder(files: list[Checkpoint]) -> Builder:
    merger = Merger(Worker("views"), CPU)
    merger.sources.know(files)
    return Builder(merger)


def viewed(recipe: Recipe, views: Views) -> Recipe:
    return recipe.model_copy(update={"views": views})


@pytest.mark.parametrize("together", [False, True])
def test_probabilities_of_every_view_are_averaged_at_the_size_of_the_annotation(
    builder: Builder, files: list[Checkpoint], together: bool
) -> None:
    recipe = write_recipe(files, "ensemble", {}, "average") if together else recipe_alone(files[0])
    plain, built = builder.build(recipe), builder.build(viewed(recipe, BOTH))
    image = pictures(1)[0]
    height, width = size = image.shape[:2]
    wanted = torch.zeros(())
    for scale in (0.5, 1.0, 1.5):
        shape = (round(scale * height), round(scale * width))
        channels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        seen = interpolate(channels, size=shape, mode="bilinear", align_corners=False).round()[0]
        seen = seen.permute(1, 2, 0).to(torch.uint8).numpy()
        wanted = wanted + plain.logits(seen[None], size).softmax(1)
        mirrored = plain.logits(np.ascontiguousarray(seen[:, ::-1])[None], size)
        wanted = wanted + mirrored.flip(3).softmax(1)
    assert torch.allclose(built.logits(image[None]).softmax(1), wanted / 6, atol=1e-6)
    assert built.forwards == 6 * plain.forwards == forwards_of(viewed(recipe, BOTH))


def test_a_picture_and_its_mirror_image_get_mirrored_answers(builder: Builder, files: list[Checkpoint]) -> None:
    built = builder.build(viewed(recipe_alone(files[0]), Views(flip=True)))
    image = pictures(1)[0][None]
    mirrored = built.logits(np.ascontiguousarray(image[:, :, ::-1])).flip(3)
    assert torch.allclose(built.logits(image), mirrored, atol=1e-6)


def test_the_picture_alone_is_no_other_network(builder: Builder, files: list[Checkpoint]) -> None:
    recipe = recipe_alone(files[0])
    keys = [builder.build(one).key for one in (recipe, viewed(recipe, AT_ONCE), viewed(recipe, BOTH))]
    assert keys[0] == keys[1] != keys[2] and builder.memo(recipe) != builder.memo(viewed(recipe, BOTH))
    turned = viewed(recipe, Views(scales=(1.5, 0.5, 1.0, 0.5), flip=True))
    assert turned.content == viewed(recipe, BOTH).content and "views" not in recipe.content
    assert recipe.model_copy(update={"temperature": 2.0, "views": BOTH}).content != viewed(recipe, BOTH).content


@pytest.mark.parametrize("scales", [(), (0.0,), (float("nan"),), (9.0,), tuple(np.linspace(0.5, 2, 17))])
def test_senseless_scales_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Views(scales=scales)


def test_no_picture_vanishes() -> None:
    assert resized(np.zeros((1, 3, 40, 3), np.uint8), 0.1).shape == (1, 1, 4, 3)


def test_views_are_measured_and_never_written(files: list[Checkpoint], tmp_path: Path) -> None:
    path, recipe = tmp_path / "views.yaml", viewed(recipe_alone(files[0]), BOTH)
    path.write_text(recipe.to_yaml())
    assert read_recipe(path) == recipe
    warm = recipe_alone(files[0]).model_copy(update={"temperature": 2.0})
    for one, what in ((recipe, "views"), (warm, "temperature")):
        with pytest.raises(UsageError, match=what):
            run_recipe(one, files[:1], tmp_path / "out.safetensors", worker=Worker("write"), device=CPU)
    assert not (tmp_path / "out.safetensors").exists()


def test_evaluate_and_compare_take_views(
    files: list[Checkpoint], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (str(item.path) for item in files)
    rest = ["--data", f"folder:{folder_data(tmp_path / 'data')}", "--home", str(tmp_path / "home")]

    def told(*words: str) -> dict:
        main([*words, *rest, "--json"])
        return json.loads(capsys.readouterr().out)

    found = told("evaluate", first, "--scales", "1.5,0.5,1", "--flip")
    (tmp_path / "views.yaml").write_text(viewed(recipe_alone(files[0]), BOTH).to_yaml())
    again = told("evaluate", "views.yaml")
    assert found["forwards"] == 6 and found["views"] == {"scales": [0.5, 1.0, 1.5], "flip": True}
    assert found["loss"] == again["loss"] != told("evaluate", first)["loss"]
    main(["evaluate", first, "--flip", *rest])
    assert "scale 1 and flip: 2 forward passes" in capsys.readouterr().out
    main(["evaluate", first, "--scales", "2", *rest])
    assert "scale 2\n" in capsys.readouterr().out, "one pass too, but not of the picture as it is"
    *_, row = told("compare", first, second, "--rows", "views")["rows"]
    assert row["forwards"] == 12 and row["group"] == "views" and row["miou"] is not None and row["command"] is None
    with pytest.raises(SystemExit):
        main(["evaluate", first, "--scales", "1,x", *rest])
    assert "1 to 16 numbers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", first, "--scales", "", *rest])
    assert "1 to 16 numbers" in capsys.readouterr().err
