"""Posteriors from training to masks: the verbs, recipes of samples, comparisons and views."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import softmax_of, tiny_world
from test_cli import place, refused, said  # noqa: F401 - fixtures
from test_mixtures import built_labels, labels

from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.studio import Selection
from fusionlib.studio.sampling import sampling_recipe

RUN = ("train", "--data", "folder:town", "--arch", "tiny", "--batch", "1", "--crop", "16x16", "--start", "a.pth")
SWAG = (*RUN, "--regime", "swag", "--epochs", "3", "--lr", "0.05", "--out", "run")
P = "run/swag.safetensors"


def tensors(file: Checkpoint) -> dict[str, torch.Tensor]:
    return {name: file.read(name) for name in file.tensors}


def test_a_run_leaves_a_posterior_which_is_inspected_measured_and_merged_as_its_mean(place: Path, said) -> None:
    run = said(*SWAG)
    assert [point["role"] for point in run["points"]] == ["posterior"]
    report = said("inspect", P, "a.pth")
    assert report["compatible"] is True and report["checkpoints"][0]["architecture"] == "tiny"
    assert any("the mean of a posterior ('swag')" in note for note in report["checkpoints"][0]["notes"])
    said("merge", P, "a.pth", "--alpha", "1", "--out", "mean.safetensors")
    assert open_checkpoint("mean.safetensors").posterior is None
    mean, merged = (said("evaluate", name, "--data", "folder:town") for name in (P, "mean.safetensors"))
    assert mean["miou"] == merged["miou"] and "forwards" not in mean


def test_samples_are_checkpoints_of_the_same_bytes_for_the_same_seed(place: Path, said, refused) -> None:
    said(*SWAG)
    first = said("sample", P, "--count", "3", "--seed", "4", "--scale", "0.5", "--out", "one")
    assert first["kind"] == "swag" and first["about"] == {"collected": 3, "kept": 3} and first["buffers"] == "average"
    assert [Path(one["path"]).name for one in first["files"]] == [
        f"sample-00{number}.safetensors" for number in (1, 2, 3)
    ]
    again = said("sample", P, "--count", "2", "--seed", "4", "--scale", "0.5", "--out", "two")
    for one, other in zip(first["files"], again["files"], strict=False):
        assert Path(one["path"]).read_bytes() == Path(other["path"]).read_bytes()
    other = said("sample", P, "--count", "1", "--out", "other")
    assert other["files"][0]["fingerprint"] not in {one["fingerprint"] for one in first["files"]}
    mean, sample = (tensors(open_checkpoint(path)) for path in (P, first["files"][0]["path"]))
    assert list(mean) == list(sample)
    for name in mean:
        same = "running" in name or not mean[name].is_floating_point()
        assert torch.equal(mean[name], sample[name]) is same, name
    about = json.loads(open_checkpoint(first["files"][1]["path"]).metadata["sample"])
    assert about["number"] == 2 and about["seed"] == 4 and about["of"] == open_checkpoint(P).fingerprint
    anew = said("sample", P, "--count", "2", "--seed", "4", "--scale", "0.5", "--out", "data", "--data", "folder:town")
    measured, own = (tensors(open_checkpoint(Path(one) / "sample-001.safetensors")) for one in ("data", "one"))
    assert anew["buffers"] == "recalibrate" and torch.equal(measured["stem.weight"], own["stem.weight"])
    assert not torch.equal(measured["norm.running_mean"], own["norm.running_mean"])
    assert "is no posterior" in refused("sample", "a.pth", "--out", "no")
    assert "--out DIR" in refused("sample", P) and "count" in refused("sample", P, "--count", "0", "--out", "no")
    assert not Path("no").exists()


def test_all_samples_together_are_a_recipe_that_is_measured_and_not_written(place: Path, said, refused) -> None:
    said(*SWAG)
    made = said("sample", P, "--count", "4", "--scale", "2", "--save-recipe", "s.yaml", "--out", "files")
    together = said("evaluate", "s.yaml", "--data", "folder:town", "--calibration")
    assert together["forwards"] == 4 and together["method"] == "samples"
    files = [one["path"] for one in made["files"]]
    ensemble = said("evaluate", files[0], "--with", *files[1:], "--data", "folder:town", "--calibration")
    own = {"path", "fingerprint", "with", "rule", "method", "parameters", "seconds"}
    figures = {name: value for name, value in ensemble.items() if name not in own and "pass" not in name}
    assert figures == {name: together[name] for name in figures} and len(figures) > 12, "calibration too"
    assert together["loss"] != said("evaluate", P, "--data", "folder:town")["loss"]
    assert "4 networks" in refused("merge", "s.yaml", "--out", "m.safetensors")
    assert "4 networks that answer together" in refused("inspect", "s.yaml")
    said("sample", P, "--count", "1", "--save-recipe", "one.yaml")
    said("merge", "one.yaml", "--out", "m.safetensors")
    said("sample", P, "--count", "1", "--out", "one")
    assert all(
        torch.equal(one, tensors(open_checkpoint("one/sample-001.safetensors"))[name])
        for name, one in tensors(open_checkpoint("m.safetensors")).items()
    )


def test_a_comparison_has_samples_as_a_row_of_ones_own(place: Path, said) -> None:
    said(*SWAG)
    said("sample", P, "--count", "3", "--save-recipe", "s.yaml")
    rows = ("--methods", "samples", "--try", "samples anchor=1 count=3")
    table = said("compare", "a.pth", P, "--data", "folder:town", *rows)
    (plain,) = (row for row in table["rows"] if row["group"] == "methods")
    (own,) = (row for row in table["rows"] if row["group"] == "own")
    assert "Needs a posterior" in plain["note"] and own["forwards"] == 3 and own["command"] is None
    assert own["miou"] == said("evaluate", "s.yaml", "--data", "folder:town")["miou"]


def test_a_view_shows_samples_and_their_masks_are_those_of_the_recipe(tmp_path: Path, place: Path, said) -> None:
    said(*SWAG)
    with tiny_world(tmp_path / "world", count=2) as world:
        (tmp_path / "world" / "files" / "p.safetensors").write_bytes(Path(P).read_bytes())
        studio = world.reopened().studio
        view = studio.view(Selection("p", "a", studio.workspace.sources[0].name, None, "average"))
        method = build_method("samples", {"count": 3, "scale": 3.0})
        world.studio.store.close()
        world.studio = studio
        assert (labels(view.frame(0, method).png) == built_labels(world, view, method)).all()
        with pytest.raises(UsageError, match="a is no posterior"):
            view.frame(0, build_method("samples", {"anchor": 1}))


def test_the_answer_is_the_mean_of_the_samples_probabilities(place: Path, said, tmp_path: Path) -> None:
    said(*SWAG)
    with tiny_world(tmp_path / "world", count=1) as world:
        file = open_checkpoint(P)
        recipe = sampling_recipe(file, {"count": 3, "seed": 1}, None, 1)
        world.studio.sources.know([file])
        built = world.studio.runner.builder.build(recipe)
        picture = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
        found = world.studio.worker.run(lambda: built.logits(picture[None], (32, 48)))[0].softmax(0)
        said("sample", P, "--count", "3", "--seed", "1", "--out", "files")
        members = [tensors(open_checkpoint(path)) for path in sorted(Path("files").glob("*.safetensors"))]
        wanted = torch.stack([softmax_of(member, picture) for member in members]).mean(0)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_kfac_says_which_tensors_have_a_diagonal_and_asks_for_pictures_to_choose_by(
    place: Path, said, refused, capsys
) -> None:
    from fusionlib.cli import main

    kfac = (*RUN, "--regime", "kfac", "--epochs", "1", "--out", "k")
    assert "Give --select" in refused(*kfac)
    assert "chooses nothing" in refused(*SWAG, "--select", "folder:town")
    run = said(*kfac, "--select", "folder:town", "--set", "trials=1")
    assert [point["role"] for point in run["points"]] == ["epoch", "posterior"]
    drawn = said("sample", "k/kfac.safetensors", "--count", "2", "--out", "files")
    assert drawn["about"]["diagonal"] == ["norm.bias", "norm.weight", "norm2.bias", "norm2.weight"]
    assert drawn["about"]["tau"] in [10.0**power for power in range(7)]
    main(["sample", "k/kfac.safetensors", "--count", "2", "--out", "files"])
    assert "a diagonal alone: norm.bias, norm.weight, norm2.bias and 1 more" in capsys.readouterr().out
