"""The operator's own network, from a Python file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import NET, shapes

from fusionlib.architectures.recognise import recognise
from fusionlib.architectures.user import register_user_model
from fusionlib.contracts import ARCHITECTURES, Preprocessing
from fusionlib.errors import ArchitectureError, UsageError


@pytest.fixture
def model(tmp_path: Path, architectures: None):
    def make(code: str, factory: str = "make", name: str = "mine") -> str:
        (tmp_path / f"{name}.py").write_text(NET + code)
        return register_user_model(f"{tmp_path}/{name}.py:{factory}")

    return make


@pytest.mark.parametrize("classes", [2, 11, 19, 150])
def test_a_factory_that_takes_the_class_count(model, classes: int) -> None:
    name = model("def make(classes):\n    return Net(classes)\n")
    assert name == "mine:make"
    assert recognise(shapes(classes)) == (name, classes)
    item = ARCHITECTURES.get(name)
    assert item.build(classes)(torch.zeros(1, 3, 8, 8))["out"].shape == (1, classes, 8, 8)
    assert item.preprocessing == Preprocessing() and item.head == ()
    assert item.label_space(classes) == {11: "camvid", 19: "cityscapes", 150: "ade20k"}.get(
        classes, f"classes-{classes}"
    )


def test_a_class_is_a_factory_too(model) -> None:
    assert recognise(shapes(5)) is None
    name = model("", "Net")
    assert recognise(shapes(5)) == (name, 5)


def test_a_factory_without_arguments_tells_its_class_count_by_its_output(model) -> None:
    name = model("def make():\n    return Net(7)\n")
    assert recognise(shapes(7)) == (name, 7)
    assert recognise(shapes(8)) is None


def test_constants_of_the_file_are_used(model) -> None:
    name = model(
        "MEAN = (0.1, 0.2, 0.3)\nSTD = [0.4, 0.5, 0.6]\nHEAD = ['head']\nLABEL_SPACE = 'camvid'\n"
        "def make(classes):\n    return Net(classes)\n"
    )
    item = ARCHITECTURES.get(name)
    assert item.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert item.head == ("head",) and item.label_space(4) == "camvid"


def test_other_tensors_are_not_taken_and_further_ones_are(model) -> None:
    name = model("def make(classes):\n    return Net(classes)\n")
    assert recognise({**shapes(4), "aux.weight": (9, 9)}) == (name, 4)
    assert recognise({key: value for key, value in shapes(4).items() if key != "norm.running_var"}) is None
    assert recognise({**shapes(4), "body.weight": (6, 3, 5, 5)}) is None
    without = {key: value for key, value in shapes(4).items() if "batches" not in key}
    assert recognise(without) == (name, 4)


def test_a_factory_that_refuses_some_class_counts_is_asked_for_the_others(model) -> None:
    name = model(
        "def make(classes):\n    if classes < 4:\n        raise ValueError('too few')\n    return Net(classes)\n"
    )
    assert recognise(shapes(5)) == (name, 5)


def test_a_factory_that_needs_numbers_of_its_tensors_is_built_for_real(model) -> None:
    name = model("def make(classes):\n    rate = torch.linspace(0, 0.1, 3)[1].item()\n    return Net(classes)\n")
    assert recognise(shapes(5)) == (name, 5)


def test_a_factory_that_can_never_work_is_told_at_the_start(model) -> None:
    with pytest.raises(UsageError, match="broken inside"):
        model("def make():\n    raise RuntimeError('broken inside')\n")
    assert "mine:make" not in ARCHITECTURES


def test_a_factory_that_fails_leaves_the_checkpoints_of_others_alone(model) -> None:
    model("def make(classes):\n    assert classes == 77\n    return Net(classes)\n")
    assert recognise(shapes(5)) is None


def test_what_is_no_module_is_refused(model) -> None:
    model("def make(classes):\n    return 5\n")
    with pytest.raises(ArchitectureError, match=r"returned int.*torch\.nn\.Module"):
        recognise(shapes(5))


def test_naming_the_same_model_twice_is_fine(model) -> None:
    for _ in range(2):
        assert model("def make(classes):\n    return Net(classes)\n") == "mine:make"
    assert ARCHITECTURES.names().count("mine:make") == 1


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "mine.py",
        "mine.py:",
        ":make",
        "mine.py:make()",
        "mine.txt:make",
        "mine.py:1st",
        "nowhere/mine.py:make",
        "mine.py:missing",
        "mine.py:NUMBER",
        "broken.py:make",
        "syntax.py:make",
        "ends.py:make",
    ],
)
def test_wrong_specs_are_refused_and_say_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
    (tmp_path / "mine.py").write_text("NUMBER = 5\ndef make():\n    pass\n")
    (tmp_path / "mine.txt").write_text("")
    (tmp_path / "broken.py").write_text("import surely_not_installed\n")
    (tmp_path / "syntax.py").write_text("def make(:\n")
    (tmp_path / "ends.py").write_text("raise SystemExit(5)\n")
    with pytest.raises(UsageError) as caught:
        register_user_model(spec)
    assert caught.value.needs and caught.value.do
