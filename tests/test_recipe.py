"""Recipes: the same bytes again, or a clear refusal; whatever stands in the file, no code runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from helpers import tiny_checkpoints, tiny_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.sources import open_sources
from fusionlib.errors import RecipeError, UsageError
from fusionlib.recipe import Calibration, Recipe, Source, read_recipe
from fusionlib.studio import write_recipe

PRINT = "0" * 64
GOOD = {"method": "linear", "parameters": {"alpha": 0.25}, "checkpoints": [{"path": "a.pth", "fingerprint": PRINT}]}


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    recipe = write_recipe(tiny_checkpoints(tmp_path, 2), "linear", {"weights": [0.25, 0.75]}, "gaussian")
    text = recipe.to_yaml()
    assert read_recipe(written(tmp_path, text)) == recipe
    assert list(yaml.safe_load(text)) == ["version", "tool", "method", "parameters", "buffers", "checkpoints"]
    assert [item.fingerprint for item in open_sources(recipe, [tmp_path])] == [
        item.fingerprint for item in recipe.checkpoints
    ]


def test_a_short_recipe_gets_the_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, yaml.safe_dump({"checkpoints": GOOD["checkpoints"]})))
    assert (recipe.method, recipe.parameters, recipe.buffers, recipe.calibration) == ("linear", {}, "average", None)


def test_relative_paths_are_looked_for_in_each_folder(tmp_path: Path) -> None:
    path = tiny_file(tmp_path / "there", "a", 1)
    opened = tiny_checkpoints(tmp_path / "x", 2)
    recipe = write_recipe(opened, "linear", {"alpha": 0.5}, "average").without_folders()
    assert [source.path for source in recipe.checkpoints] == ["c0.pth", "c1.pth"]
    assert [item.name for item in open_sources(recipe, [path.parent, tmp_path / "x"])] == ["c0", "c1"]
    with pytest.raises(RecipeError, match=r"c0\.pth is not there.*--folder"):
        open_sources(recipe, [path.parent])


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    recipe = write_recipe(tiny_checkpoints(tmp_path, 2), "linear", {"alpha": 0.5}, "average")
    tiny_file(tmp_path, "c1", seed=9)
    with pytest.raises(RecipeError, match=r"c1\.pth has fingerprint .* the recipe names"):
        open_sources(recipe, [tmp_path])


def test_a_file_that_is_no_checkpoint_any_more_is_refused(tmp_path: Path) -> None:
    recipe = write_recipe(tiny_checkpoints(tmp_path, 2), "linear", {"alpha": 0.5}, "average")
    (tmp_path / "c1.pth").write_bytes(b"nonsense")
    with pytest.raises(RecipeError, match="c1"):
        open_sources(recipe, [tmp_path])


@pytest.mark.parametrize("path", ["a" * 300 + ".pth", "a\0b.pth", "../" * 200 + "a.pth", "/nowhere/a.pth"])
def test_a_path_that_no_file_system_takes_is_just_not_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(RecipeError, match="not there"):
        open_sources(Recipe(checkpoints=(Source(path=path, fingerprint=PRINT),)), [tmp_path])


def test_folders_do_not_travel(tmp_path: Path) -> None:
    recipe = write_recipe(tiny_checkpoints(tmp_path, 2), "linear", {"alpha": 0.5}, "average")
    recipe = recipe.model_copy(
        update={
            "buffers": "recalibrate",
            "calibration": Calibration(data=f"folder:{tmp_path}/my data@val", fingerprint=PRINT, count=3),
        }
    )
    bare = recipe.without_folders()
    assert str(tmp_path) not in bare.to_yaml() and "/" not in bare.to_yaml()
    assert bare.calibration is not None and bare.calibration.data == "folder:my data@val"
    assert bare.without_folders() == bare
    streets = recipe.model_copy(
        update={"calibration": Calibration(data="streets:clear:24@val", fingerprint=PRINT, count=3)}
    )
    assert streets.without_folders().calibration == streets.calibration


@pytest.mark.parametrize(
    ("method", "parameters", "buffers"),
    [
        ("nonsense", {}, "average"),
        ("linear", {"beta": 1}, "average"),
        ("linear", {"alpha": 2}, "average"),
        ("linear", {"alpha": 0.5}, "median"),
        ("linear", {"alpha": 0.5}, "recalibrate"),
    ],
)
def test_a_wrong_recipe_is_not_even_written(tmp_path: Path, method: str, parameters: dict, buffers: str) -> None:
    with pytest.raises(UsageError):
        write_recipe(tiny_checkpoints(tmp_path, 2), method, parameters, buffers)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"checkpoints": []}, "checkpoints"),
        ({"checkpoints": GOOD["checkpoints"] * 65}, "checkpoints"),
        ({"checkpoints": None}, "checkpoints"),
        ({"extra": 1}, "extra"),
        ({"version": 2}, "version"),
        ({"parameters": [1]}, "parameters"),
        ({"method": 5}, "method"),
        ({"buffers": {}}, "buffers"),
        ({"checkpoints": [{"path": "a", "fingerprint": "abc"}]}, "fingerprint"),
        ({"checkpoints": [{"path": "a", "fingerprint": PRINT, "run": "x"}]}, "run"),
        ({"checkpoints": [{"path": "", "fingerprint": PRINT}]}, "path"),
        ({"checkpoints": [{"path": 3, "fingerprint": PRINT}]}, "path"),
        ({"checkpoints": ["a.pth"]}, "checkpoints"),
        ({"calibration": {"data": "x", "fingerprint": "y", "count": 0}}, "count"),
        ({"calibration": "all"}, "calibration"),
    ],
)
def test_the_offending_field_is_named(tmp_path: Path, change: dict, named: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, yaml.safe_dump({**GOOD, **change})))
    assert named in caught.value.got and "recipe.yaml" in caught.value.got
    assert "\n" not in caught.value.one_line and len(caught.value.one_line) < 500


HOSTILE = [
    "!!python/object/apply:os.system ['touch pwned']",
    "!!python/object/new:os.system ['touch pwned']",
    "!!python/name:os.system",
    "checkpoints: !!python/object/apply:os.mkdir ['pwned']",
    "- 1\n- 2",
    "just text",
    "",
    "42",
    "null",
    "a: b: c",
    "\t\tx",
    "key: [1, 2",
    "%YAML 9.9\n---\n{}",
    "checkpoints: 2001-99-99",
    "checkpoints: !!int abc",
    "checkpoints: !!bool maybe",
    "checkpoints: !!timestamp no",
    "checkpoints: !!float x",
    "? {a: b}\n: c",
    "<<: 5",
    "&a [*a]",
    "checkpoints: &a [*a]",
    "parameters: &p {x: *p}",
    "checkpoints: " + "[" * 20_000,
    "{" * 20_000,
    "checkpoints: " + "9" * 5000,
    "--- {}\n--- {}",
    "x: !!set {1, 2}",
    "*undefined",
    b"\xff\xfe\x00",
    b"\x00" * 10,
    b"checkpoints: '\\ud800'",
    'checkpoints: [{path: "\\ud800", fingerprint: x}]',
    (
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d"
        " [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ncheckpoints:"
        " [*f,*f,*f,*f,*f,*f,*f,*f]"
    ),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert os.listdir(tmp_path) == ["recipe.yaml"]
    assert len(caught.value.one_line) < 1000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "ignore")))
def test_any_bytes_are_refused_politely(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RecipeError):
        read_recipe(written(tmp_path, content))


def test_a_huge_or_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="larger than 1 MB"):
        read_recipe(written(tmp_path, "#" * (1 << 20) + "\nx: 1"))
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RecipeError):
            read_recipe(path)
