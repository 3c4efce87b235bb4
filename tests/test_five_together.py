"""Five networks that answer together are evaluated, calibrated, analysed, compared and looked at as one network is."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers import World, softmax_of, tiny_file, tiny_tensors, tiny_world
from PIL import Image

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.engine.recipes import write_recipe
from fusionlib.merging.build import build_method
from fusionlib.studio import Selection

SEEDS = (1, 2, 3, 4, 5)
LETTERS = "abcde"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("five")
    for seed in SEEDS[2:]:
        tiny_file(folder / "files", LETTERS[seed - 1], seed)
    with tiny_world(folder, count=3) as world:
        files = [open_checkpoint(folder / "files" / f"{letter}.pth") for letter in LETTERS]
        recipe = write_recipe(files, "ensemble", {}, "average")
        (folder / "together.yaml").write_text(recipe.to_yaml())
        (folder / "cooler.yaml").write_text(recipe.model_copy(update={"temperature": 2.0}).to_yaml())
        yield world


@pytest.fixture
def said(world: World, capsys: pytest.CaptureFixture[str]):
    def run(verb: str, *arguments: str) -> Any:
        data = ["--data", f"folder:{world.folder / 'data'}", "--home", str(world.folder / "verbs")]
        main([verb, *(text.format(world.folder) for text in arguments), *data, "--json"])
        return json.loads(capsys.readouterr().out)

    return run


def probabilities(image: np.ndarray) -> torch.Tensor:
    """What the five say together, in float64 and with nothing but torch."""
    return torch.stack([softmax_of(tiny_tensors(seed), image) for seed in SEEDS]).mean(0)


def test_it_is_evaluated_with_bins_and_temperatures(world: World, said) -> None:
    found = said("evaluate", "{0}/together.yaml", "--calibration", "--measure", "temperature")
    assert found["forwards"] == 5 and found["ece_sample_weighted"] is not None
    pictures = world.studio.workspace.open_pictures(f"folder:{world.folder / 'data'}", None)
    total, pixels = 0.0, 0
    for index in range(len(pictures)):
        sample = pictures.load(index)
        truth = torch.from_numpy(sample.truth).long()
        labelled = truth != 255
        chances = probabilities(sample.image).gather(0, truth.clamp(max=2)[None])[0][labelled]
        total, pixels = total - float(chances.log().sum()), pixels + int(labelled.sum())
    assert found["loss"] == pytest.approx(total / pixels, abs=1e-5)
    assert found["temperature"] is not None and found["nll_after"] <= found["loss"] + 1e-9
    cooler = said("evaluate", "{0}/cooler.yaml", "--calibration")
    assert cooler["miou"] == found["miou"] and cooler["loss"] != found["loss"]
    fitted = said("studies", "temperature", "{0}/together.yaml")
    assert fitted["after"] is not None and fitted["fit"]["temperature"] > 0


def test_its_errors_are_analysed_and_it_stands_in_the_comparison(said) -> None:
    alone = said("evaluate", "{0}/together.yaml")
    errors = said("errors", "--recipe", "{0}/together.yaml", "--against", "better")
    assert errors["miou"]["merge"] == pytest.approx(alone["miou"])
    rows = said("compare", *(f"{{0}}/files/{letter}.pth" for letter in LETTERS))["rows"]
    (row,) = (one for one in rows if one["method"] == "ensemble")
    assert row["state"] == "measured" and row["miou"] == pytest.approx(alone["miou"]) and row["forwards"] == 5


def test_it_is_looked_at_and_measured_in_explore(world: World) -> None:
    view = world.studio.view(Selection("a", "b", world.source, None, "average", tuple("cde")))
    method = build_method("ensemble", {})
    frame = view.frame(0, method)
    assert frame.png == view.frame(0, 0.3, "ensemble").png
    image = np.asarray(view.need_pictures().load(0).image)
    labels = np.asarray(Image.open(io.BytesIO(frame.png)))[..., 0]
    wanted = probabilities(image).argmax(0).numpy()
    assert (labels == wanted).mean() > 0.999, "but for ties in float32"
    doubtful = np.asarray(Image.open(io.BytesIO(view.frame(0, method, doubt=True).png)))
    assert doubtful.shape[0] == 2 * labels.shape[0]
    work = world.studio.mixture(view, method)
    work.begin()
    work.wait(30)
    assert work.state == "done"
