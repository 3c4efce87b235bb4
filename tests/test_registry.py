"""Registries: names, duplicates, and what every entry must say about itself."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from fusionlib import contracts
from fusionlib.contracts import ARCHITECTURES, DATASETS, DIAGNOSTICS, MEASURES, METHODS, Architecture, parameters_of
from fusionlib.data.labels import label_space
from fusionlib.errors import UsageError
from fusionlib.registry import Registry

REGISTRIES = {name: value for name, value in vars(contracts).items() if isinstance(value, Registry)}


@pytest.mark.parametrize("name", REGISTRIES)
def test_an_unknown_name_is_answered_with_the_valid_ones(name: str) -> None:
    registry = REGISTRIES[name]
    with pytest.raises(UsageError) as caught:
        registry.get("no such thing")
    assert "no such thing" in caught.value.got and registry.noun in caught.value.got
    for valid in registry.names():
        assert valid in caught.value.needs
    assert "no such thing" not in registry


def test_a_name_can_be_taken_only_once() -> None:
    registry: Registry[int] = Registry("number", "fusionlib.charts")
    registry.register("one")(1)
    with pytest.raises(KeyError, match="'one' is registered twice"):
        registry.register("one")(2)
    assert registry.get("one") == 1
    assert list(registry.items()) == [("one", 1)]


def test_modules_are_imported_at_the_first_look_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name, *rest: (asked.append(name), real(name, *rest))[1])
    registry: Registry[int] = Registry("number", "fusionlib.charts")
    registry.register("one")(1)
    assert asked == []
    registry.names(), registry.names()
    assert asked.count("fusionlib.charts") == 1


@pytest.mark.parametrize("name", REGISTRIES)
def test_names_read_from_the_files_are_those_that_loading_registers(name: str) -> None:
    registry = REGISTRIES[name]
    assert registry.names_in_files() == registry.names()


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_file_may_register_elsewhere_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = REGISTRIES[name]
    monkeypatch.setattr(registry, "_files", lambda: [f'{name}.register("mine")(Mine())\nOTHERS.register("theirs")(1)'])
    assert registry.names_in_files() == ("mine",)


def test_texts_read_from_the_files_are_those_of_the_classes() -> None:
    assert sorted(DATASETS.texts_in_files("usage")) == sorted(item.usage for _, item in DATASETS.items())
    assert set(METHODS.texts_in_files("title")) == {method.title for _, method in METHODS.items()}


def test_names_are_read_without_loading_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "numbers_of_a_test").mkdir()
    for file, text in (
        ("__init__", ""),
        ("two", '@NUMBERS.register("two")\nclass Two:\n    title: ClassVar[str] = "The second"\n'),
        (
            "one",
            'raise SystemExit\nNUMBERS.register("one")(1)\nNUMBERS.register("uno")(1)\nLETTERS.register("a")("A")\n',
        ),
        ("helper", '"""Not `NUMBERS.register("three")`."""\ndef f():\n    NUMBERS.register("four")(4)\n'),
    ):
        (tmp_path / "numbers_of_a_test" / f"{file}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[int] = Registry("number", "numbers_of_a_test", "NUMBERS")
    assert registry.names_in_files() == ("one", "two", "uno")
    assert registry.texts_in_files("title") == ("The second",)
    assert "numbers_of_a_test" not in sys.modules


@pytest.mark.parametrize("name", REGISTRIES)
def test_every_extension_point_is_in_the_table_of_contracts(name: str) -> None:
    registry = REGISTRIES[name]
    row = [line for line in (contracts.__doc__ or "").splitlines() if f"`@{name}.register(name)`" in line]
    assert len(row) == 1, f"{name} is undocumented in fusionlib/contracts/__init__.py"
    assert f"`{registry._package.replace('.', '/')}/`" in row[0]
    assert importlib.import_module(registry._package).__doc__, "its package says what belongs there"


def test_the_table_lists_nothing_that_is_not_there() -> None:
    assert set(re.findall(r"`@(\w+)\.register", contracts.__doc__ or "")) == set(REGISTRIES)


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_architectures_say_where_they_come_from(name: str) -> None:
    item = ARCHITECTURES.get(name)
    assert isinstance(item, Architecture)
    assert item.title and item.citation
    assert isinstance(item.head, tuple)
    assert len(item.preprocessing.mean) == len(item.preprocessing.std) == 3 and min(item.preprocessing.std) > 0
    assert label_space(item.label_space(19)).count == 19
    assert item.recognise({}) is None
    assert item.recognise({"something.else": (3, 3)}) is None


@pytest.mark.parametrize("name", DATASETS.names())
def test_datasets_say_how_to_name_them(name: str) -> None:
    item = DATASETS.get(name)
    assert item.title
    assert item.usage.startswith(f"{name}:")
    assert callable(item.open) and callable(item.splits)


@pytest.mark.parametrize("name", METHODS.names())
def test_methods_are_frozen_dataclasses_whose_fields_a_widget_can_draw(name: str) -> None:
    method = METHODS.get(name)
    assert dataclasses.is_dataclass(method) and method.__dataclass_params__.frozen
    assert method.title and method.summary and method.citation and method.__doc__
    assert isinstance(method.breaks, frozenset)
    assert isinstance(method.version, int) and method.version >= 1
    for law in method.breaks:
        assert law in method.__doc__, f"the docstring must explain why {law} does not hold"
    for item in parameters_of(method):
        assert item.help
        if isinstance(item.default, float):
            assert item.min is not None and item.max is not None and item.step
            assert item.min <= item.default <= item.max
        if isinstance(item.default, str) and item.default:  # empty: free text, as a pattern of names
            assert item.choices and item.default in item.choices


@pytest.mark.parametrize("name", MEASURES.names())
def test_measures_name_their_source(name: str) -> None:
    item = MEASURES.get(name)
    assert item.title and item.source
    assert all(callable(getattr(item, verb)) for verb in ("init", "update", "compute"))


@pytest.mark.parametrize("name", DIAGNOSTICS.names() or ["none yet"])
def test_diagnostics_are_callables_with_a_docstring(name: str) -> None:
    if name != "none yet":
        assert callable(DIAGNOSTICS.get(name)) and inspect.getdoc(DIAGNOSTICS.get(name))
