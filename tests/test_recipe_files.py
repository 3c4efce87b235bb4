"""Recipes in the place of checkpoints: every verb takes the network that one names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import counted_forwards, folder_data, saved, threefold_registered, tiny_file, tiny_registered
from safetensors.torch import load_file, save_file

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main

DATA = ("--data", "folder:town")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """a.pth, b.pth, town/ and half.yaml, three.yaml, both.yaml: a mean, three networks, an ensemble."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    tiny_file(tmp_path, "a", 1), tiny_file(tmp_path, "b", 2)
    folder_data(tmp_path / "town", 3)
    with tiny_registered(), threefold_registered():
        for name, more in {
            "half": "method: linear\nparameters: {alpha: 0.5}",
            "three": "method: threefold",
            "both": "method: ensemble\nparameters: {rule: logit}",
            "warm": "method: linear\nparameters: {alpha: 0.5}\ntemperature: 1.5",
        }.items():
            write(tmp_path / f"{name}.yaml", more, "a.pth", "b.pth")
        yield tmp_path


def write(path: Path, more: str, *files: str) -> None:
    listed = "".join(f"- path: {name}\n  fingerprint: {open_checkpoint(Path(name)).fingerprint}\n" for name in files)
    path.write_text(f"{more}\ncheckpoints:\n{listed}")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):
    """Run a verb with --json; its result."""

    def call(*arguments: object) -> dict[str, Any]:
        main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert printed.err == ""
        return json.loads(printed.out)

    return call


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run what must fail with status 2 and one line; that line."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        printed = capsys.readouterr()
        assert ended.value.code == 2 and printed.out == "" and printed.err.count("\n") == 1
        return printed.err

    return call


def exports(place: Path) -> list[Path]:
    return sorted((place / "home" / "exports").glob("*.safetensors"))


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What was measured, without what it is called and what it took."""
    names = ("path", "fingerprint", "seconds", "forward_passes", "forward_passes_known")
    return {name: value for name, value in result.items() if name not in names}


def test_a_recipe_is_the_file_that_merge_writes(place: Path, said) -> None:
    said("merge", "half.yaml", "--out", "half.safetensors")
    of_file = said("evaluate", "half.safetensors", *DATA)
    of_recipe = said("evaluate", "half.yaml", *DATA)
    assert figures(of_recipe) == figures(of_file)
    assert (of_recipe["forward_passes"], of_recipe["forward_passes_known"]) == (0, 3), "the same network"
    assert exports(place) == [], "to measure one, no file is needed"
    inspected = said("inspect", "half.yaml", "a.pth")
    (file,) = exports(place)
    merged, own = load_file(place / "half.safetensors"), load_file(file)
    assert merged.keys() == own.keys() and all(torch.equal(merged[name], own[name]) for name in own)
    assert [entry["name"] for entry in inspected["checkpoints"]] == ["half", "a"] and inspected["compatible"]
    assert inspected["checkpoints"][0]["fingerprint"] == open_checkpoint(file).fingerprint


def test_every_verb_takes_one(place: Path, said) -> None:
    said("merge", "half.yaml", "--out", "half.safetensors")
    pairs = [("half.safetensors", "half.yaml")]
    for file, recipe in pairs:
        for verb, more in (
            ("sweep", ("--step", "0.5")),
            ("diagnose", ("--step", "0.5")),
            ("layers", ()),
            ("compare", ("--methods", "linear,isotropic")),
        ):
            of_file = said(verb, "a.pth", file, *DATA, *more)
            of_recipe = said(verb, "a.pth", recipe, *DATA, *more)
            assert of_recipe["forward_passes"] == 0, f"{verb} knows the network"
            texts = [json.dumps(figures(one), sort_keys=True) for one in (of_file, of_recipe)]
            names = ("merge_seconds", "evaluation_seconds", "seconds")
            found = [json.loads(text.replace(recipe, file), object_hook=without(names)) for text in texts]
            assert found[0] == found[1], verb
    together = [said("evaluate", "a.pth", "--with", one, *DATA) for one in pairs[0]]
    assert together[0]["miou"] == together[1]["miou"] and together[1]["forward_passes"] == 0
    with_recipe_first = said("evaluate", "half.yaml", "--with", "a.pth", *DATA)
    assert with_recipe_first["miou"] == together[0]["miou"] and with_recipe_first["forward_passes"] == 0
    assert len(exports(place)) == 1, "merged once"


def without(names: tuple[str, ...]):
    return lambda table: {key: value for key, value in table.items() if key not in names}


def test_merge_takes_one_among_checkpoints(place: Path, said, refused) -> None:
    quarter = said("merge", "--checkpoints", "half.yaml", "b.pth", "--out", "quarter.safetensors")
    assert quarter["checkpoints"] == ["half", "b"]
    plain = said("merge", "a.pth", "b.pth", "--alpha", "0.25", "--out", "plain.safetensors")
    rows = [load_file(place / f"{name}.safetensors") for name in ("quarter", "plain")]
    assert all(
        torch.allclose(value.double(), rows[1][name].double(), atol=1e-6)
        for name, value in rows[0].items()
        if value.is_floating_point()
    )
    assert plain["verdict"] is not None
    assert "recipe alone" in refused("merge", "half.yaml", "b.pth", "--out", "m.safetensors")


def test_it_is_merged_once_and_again_where_the_file_was_changed(place: Path, said) -> None:
    said("inspect", "half.yaml", "a.pth")
    (file,) = exports(place)
    good, when = file.read_bytes(), file.stat().st_mtime_ns
    said("inspect", "half.yaml", "a.pth")
    assert file.stat().st_mtime_ns == when
    (place / "elsewhere").mkdir()
    for name in ("a.pth", "b.pth"):
        shutil.copy(place / name, place / "elsewhere" / name)
    shutil.copy(place / "half.yaml", place / "elsewhere" / "half.yaml")
    said("inspect", "elsewhere/half.yaml", "a.pth")
    assert exports(place) == [file] and file.stat().st_mtime_ns == when, "by content, wherever it lies"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    said("inspect", "half.yaml", "a.pth")
    assert file.read_bytes() == good
    file.unlink()
    said("inspect", "half.yaml", "a.pth")
    assert file.read_bytes() == good


def test_what_it_looks_at_is_counted_once(place: Path, said) -> None:
    merged = said("merge", "a.pth", "b.pth", "--method", "fisher", *DATA, "--count", "2", "--save-recipe", "fish.yaml",
                  "--out", "fish.safetensors")  # fmt: skip
    assert (merged["forward_passes"], merged["forward_passes_known"]) == (4, 0), "two networks, two pictures"
    assert merged["seconds"] > 0
    diagnosed = said("diagnose", "fish.yaml", "a.pth")
    assert (diagnosed["forward_passes"], diagnosed["forward_passes_known"]) == (0, 4), "their information is stored"
    again = said("diagnose", "fish.yaml", "a.pth")
    assert "forward_passes" not in again, "the file is there, and nothing was measured"
    said("merge", "a.pth", "b.pth", "--buffers", "recalibrate", *DATA, "--limit", "2", "--count", "2",
         "--save-recipe", "anew.yaml", "--out", "anew.safetensors")  # fmt: skip
    found = said("sweep", "anew.yaml", "a.pth", *DATA, "--limit", "2", "--step", "1")
    assert found["forward_passes"] == 2 + 2 + 2, "recalibrated on the verb's own pictures, then both ends"


def test_merge_prints_passes_where_it_measured(place: Path, said, capsys: pytest.CaptureFixture[str]) -> None:
    assert "forward_passes" not in said("merge", "a.pth", "b.pth", *DATA, "--out", "m.safetensors")
    again = said("merge", "a.pth", "b.pth", "--method", "rebasin", *DATA, "--out", "m.safetensors")
    assert again["forward_passes"] > 0 and again["barriers"]
    main(["merge", "a.pth", "b.pth", "--buffers", "recalibrate", *DATA, "--out", "m.safetensors"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 forward passes run;")


def test_networks_that_answer_together_are_evaluated_and_nothing_else(place: Path, said, refused, monkeypatch) -> None:
    looked = counted_forwards(monkeypatch)
    three = said("evaluate", "three.yaml", *DATA, "--calibration")
    assert (three["forwards"], three["method"], three["forward_passes"]) == (3, "threefold", 9) and len(looked) == 9
    assert three["images"] == 3 and three["ece_sample_weighted"] is not None
    both = said("evaluate", "both.yaml", *DATA)
    pair = said("evaluate", "a.pth", "--with", "b.pth", "--rule", "logit", *DATA)
    assert both["miou"] == pair["miou"] and pair["forward_passes"] == 0 and both["forwards"] == 2
    for verb in ("inspect", "sweep", "diagnose", "layers", "compare"):
        data = () if verb == "inspect" else DATA
        line = refused(verb, "a.pth", "three.yaml", *data)
        assert "three.yaml is 3 networks" in line and "evaluate" in line
    assert "both.yaml is 2 networks" in refused("evaluate", "a.pth", "--with", "both.yaml", *DATA)
    assert said("evaluate", "warm.yaml", *DATA)["loss"] != said("evaluate", "half.yaml", *DATA)["loss"]
    assert "temperature" in refused("diagnose", "a.pth", "warm.yaml")
    assert "3 networks" in refused("merge", "three.yaml", "--out", "m.safetensors")


def test_a_merge_of_three_networks_is_a_row_of_the_comparison(place: Path, said) -> None:
    found = said("compare", "a.pth", "b.pth", *DATA, "--methods", "threefold,ensemble", "--try", "threefold spread=0")
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["threefold"]["state"] == "measured" and rows["threefold"]["forwards"] == 3
    assert rows["threefold"]["ece"] is not None and rows["threefold"]["command"] is None
    assert rows["ensemble"]["forwards"] == 2
    assert found["forward_passes"] == 3 * (1 + 1 + 3 + 2 + 3)
    own = next(row for name, row in rows.items() if row["group"] == "own")
    half = said("evaluate", "half.yaml", *DATA)
    assert own["miou"] == half["miou"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("evaluate none.yaml --data folder:town", "none.yaml"),
        ("diagnose a.pth none.yaml", "none.yaml"),
        ("diagnose a.pth gone.yaml", "c.pth is not there"),
        ("diagnose a.pth changed.yaml", "fingerprint"),
        ("diagnose a.pth pictures.yaml", "Name them with --data"),
        ("sweep a.pth text.yaml --data folder:town", "text.yaml"),
        ("evaluate half.yaml --data folder:town --group ema", "--group with recipes alone"),
        ("diagnose half.yaml half.yaml --rename a=b", "--rename with recipes alone"),
    ],
)
def test_a_wrong_recipe_ends_with_one_line(place: Path, refused, line: str, named: str) -> None:
    tiny_file(place, "c", 3)
    write(place / "gone.yaml", "method: isotropic", "a.pth", "c.pth")
    shutil.copy(place / "b.pth", place / "c.pth")
    write(place / "changed.yaml", "method: isotropic", "a.pth", "c.pth")
    (place / "c.pth").unlink()
    (place / "changed.yaml").write_text((place / "changed.yaml").read_text().replace("c.pth", "a.pth"))
    calibration = f"calibration: {{data: 'folder:town', fingerprint: {'f' * 64}, count: 2}}"
    write(place / "pictures.yaml", f"method: isotropic\nbuffers: recalibrate\n{calibration}", "a.pth", "b.pth")
    (place / "text.yaml").write_text("just text")
    assert named in refused(*line.split())


def test_a_network_that_nobody_knows_is_merged_and_compared(place: Path, said) -> None:
    for name in ("x", "y"):
        saved(place / f"{name}.safetensors", {"w": torch.rand(4), "n": torch.tensor(2)})
    write(place / "odd.yaml", "method: isotropic", "x.safetensors", "y.safetensors")
    report = said("inspect", "odd.yaml", "x.safetensors")
    assert report["compatible"] and report["checkpoints"][0]["architecture"] is None
