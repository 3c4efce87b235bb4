"""A network that does not fit is explained: what comes nearest, what differs, and what would help, which then helps."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers import folder_data, tiny_registered, tiny_tensors
from model_files import MAKE, NET, registered, shapes, tensors_of
from page_tools import opened, text

from fusionlib.architectures.nearest import explain, explanations, nearest, unknown_network
from fusionlib.architectures.recognise import recognise, tensor_shapes
from fusionlib.checkpoints.compare import preflight
from fusionlib.checkpoints.groups import Choice, renames_of
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.options import app_options
from pages.widgets import server

pytestmark = pytest.mark.usefixtures("architectures")


def enet(classes: int = 19) -> dict[str, tuple[int, ...]]:
    return dict(tensor_shapes(ARCHITECTURES.get("enet"), classes) or {})


def without(table: Mapping[str, tuple[int, ...]], *names: str) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in table.items() if name not in names}


def test_what_is_missing_left_over_or_of_another_shape_is_counted_with_examples(tmp_path: Path) -> None:
    registered(tmp_path, NET + MAKE)
    found = {**without(shapes(5), "norm.running_mean", "norm.running_var"), "body.weight": (6, 3, 5, 5)}
    found |= {f"more.{number}": (1,) for number in range(5)}
    what, do = explain(found)
    assert what == (
        "nearest is mine:make with 5 classes and 8 tensors: 2 are missing (norm.running_mean, norm.running_var);"
        " 1 has another shape (body.weight is (6, 3, 5, 5) and not (6, 3, 3, 3)); 5 are left over (more.0, more.1,"
        " more.2, ...)"
    )
    assert do == "Correct the code of --model mine.py:make, or the names with --rename PATTERN=NAME"
    assert "batches" not in explain(without(shapes(5), "norm.num_batches_tracked", "body.bias")).what


@pytest.mark.parametrize("classes", [2, 7, 19, 150])
def test_the_class_count_is_read_off_the_head(classes: int) -> None:
    near = nearest(without(enet(classes), "initial_block.main_branch.weight"))
    assert near is not None and (near.network, near.classes) == ("enet", classes)
    assert near.missing == ("initial_block.main_branch.weight",) and not near.reshaped and not near.left_over


def test_no_class_count_is_made_up_where_the_head_is_missing() -> None:
    heads = {name for name, shape in enet(7).items() if shape != enet(8)[name]}
    assert heads and "nearest is enet with" in explain(without(enet(7), *heads)).what
    assert "classes" not in explain(without(enet(7), *heads)).what


def test_the_nearest_of_several_is_named(tmp_path: Path) -> None:
    registered(tmp_path, NET + MAKE)
    registered(tmp_path, "from torch import nn\n\ndef make(n):\n    return nn.Conv2d(9, n, 1)\n", name="far")
    assert "nearest is mine:make" in explain(without(shapes(3), "head.bias")).what
    assert "nearest is enet" in explain(without(enet(), "initial_block.main_branch.weight")).what
    what, do = explain({"something.else": (3, 4)})
    assert what.startswith("they have no tensor in common with far:make or mine:make or any of the ")
    assert "far.py:make or --model mine.py:make" in do


def test_without_a_model_file_it_is_asked_for_and_with_one_it_is_not(tmp_path: Path) -> None:
    assert explain({"a.b": (3,)}).do == "Give the network's code with --model FILE.py:FACTORY"
    registered(tmp_path, NET + MAKE)
    assert "FILE.py" not in explain({"a.b": (3,)}).do and "FILE.py" not in unknown_network([]).do


def test_what_a_factory_raised_is_told_too(tmp_path: Path) -> None:
    registered(tmp_path, NET + "def make(classes):\n    raise RuntimeError('no weights here')\n")
    assert recognise(shapes(5)) is None
    assert "mine:make(6) raised RuntimeError: no weights here" in explain(shapes(5)).what
    code = "def make(classes):\n    if classes < 4:\n        raise ValueError('too few')\n    return Net(classes)\n"
    registered(tmp_path, NET + code)
    assert recognise(without(shapes(5), "body.bias")) is None
    assert "raised" not in explain(without(shapes(5), "body.bias")).what, "that is no reason: others it takes"


RENAMED = {
    "a prefix": lambda name: f"seg.net.{name}",
    "another beginning": lambda name: name.replace("body.", "backbone.stem."),
    "two of them": lambda name: name.replace("body.", "backbone.").replace("norm.", "bn1."),
    "another head": lambda name: name.replace("head.", "classifier."),
    "one with signs of regular expressions": lambda name: f"a+b[0].{name}",
}


@pytest.mark.parametrize("kind", RENAMED)
def test_the_suggested_renames_make_the_checkpoint_fit(tmp_path: Path, kind: str) -> None:
    item = registered(tmp_path, NET + MAKE)
    tensors = {RENAMED[kind](name): tensor for name, tensor in tensors_of(item, 5).items()}
    path = tmp_path / "other.safetensors"
    save_tensors(path, tensors)
    found = open_checkpoint(path)
    assert recognise(found.shapes) is None
    what, do = explain(found.shapes)
    assert "they are those of mine:make with 5 classes, under other names" in what
    arguments = shlex.split(do.partition(" to evaluate")[0])[1:]
    assert arguments[::2] == ["--rename"] * (len(arguments) // 2)
    renames = renames_of(arguments[1::2])
    again = open_checkpoint(path, choice=Choice(rename=renames))
    assert recognise(again.shapes) == ("mine:make", 5) and set(again.shapes) == set(item.shapes(5))


def test_a_prefix_that_only_the_network_has_can_be_put_before_all(tmp_path: Path) -> None:
    code = "class Outer(nn.Module):\n    def __init__(self, classes):\n        super().__init__()\n"
    item = registered(tmp_path, NET + code + "        self.seg = Net(classes)\n", "Outer")
    (option, pair, *_) = shlex.split(explain(shapes(5)).do.removeprefix("Give "))
    assert option == "--rename" and pair == "^=seg."
    save_tensors(tmp_path / "plain.safetensors", {n[4:]: tensor for n, tensor in tensors_of(item, 5).items()})
    again = open_checkpoint(tmp_path / "plain.safetensors", choice=Choice(rename=renames_of([pair])))
    assert recognise(again.shapes) == ("mine:Outer", 5)


def test_renames_that_help_and_do_not_suffice_are_told_with_what_is_left(tmp_path: Path) -> None:
    registered(tmp_path, NET + MAKE)
    found = {f"seg.{name}": shape for name, shape in without(shapes(5), "body.bias").items()}
    what, do = explain(found)
    assert "1 is missing (body.bias)" in what and r"under other names: --rename '^seg\.='" in what
    assert do.startswith("Correct the code of --model mine.py:make")


def test_tensors_that_are_left_over_keep_a_network_out_that_takes_no_others() -> None:
    with tiny_registered():
        table = {name: tuple(tensor.shape) for name, tensor in tiny_tensors(1).items()}
        found = {f"net.{name}": shape for name, shape in table.items()} | {"more": (1,)}
        what, do = explain(found)
    assert "nearest is tiny" in what and "1 is left over (more)" in what and "Give the network's code" in do


def test_chance_is_no_reason_to_rename(tmp_path: Path) -> None:
    registered(tmp_path, NET + MAKE)
    near = nearest({**without(shapes(5), "body.bias", "head.bias"), "x.bias": (6,)})
    assert near is not None and near.renames == () and near.left_over == ("x.bias",)


def test_it_is_cheap_also_for_many_names_and_networks_are_made_once(tmp_path: Path) -> None:
    code = "MADE = []\ndef make(classes):\n    MADE.append(classes)\n    return Net(classes)\n"
    item = registered(tmp_path, NET + code)
    many = {f"layers.{number}.0.weight": (6, number % 9) for number in range(20_000)} | without(shapes(5), "body.bias")
    start = time.process_time()
    for _ in range(3):
        recognise(many)
        explain(many)
    assert time.process_time() - start < 5
    made = item.loaded.module.MADE
    assert len(made) == len(set(made)) and {2, 5} <= set(made)


# --- where it is said -------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file, a checkpoint of it under other names, one that lacks a tensor, and pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    (tmp_path / "files").mkdir()
    tensors = dict(tensors_of(registered(tmp_path, NET + MAKE), 3))
    other = {name.replace("body.", "stem."): item for name, item in tensors.items()}
    save_tensors(tmp_path / "files" / "other.safetensors", other)
    del tensors["body.bias"]
    save_tensors(tmp_path / "files" / "lacking.safetensors", tensors)
    folder_data(tmp_path / "town", 2)
    return tmp_path


def test_inspect_says_it_and_does_not_advise_what_was_given(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", "files/lacking.safetensors", "--model", "mine.py:make"])
    said = capsys.readouterr().out
    assert "nearest is mine:make with 3 classes" in said and "1 is missing (body.bias)" in said
    assert "start with --model" not in said and "FILE.py" not in said
    ARCHITECTURES._items.pop("mine:make")
    main(["inspect", "files/lacking.safetensors"])
    assert "--model FILE.py:FACTORY" in capsys.readouterr().out


def test_evaluate_says_it_in_one_line_and_does_what_it_suggests(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["evaluate", "--data", "folder:town", "--model", "mine.py:make"]
    for file, says in (("lacking", "1 is missing (body.bias)"), ("other", r"Give --rename '^stem\.=body.'")):
        with pytest.raises(SystemExit) as ended:
            main([*run, f"files/{file}.safetensors"])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.count("\n") == 1 and says in said
    main([*run, "files/other.safetensors", "--rename", r"^stem\.=body.", "--json"])
    assert '"miou"' in capsys.readouterr().out


def test_the_app_says_it_and_takes_the_suggestion(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--checkpoints", "files", "--data", "folder:town", "--model", "mine.py:make")
    with opened("workspace.py", place / "home", monkeypatch) as open_page:
        app = open_page(*given)
        assert not app.exception and "FILE.py" not in text(app)
        (findings,) = (table.value for table in app.dataframe if "what to do" in table.value)
        assert findings["what"].str.contains("nearest is mine:make").any()
        report = server.studio().workspace.preflight(["other"])
        assert r"Give --rename '^stem\.=body.'".lower() in report.findings[-1].do.lower()
        assert server.studio().workspace.get("other").known is None
    with opened("workspace.py", place / "home", monkeypatch) as open_page:
        open_page(*given, "--rename", r"^stem\.=body.")
        assert server.studio().workspace.get("other").known == ("mine:make", 3)
    assert app_options(["--rename", "^a=b"]).renames == {"^a": "b"}


def test_a_report_explains_checkpoints_of_equal_tensors_together(place: Path) -> None:
    names = [(file, letter) for file in ("lacking", "other") for letter in "ab"]
    files = [open_checkpoint(f"files/{file}.safetensors", name=file + letter) for file, letter in names]
    report = preflight(files, recognise, explanations)
    unknown = [item.title for item in report.findings if "No architecture" in item.title]
    assert len(unknown) == 2 and "lackinga, lackingb" in unknown[0] and "othera, otherb" in unknown[1]
    assert str(unknown_network(files)).count("No network is known for") == 2
