"""YAML from strangers: bounded in time, memory and the length of what is said about it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from fusionlib import plain_yaml
from fusionlib.cli.settings import parse_settings
from fusionlib.data.classes_file import read_classes
from fusionlib.errors import LONGEST, DataError, FusionError, RecipeError, UsageError, shown
from fusionlib.merging.build import build_method
from fusionlib.plain_yaml import load_yaml, read_yaml
from fusionlib.recipe import read_recipe

SECONDS = 10.0
"""What a loaded machine may take; written out, the bombs take centuries."""


@contextmanager
def soon() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SECONDS


def laughs(depth: int = 12, width: int = 10) -> str:
    """A few hundred bytes whose last value, written out, has `width ** depth` words."""
    lines = ["x0: &x0 [lol]"] + [
        f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * width)}]" for level in range(1, depth + 1)
    ]
    return "\n".join(lines)


BOMBS = {
    "aliases": laughs() + "\nclasses: *x12\nignore: *x12\nlabel_space: *x12\nname: *x12",
    "a few aliases": laughs(3) + "\nclasses: *x3",
    "aliases under ignore": laughs(3, 20) + "\nclasses: [a]\nignore: *x3",
    "itself": "classes: &a [*a]",
    "merged": (
        "a: &a {k1: 1, k2: 2}\nb: &b {<<: ["
        + ", ".join(["*a"] * 300)
        + "]}\nclasses: {<<: ["
        + ", ".join(["*b"] * 300)
        + "]}"
    ),
    "a number": "classes: [a]\nignore: 0x" + "f" * 50_000,
    "a base 60 number": "classes: [a]\nignore: 1" + ":1" * 30_000,
    "digits": "classes: [a]\nignore: " + "9" * 60_000,
    "depth": "classes: " + "[" * 5_000,
    "a tag": "classes: !<" + "t" * 60_000 + "> x",
    "many fields": "\n".join(f"field{number}: 1" for number in range(1000)),
    "a long field": "f" * 60_000 + ": 1",
    "a field of lists": "? [" + ", ".join(["a"] * 1000) + "]\n: 1",
    "binary": "classes: !!binary " + "A" * 60_000,
    "long names": "classes: [{name: [" + "x, " * 5_000 + "]}]",
    "not text": "\0",
}


@pytest.mark.parametrize("case", BOMBS)
def test_no_classes_file_hangs_or_says_more_than_a_line(tmp_path: Path, case: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(BOMBS[case])
    with soon(), pytest.raises(DataError) as error:
        read_classes(path)
    assert str(path) in error.value.got and len(error.value.one_line) < LONGEST
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "field", ["parameters: {alpha: *x4}", "parameters: *x4", "checkpoints: *x4", "method: *x4", "*x4 : 1"]
)
def test_no_recipe_hangs(tmp_path: Path, field: str) -> None:
    path = tmp_path / "r.yaml"
    for text in (laughs(4, 20), laughs()):
        path.write_text(text + "\n" + field)
        with soon(), pytest.raises(RecipeError) as error:
            read_recipe(path)
        assert len(error.value.one_line) < LONGEST


def test_parameters_that_are_anything_are_named_in_a_few_words() -> None:
    bomb: list = ["lol"]
    for _ in range(60):
        bomb = [bomb] * 10
    for value in (bomb, {"a": bomb}, 1 << 50_000, "x" * 10_000, [1 << 50_000], b"x" * 10_000):
        with soon(), pytest.raises(UsageError) as error:
            build_method("linear", {"alpha": value})
        assert "alpha = " in error.value.got and len(error.value.got) < 200
        with soon():
            assert len(shown(value)) <= 80
    assert shown("road") == "'road'" and shown(7) == "7" and shown([1, 2]) == "[1, 2]"
    with pytest.raises(UsageError, match="--set weights"):
        parse_settings("linear", ["weights=[" + "*a, " * 10 + "]"])


def test_a_message_is_cut_where_it_is_endless_and_what_to_do_is_not() -> None:
    error = FusionError("x" * 10**6, "y" * 10**6, "z" * 5000)
    assert len(error.got) == len(error.needs) == LONGEST and error.got.endswith("…") and error.do == "z" * 5000


def test_aliases_that_people_and_programs_write_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_yaml, "MOST_VALUES", 1000)
    row = [0.25, 0.75]
    text = yaml.safe_dump({"weights": {"a": row, "b": row}, "more": {"base": row}})
    assert "*id001" in text and load_yaml(text) == {"weights": {"a": row, "b": row}, "more": {"base": row}}
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}
    # Mapping, two keys, the first list with its one value, the second list: six values beside two for every alias.
    assert len(load_yaml("a: &a [1]\nb: [" + ", ".join(["*a"] * 497) + "]")["b"]) == 497
    with pytest.raises(ValueError, match="more than 1000 values"):
        load_yaml("a: &a [1]\nb: [" + ", ".join(["*a"] * 498) + "]")


def test_only_so_much_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("[1, 2]" + " " * 1018)
    assert read_yaml(path, 1024) == [1, 2]
    path.write_text("[1, 2]" + " " * 1019)
    with pytest.raises(ValueError, match="larger than 1 KB"):
        read_yaml(path, 1024)
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero")):
        with soon(), pytest.raises(ValueError, match="not a regular file"):
            read_yaml(endless, 1024)
