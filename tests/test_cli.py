"""The command line: what it prints for machines, and one line with status 2 for whatever is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import folder_data, saved, tiny_file, tiny_registered, tiny_tensors
from PIL import Image

from fusionlib import __version__
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.merging.linear import Linear

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with a.pth, b.pth, other.safetensors (another network) and town/ (labelled pictures), as working
    directory.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    tiny_file(tmp_path, "a", 1), tiny_file(tmp_path, "b", 2)
    saved(tmp_path / "other.safetensors", {"w": torch.ones(3), "n": torch.tensor(2)})
    folder_data(tmp_path / "town", 3)
    with tiny_registered():
        yield tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):
    """Run a verb with --json; its result."""

    def call(*arguments: object) -> dict[str, Any]:
        main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert printed.err == "", "bars and notes stay away where there is no terminal"
        return json.loads(printed.out)

    return call


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run what must fail with status 2 and exactly one line; that line."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert ended.value.code == 2 and printed.out == ""
        assert printed.err.count("\n") == 1 and printed.err.endswith("\n") and len(printed.err) > 20
        assert "Traceback" not in printed.err
        return printed.err

    return call


def test_inspect_lists_what_is_there_and_whether_it_fits(place: Path, said) -> None:
    report = said("inspect", "a.pth", "b.pth")
    assert report["compatible"] is True and report["mismatched"] == []
    for entry, name in zip(report["checkpoints"], "ab", strict=True):
        opened = open_checkpoint(place / f"{name}.pth")
        assert entry["path"] == f"{name}.pth" and entry["fingerprint"] == opened.fingerprint
        assert (entry["architecture"], entry["parameters"], entry["tensors"]) == (
            "tiny",
            opened.parameters,
            len(opened.tensors),
        )
    tiny_file(place, "c", 3, classes=4)
    report = said("inspect", "a.pth", "c.pth", "other.safetensors")
    assert report["compatible"] is False
    assert {"name": "head.bias", "shapes": [[3], [4], None]} in report["mismatched"]
    assert report["checkpoints"][2]["architecture"] is None


def test_inspect_finds_what_is_no_number(place: Path, said) -> None:
    saved(place / "bad.safetensors", {**tiny_tensors(1), "head.bias": torch.tensor([1.0, torch.nan, torch.inf])})
    report = said("inspect", "a.pth", "bad.safetensors", "--finite")
    assert report["not_finite"]["a"] == []
    assert "head.bias" in report["not_finite"]["bad"][0]


def test_the_short_form_of_merge_writes_the_merge(place: Path, said) -> None:
    result = said(
        "merge",
        "a.pth",
        "b.pth",
        "--alpha",
        "0.25",
        "--buffers",
        "average",
        "--out",
        "m.safetensors",
        "--save-recipe",
        "r.yaml",
    )
    merged = open_checkpoint(place / "m.safetensors")
    assert result["fingerprint"] == merged.fingerprint and result["path"] == "m.safetensors"
    assert (result["method"], result["parameters"], result["buffers"]) == ("linear", {"alpha": 0.25}, "average")
    arena = Arena.pack([open_checkpoint(place / f"{name}.pth") for name in "ab"])
    row = Linear(0.25)(arena).weights[0]
    assert all(torch.equal(merged.read(name), arena.layout.view(row, name)) for name in arena.layout.by_name)
    again = said("merge", "r.yaml", "--out", "again.safetensors")
    assert again["fingerprint"] == result["fingerprint"]
    (place / "embedded.yaml").write_text(merged.metadata["recipe"])
    assert said("merge", "embedded.yaml", "--out", "third.safetensors")["fingerprint"] == result["fingerprint"]


def test_merge_of_several_and_defaults(place: Path, said) -> None:
    tiny_file(place, "c", 3)
    three = said("merge", "a.pth", "b.pth", "c.pth", "--out", "three.safetensors")
    assert three["parameters"]["weights"] == [1 / 3] * 3
    given = said("merge", "a.pth", "b.pth", "c.pth", "--weights", "0,1,0", "--out", "b.safetensors")
    assert given["fingerprint"] != three["fingerprint"]
    assert torch.equal(
        open_checkpoint("b.safetensors").read("body.weight"), open_checkpoint("b.pth").read("body.weight")
    )
    assert said("merge", "a.pth", "b.pth", "--out", "h.safetensors")["parameters"] == {"alpha": 0.5}


def test_a_recipe_in_another_folder_finds_its_checkpoints(place: Path, said) -> None:
    (place / "recipes").mkdir()
    first = said("merge", "a.pth", "b.pth", "--out", "m.safetensors", "--save-recipe", "recipes/r.yaml")
    assert said("merge", "recipes/r.yaml", "--out", "n.safetensors")["fingerprint"] == first["fingerprint"]


def test_recalibration_by_recipe(place: Path, said) -> None:
    first = said(
        "merge",
        "a.pth",
        "b.pth",
        "--buffers",
        "recalibrate",
        "--data",
        "folder:town",
        "--count",
        "2",
        "--out",
        "m.safetensors",
        "--save-recipe",
        "r.yaml",
    )
    assert yaml.safe_load(Path("r.yaml").read_text())["calibration"]["count"] == 2
    assert said("merge", "r.yaml", "--out", "n.safetensors")["fingerprint"] == first["fingerprint"]


def test_evaluate_and_sweep_agree(place: Path, said) -> None:
    figures = said("evaluate", "a.pth", "--data", "folder:town")
    assert {"miou", "pixel_accuracy", "loss", "images", "iou", "precision", "recall"} <= set(figures)
    assert figures["images"] == 3 and list(figures["iou"]) == ["road", "car", "sky"]
    assert all(
        value is None or 0 <= value <= 1 for name in ("iou", "precision", "recall") for value in figures[name].values()
    )
    sweep = said("sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.5", "--buffers", "gaussian")
    assert [point["alpha"] for point in sweep["points"]] == [0, 0.5, 1]
    assert sweep["points"][2]["miou"] == figures["miou"] and sweep["points"][2]["loss"] == figures["loss"]
    best = max(sweep["points"], key=lambda point: point["miou"])
    assert sweep["best"] == {"alpha": best["alpha"], "miou": best["miou"]}
    said("merge", "a.pth", "b.pth", "--alpha", "0.5", "--buffers", "gaussian", "--out", "m.safetensors")
    merged = said("evaluate", "m.safetensors", "--data", "folder:town")
    assert merged["miou"] == sweep["points"][1]["miou"] and merged["loss"] == sweep["points"][1]["loss"]
    assert said("evaluate", "a.pth", "--data", "folder:town", "--limit", "1")["images"] == 1
    fresh = said("evaluate", "a.pth", "--data", "folder:town", "--fresh")
    spent = ("forward_passes", "forward_passes_known", "seconds")
    assert [fresh.pop(name) for name in spent[:2]] == [3, 0] and fresh.pop("seconds") > 0
    assert fresh == {name: value for name, value in figures.items() if name not in spent}


def test_output_for_people(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_file(place, "four", 4, classes=4)
    main(["inspect", "a.pth", "other.safetensors"])
    assert "They cannot be merged" in capsys.readouterr().out
    main(["inspect", "a.pth", "four.pth"])
    assert "merge with --shared: 14 of 16 tensors" in capsys.readouterr().out
    main(["inspect", "a.pth", "b.pth"])
    text = capsys.readouterr().out
    assert "a merge can be computed.\nFrom the weights alone: do not merge: separate runs, convolutions 0.0" in text
    main(["inspect", "a.pth", "b.pth", "--no-finite"])
    assert (
        "a merge can be computed; `diagnose` says whether it will work.\n" in (text := capsys.readouterr().out)
        and "weights" not in text
    )
    main(["evaluate", "a.pth", "--data", "folder:town"])
    assert "mIoU" in capsys.readouterr().out
    main(["sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "1"])
    assert "best" in capsys.readouterr().out
    main(["merge", "a.pth", "b.pth", "--out", "m.safetensors"])
    assert "m.safetensors" in capsys.readouterr().out


WRONG: list[tuple[str, str]] = [
    ("", "VERB"),
    ("frobnicate", "frobnicate"),
    ("inspect", "CHECKPOINT"),
    ("inspect nowhere.pth", "nowhere.pth"),
    ("inspect town", "town"),
    ("merge a.pth --out m.safetensors", "another checkpoint"),
    ("merge a.pth b.pth", "--out"),
    ("merge a.pth b.pth --out m.pth", ".safetensors"),
    ("merge a.pth b.pth --alpha 1.5 --out m.safetensors", "alpha"),
    ("merge a.pth b.pth --alpha nan --out m.safetensors", "alpha"),
    ("merge a.pth b.pth --alpha x --out m.safetensors", "--alpha"),
    ("merge a.pth b.pth --weights 1 --out m.safetensors", "weight"),
    ("merge a.pth b.pth --weights 0.5,x --out m.safetensors", "commas"),
    ("merge a.pth b.pth --weights 0.9,0.9 --out m.safetensors", "sum to 1"),
    ("merge a.pth b.pth --weights 0.5,0.5 --alpha 0.5 --out m.safetensors", "--weights"),
    ("merge a.pth b.pth --buffers median --out m.safetensors", "average"),
    ("merge a.pth b.pth --buffers recalibrate --out m.safetensors", "--data"),
    ("merge a.pth b.pth --buffers recalibrate --data folder:town --count 0 --out m.safetensors", "--count"),
    ("merge a.pth other.safetensors --out m.safetensors", "inspect"),
    ("merge a.pth b.pth --out nowhere/m.safetensors", "folder"),
    ("merge r.yaml --out m.safetensors", "r.yaml"),
    ("merge r.yaml a.pth --out m.safetensors", "recipe alone"),
    ("evaluate a.pth", "--data"),
    ("evaluate a.pth --data town", "folder:DIR"),
    ("evaluate a.pth --data folder:nowhere", "nowhere"),
    ("evaluate a.pth --data streets:storm", "storm"),
    ("evaluate a.pth --data folder:town --limit 0", "Limit"),
    ("evaluate a.pth --data folder:town --split val", "val"),
    ("evaluate a.pth --data folder:town --device toaster", "toaster"),
    ("evaluate a.pth --data folder:town --precision half", "float32"),
    ("evaluate other.safetensors --data folder:town", "--model"),
    ("evaluate a.pth --data folder:town --model x.py:make", "x.py"),
    ("evaluate a.pth --data pictures:town/images", "masks"),
    ("sweep a.pth b.pth --data folder:town --step 0", "Step"),
    ("sweep a.pth b.pth --data folder:town --step nan", "Step"),
    ("sweep a.pth b.pth --data folder:town --step 1e-9", "Step"),
    ("sweep a.pth b.pth --data folder:town --buffers x", "average"),
    ("sweep a.pth other.safetensors --data folder:town", "differ"),
    ("sweep a.pth b.pth --data pictures:town/images", "masks"),
    ("train --data folder:town", "--out"),
    ("train --data folder:town --out o --crop 12", "HEIGHTxWIDTH"),
    ("train --data folder:town --out o --arch none", "enet"),
    ("train --data folder:town --out o --epochs 0", "epochs"),
    ("train --data folder:town --out o --arch tiny --classes 2", "--classes"),
    ("train --data folder:town --out o --lr nan", "lr"),
    ("train --data folder:town --out o --momentum 2", "momentum"),
    ("train --data folder:town --out o --seed -1", "seed"),
    ("train --data pictures:town/images --out o", "classes"),
    ("train --data folder:town --out a.pth/o --arch tiny --epochs 1 --crop 16x16", "'o' cannot be made"),
    ("merge a.pth b.pth --out m.safetensors --save-recipe nowhere/r.yaml", "nowhere"),
    ("merge a.pth b.pth --out m.safetensors --save-recipe town", "folder of this name"),
    ("merge a.pth b.pth --out town.safetensors/m.safetensors", "no folder 'town.safetensors'"),
]


@pytest.mark.parametrize(("line", "named"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_argument_ends_with_one_line_that_says_what_to_do(place: Path, refused, line: str, named: str) -> None:
    before = sorted(path.name for path in place.iterdir() if path.name != "home")
    assert named in refused(*line.split())
    assert sorted(path.name for path in place.iterdir() if path.name != "home") == before


def test_hostile_files_end_with_one_line(place: Path, refused) -> None:
    (place / "evil.yaml").write_text("!!python/object/apply:os.system ['touch pwned']")
    (place / "deep.yaml").write_text("[" * 20_000)
    (place / "evil.pth").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    (place / "newline\n.pth").write_bytes(b"x")
    assert "evil.yaml" in refused("merge", "evil.yaml", "--out", "m.safetensors")
    assert "deep.yaml" in refused("merge", "deep.yaml", "--out", "m.safetensors")
    assert "evil.pth" in refused("inspect", "evil.pth")
    refused("inspect", "newline\n.pth")
    assert not (place / "pwned").exists() and not (place / "m.safetensors").exists()


def test_an_input_is_never_overwritten(place: Path, refused, said) -> None:
    said("merge", "a.pth", "b.pth", "--out", "m.safetensors")
    before = (place / "m.safetensors").read_bytes()
    assert "one of the checkpoints" in refused("merge", "m.safetensors", "a.pth", "--out", "./m.safetensors")
    assert (place / "m.safetensors").read_bytes() == before


def test_train_on_streets_resumes_to_the_same_checkpoints(place: Path, said, refused) -> None:
    settings = ["--data", "streets:clear:2@train", "--arch", "tiny", "--batch", "1", "--crop", "32x48", "--seed", "3"]
    unbroken = said("train", *settings, "--epochs", "2", "--out", "one")
    assert [entry["epoch"] for entry in unbroken["epochs"]] == [1, 2]
    assert "--resume" in refused("train", *settings, "--epochs", "2", "--out", "one")
    assert said("train", *settings, "--epochs", "2", "--out", "one", "--resume") == unbroken
    assert said("train", *settings, "--epochs", "2", "--out", "two")["epochs"] == unbroken["epochs"]
    for name in ("epoch-001.safetensors", "epoch-002.safetensors"):
        assert (place / "one" / name).read_bytes() == (place / "two" / name).read_bytes()
    assert said("inspect", "one/epoch-002.safetensors")["checkpoints"][0]["classes"] == 19


SMALL_RUN = ("--data", "folder:town", "--batch", "1", "--crop", "16x16", "--epochs", "2")


def test_a_regime_trains_from_a_checkpoint_whose_network_is_recognised(place: Path, said, refused, capsys) -> None:
    run = ("train", *SMALL_RUN, "--start", "a.pth", "--regime", "sse", "--set", "snapshots=2")
    found = said(*run, "--lr", "0.01", "--out", "sse")
    assert found["regime"] == "sse" and [one["file"] for one in found["points"]] == [
        "snapshot-1.safetensors",
        "snapshot-2.safetensors",
    ]
    record = json.loads((place / "sse" / "run.json").read_text())
    assert record["parameters"]["lr"] == 0.01 and record["plan"]["architecture"] == "tiny"
    assert record["command"][:3] == ["train", "--data", "folder:town"] and record["start"]["name"] == "a"
    assert "holds checkpoints" in refused(*run, "--out", "sse")
    fge = ("--regime", "fge", "--arch", "tiny", "--out", "fge", "--set", "cycle=2", "low=0.001")
    again = said("train", *SMALL_RUN, *fge)
    assert any("--start" in note for note in again["notes"]) and again["points"][0]["lr"] == 0.001
    main(["train", *SMALL_RUN, "--start", "a.pth", "--regime", "swa", "--validate", "folder:town", "--out", "swa"])
    assert "swa.safetensors   mean, after step 6" in (shown := capsys.readouterr().out)
    assert "after step     0   start: mIoU " in shown and "after step     6   swa: mIoU " in shown


def test_a_run_validates_as_evaluate_measures(place: Path, said, refused) -> None:
    run = ("train", *SMALL_RUN, "--start", "a.pth", "--regime", "swag", "--validate", "folder:town", "--out", "swag")
    assert "--validate-count -1" in refused(*run, "--validate-count", "-1")
    told = said(*run, "--cost")
    assert told["validation_passes"] == 3 * 3 and not (place / "swag").exists()
    assert told["seconds"] > told["batches"] * told["seconds_per_batch"]
    found = said(*run)["validation"]
    start, *epochs, mean = found["figures"]
    assert found["pictures"] == 3 and [one["step"] for one in epochs] == [3] and mean["name"] == "swag"
    assert start["miou"] == said("evaluate", "a.pth", "--data", "folder:town")["miou"]
    assert mean["miou"] == said("evaluate", "swag/swag.safetensors", "--data", "folder:town")["miou"]
    few = said(*run[:-1], "few", "--validate-count", "2")["validation"]
    assert few["pictures"] == 2 and len(few["figures"]) == 3


@pytest.mark.parametrize(("where", "lr"), [(("--start", "a.pth"), 0.02), (("--arch", "tiny"), 0.2)])
def test_a_trained_start_has_a_lower_rate_by_default(place: Path, said, where: tuple[str, str], lr: float) -> None:
    """That of the paper is for random weights, and ruins what is trained."""
    for name in ("sse", "csgld"):
        said("train", *SMALL_RUN, *where, "--regime", name, "--set", "snapshots=1", "--epochs", "1", "--out", name)
        record = json.loads((place / name / "run.json").read_text())
        assert record["parameters"]["lr"] == record["lr"]["values"][0] == lr
        listed = next(one for one in said("regimes")["regimes"] if one["name"] == name)["parameters"]
        rate = next(one for one in listed if one["name"] == "lr")
        assert (rate["default"], rate["from_start"]) == (0.2, 0.02)


def test_your_own_network_trains_on_crops_as_large_as_what_it_sees(place: Path, said) -> None:
    (place / "mine.py").write_text(
        "from torch import nn\nWINDOW = 16\ndef build(classes):\n    return nn.Conv2d(3, classes, 3, padding=1)\n"
    )
    run = (
        "train",
        "--data",
        "folder:town",
        "--model",
        "mine.py:build",
        "--batch",
        "1",
        "--epochs",
        "1",
        "--out",
        "own",
    )
    assert said(*run)["epochs"][0]["epoch"] == 1
    assert json.loads((place / "own" / "run.json").read_text())["plan"]["crop"] == [16, 16]
    listed = said("inspect", "own/epoch-001.safetensors", "--model", "mine.py:build")["checkpoints"][0]
    assert listed["classes"] == 3
    del ARCHITECTURES._items["mine:build"]


def test_several_data_and_unlabelled_pictures_are_trained_on(place: Path, said) -> None:
    folder_data(place / "night", 2, masks=False)
    run = ("train", *SMALL_RUN, "--data", "folder:town", "--target", "pictures:night", "--regime", "ema-teacher")
    said(*run, "--start", "a.pth", "--out", "adapted")
    record = json.loads((place / "adapted" / "run.json").read_text())
    assert record["data"]["pictures"] == 6 and record["target"]["pictures"] == 2 and record["length"] == 6


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--regime sgd", "one of csgld"),
        ("--regime sse --schedule poly", "--schedule with --regime sse"),
        ("--regime sse --lr 0.1 --set lr=0.2", "by the option or by --set"),
        ("--regime sse --set snapshot=3", "snapshots"),
        ("--regime sse --set snapshots=0", "from 1 to 1000"),
        ("--regime swa --set cycle=3", "whole number of cycles"),
        ("--target pictures:town/images", "Leave it out"),
        ("--regime ema-teacher", "Give --target"),
        ("--data streets:clear:2", "the same classes"),
        ("--lr 0", "lr = 0.0"),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_it_begins(place: Path, refused, line: str, named: str) -> None:
    assert named in refused("train", *SMALL_RUN, "--arch", "tiny", "--out", "none", *line.split())
    assert not (place / "none").exists()


def test_as_a_process_of_its_own(place: Path) -> None:
    (place / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\nfrom helpers import TinyNet\n"
        "MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)\n"
    )
    with Image.open("town/images/p0.png") as picture:
        picture.save("town/images/p0.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")  # of which Pillow warns
    Path("town/images/p0.png").unlink()
    run = [sys.executable, "-m", "fusionlib"]
    told = {
        "cwd": place,
        "capture_output": True,
        "text": True,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "timeout": 120,
    }
    good = subprocess.run(
        [*run, "evaluate", "a.pth", "--data", "folder:town", "--model", "mine.py:TinyNet", "--json"],
        check=False,
        **told,
    )
    assert good.returncode == 0 and good.stderr == "", good.stderr
    assert json.loads(good.stdout)["images"] == 3
    wrong = subprocess.run(
        [*run, "evaluate", "a.pth", "--data", "folder:nowhere", "--model", "mine.py:TinyNet"], check=False, **told
    )
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.count("\n") == 1, wrong.stderr
    version = subprocess.run([*run, "--version"], check=False, **told)
    assert version.stdout.strip() == __version__


# --- real checkpoints and pictures ------------------------------------------------------------------------------------


_WHOLE = pytest.mark.skipif(not os.environ.get("FUSION_WHOLE"), reason="all 101 pictures take 23 s: set FUSION_WHOLE")


@pytest.mark.real
@pytest.mark.parametrize(
    ("pictures", "alone", "merged"),
    [
        (12, (0.4003, 0.7476), (0.4349, 0.8198)),
        pytest.param(101, (0.4125, 0.6940), (0.4285, 0.7568), marks=_WHOLE, id="as published"),
    ],
)
def test_the_published_figures_and_a_merge_that_beats_both_ends(
    real_data: Path, tmp_path: Path, monkeypatch, said, pictures: int, alone: tuple, merged: tuple
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    folder, data = real_data / "checkpoints" / "enet-cityscapes", f"camvid:{real_data / 'camvid'}@val"
    epochs = [next(path for path in sorted(folder.iterdir()) if str(number) in path.name) for number in (30, 35)]
    one, other = (said("evaluate", path, "--data", data, "--limit", pictures) for path in epochs)
    assert one["images"] == pictures and (one["miou"], one["pixel_accuracy"]) == pytest.approx(alone, abs=0.003)
    out = tmp_path / "m.safetensors"
    said("merge", *epochs, "--alpha", "0.75", "--buffers", "average", "--out", out)
    merge = said("evaluate", out, "--data", data, "--limit", pictures)
    assert (merge["miou"], merge["pixel_accuracy"]) == pytest.approx(merged, abs=0.003)
    assert merge["miou"] > one["miou"] > other["miou"]


@pytest.mark.real
def test_a_layout_without_model_code_is_inspected_and_merged(
    real_data: Path, tmp_path: Path, monkeypatch, said, refused
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    folder = real_data / "checkpoints" / "enet-other-layout"
    pair = sorted(path for path in folder.iterdir() if path.suffix in (".pth", ".pt", ".safetensors"))
    report = said("inspect", *pair)
    assert report["compatible"] is True
    assert [(entry["architecture"], entry["tensors"]) for entry in report["checkpoints"]] == [(None, 430)] * 2
    out = tmp_path / "m.safetensors"
    said("merge", *pair, "--alpha", "0.25", "--buffers", "gaussian", "--out", out)
    first, second, merged = (open_checkpoint(path) for path in (*pair, out))
    assert list(merged.tensors) == list(first.tensors) and len(merged.tensors) == 430
    name = next(name for name, info in first.tensors.items() if len(info.shape) == 4)
    assert torch.allclose(merged.read(name), 0.25 * first.read(name) + 0.75 * second.read(name), atol=1e-6)
    assert "--model" in refused("evaluate", out, "--data", f"camvid:{real_data / 'camvid'}", "--split", "val")
