"""Figures belong to the model code that gave them: other code, other figures; the code of before, the figures of
before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import TinyArchitecture, folder_data, tiny_checkpoints, tiny_registered
from page_tools import opened, text

from fusionlib.architectures.sources import imported_files
from fusionlib.architectures.user import register_user_model, register_user_models
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, Preprocessing
from fusionlib.data.labels import CAMVID, CITYSCAPES, numbered
from fusionlib.engine import identity
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.recipes import write_recipe
from fusionlib.errors import UsageError
from fusionlib.merging.profile import LayerProfile
from fusionlib.runs.answers import Subject, labels_key
from fusionlib.studio import Choices, Options, Selection, Studio
from pages.widgets import server

MODEL = """import torch
from torch import nn
from fusionlib.data.labels import LABEL_SPACES, LabelSpace, spread_palette
import own_layers

LABEL_SPACES["turned"] = LabelSpace("turned", "turned", ("sky", "road", "car"), spread_palette(3))
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.2, 0.2)

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), own_layers.Middle())
        self.head = nn.Conv2d(6, classes, 1)

    def forward(self, x):
        return self.head(self.body(x) * 1.0)
"""
LAYERS = """from torch import nn
import own_depth

class Middle(nn.Module):
    def forward(self, x):
        return x.relu() * own_depth.FACTOR
"""
CHANGES = {
    "mean": ("mine.py", "MEAN, STD = (0.3,", "MEAN, STD = (0.9,"),
    "std": ("mine.py", "(0.2, 0.2, 0.2)", "(0.9, 0.2, 0.2)"),
    "label space": ("mine.py", "MEAN, STD", "LABEL_SPACE = 'turned'\nMEAN, STD"),
    "forward": ("mine.py", "* 1.0", "* 3.0"),
    "imported": ("own_layers.py", "x.relu()", "x.tanh()"),
    "imported by what is imported": ("own_depth.py", "FACTOR = 1.0", "FACTOR = 4.0"),
}
"""What is changed in which file; each gives other figures."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with model code in three files, two checkpoints of it and labelled pictures, as working directory."""
    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    for name, content in (("mine.py", MODEL), ("own_layers.py", LAYERS), ("own_depth.py", "FACTOR = 1.0\n")):
        (tmp_path / name).write_text(content)
    folder_data(tmp_path / "town", 2)
    register_user_model("mine.py:Net")
    (tmp_path / "files").mkdir()
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        tensors = ARCHITECTURES.get("mine:Net").build(3).state_dict()
        tensors["head.weight"] *= 5
        save_tensors(tmp_path / "files" / f"{name}.safetensors", tensors)
    return tmp_path


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every batch that any network runs."""
    counted: list[int] = []
    real = BoundNetwork.logits
    monkeypatch.setattr(
        BoundNetwork, "logits", lambda self, images, *rest: (counted.append(1), real(self, images, *rest))[1]
    )
    return counted


def change(place: Path, what: str) -> Callable[[], object]:
    """Make one of `CHANGES`; what is returned takes it back."""
    name, old, new = CHANGES[what]
    before = (place / name).read_text()
    assert before.count(old) == 1
    (place / name).write_text(before.replace(old, new))
    return lambda: (place / name).write_text(before)


def in_library(studio: Studio) -> Any:
    """Figures of every kind that a studio gives."""
    pictures = studio.workspace.open_pictures("folder:town", None)
    items = [open_checkpoint(f"files/{name}.safetensors") for name in "ab"]
    comparison = studio.comparisons.of(items, pictures, Choices(methods=("isotropic", "ensemble")))
    comparison.measure()
    diagnosis = studio.diagnose(items, pictures)
    diagnosis.measure(0.5)
    sweep = studio.views.sweep_files(*(Path(f"files/{name}.safetensors") for name in "ab"), lambda: pictures, "average")
    report = diagnosis.report()
    studio.sources.know(items)
    ensemble = studio.measure(write_recipe(items, "ensemble", {}, "average"), pictures)
    return {
        "evaluate": studio.evaluate(items[0], pictures)["loss"],
        "ensemble": ensemble["loss"],
        "sweep": [point["loss"] for point in sweep.measure(0.5)["points"]],
        "compare": [row["loss"] for row in comparison.snapshot()["rows"]],
        "diagnose": [report["singles"][0]["loss"], report["pairs"][0]["path"][1]["loss"]],
    }


def new_studio(place: Path) -> Studio:
    return Studio(Options(models=("mine.py:Net",), demo=False, home=place / "home", device="cpu"))


def different(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for kind in one:
        for before, after in zip(
            *(found[kind] if isinstance(found[kind], list) else [found[kind]] for found in (one, other)), strict=True
        ):
            assert before != after, kind


@pytest.mark.parametrize("reopened", [True, False])
def test_other_code_gives_other_figures_and_the_old_code_the_stored_ones(
    place: Path, forwards: list[int], reopened: bool
) -> None:
    studio = new_studio(place)
    first = in_library(studio)
    for what in CHANGES:
        undo = change(place, what)
        if reopened:
            studio.store.close()
            studio = new_studio(place)
        different(first, in_library(studio))
        undo()
        if reopened:
            studio.store.close()
            studio = new_studio(place)
        forwards.clear()
        again = in_library(studio)
        again["compare"] = again["compare"][: len(first["compare"])]  # and the best of the curve, which is known by now
        assert again == first and not forwards, what


VERBS = [
    "evaluate files/a.safetensors",
    "evaluate files/a.safetensors --with files/b.safetensors",
    "sweep files/a.safetensors files/b.safetensors --step 0.5",
    "compare files/a.safetensors files/b.safetensors --rows buffers",
    "diagnose files/a.safetensors files/b.safetensors --step 0.5",
]


def losses(found: Any) -> list[float]:
    """Every loss in a result of the command line."""
    if isinstance(found, dict):
        return [
            loss
            for key, value in found.items()
            for loss in ([value] if key == "loss" and isinstance(value, float) else losses(value))
        ]
    return [loss for value in found for loss in losses(value)] if isinstance(found, list) else []


@pytest.mark.parametrize("line", VERBS)
def test_the_same_on_the_command_line(
    place: Path, capsys: pytest.CaptureFixture[str], forwards: list[int], line: str
) -> None:
    def said() -> list[float]:
        main([*line.split(), "--data", "folder:town", "--model", "mine.py:Net", "--json"])
        return losses(json.loads(capsys.readouterr().out))

    first = said()
    assert first
    for what in ("mean", "forward", "label space", "imported by what is imported"):
        undo = change(place, what)
        assert all(before != after for before, after in zip(first, said(), strict=True)), what
        undo()
        forwards.clear()
        assert said() == first and not forwards


def test_a_page_that_is_loaded_again_shows_the_code_of_now(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("explore.py", place / "home", monkeypatch) as open_page:
        app = open_page("--checkpoints", "files", "--data", "folder:town", "--model", "mine.py:Net")
        studio, chosen = (
            server.studio(),
            Selection("a", "b", server.studio().workspace.sources[0].name, None, "average"),
        )
        before = studio.view(chosen)
        change(place, "forward")
        assert not app.run().error
        after = studio.view(chosen)
        assert after is not before and after.id != before.id
        assert after.frame(0, 0.5).png != before.frame(0, 0.5).png, (
            "an open view goes on with the code that it was opened with"
        )
        (place / "mine.py").write_text("no python at all (")
        assert "SyntaxError" in text(app.run()) and not app.exception
        (place / "mine.py").write_text(MODEL)
        assert not app.run().error and studio.view(chosen).id == before.id


# --- what a model file consists of ------------------------------------------------------------------------------------


def files_of(folder: Path, **sources: str) -> list[str]:
    for name, source in sources.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return sorted(path.relative_to(folder).as_posix() for path in imported_files(folder / "mine.py"))


def test_imports_are_followed_through_modules_packages_and_functions(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from .inner import x")
    found = files_of(
        tmp_path,
        mine="import torch, one\nfrom two import thing\ndef make():\n    import late\n    from pkg.deep import y\n",
        one="import mine",
        two="",
        late="",
        pkg__inner="from . import side\n",
        pkg__side="",
        pkg__deep="import one",
        idle="",
        torch__nn="",
    )
    assert found == [
        "late.py",
        "mine.py",
        "one.py",
        "pkg/__init__.py",
        "pkg/deep.py",
        "pkg/inner.py",
        "pkg/side.py",
        "two.py",
    ]


def test_modules_named_at_run_time_count_and_the_library_itself_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
    files_of(
        tmp_path,
        mine=(
            "import importlib\nfrom torch import nn\nimport fusionlib.contracts\nkind = 'hidden'\nblock ="
            " importlib.import_module(f'{kind}_part')\ndef make(classes):\n    return block.Part(3, classes, 1)\n"
        ),
        hidden_part="from torch.nn import Conv2d as Part\n",
        fusionlib__contracts="",
    )
    codes = set()
    for source in ("from torch.nn import Conv2d as Part\n", "from torch.nn import ConvTranspose2d as Part\n"):
        (tmp_path / "hidden_part.py").write_text(source)
        item = ARCHITECTURES.get(register_user_model(f"{tmp_path / 'mine.py'}:make"))
        codes.add(item.code)  # type: ignore[attr-defined]
        assert type(item.build(4)).__name__ in source
        assert sorted(path.name for path in item.loaded.files) == ["hidden_part.py", "mine.py"]  # type: ignore[attr-defined]
    assert len(codes) == 2


def test_code_of_the_same_size_written_within_a_second_is_run(place: Path) -> None:
    assert register_user_model("mine.py:Net") == "mine:Net"
    (place / "own_depth.py").write_text("FACTOR = 7.0\n")
    register_user_model("mine.py:Net")
    assert ARCHITECTURES.get("mine:Net").loaded.own.loaded["own_depth"].FACTOR == 7.0  # type: ignore[attr-defined]


def test_two_files_with_one_name_are_refused(place: Path) -> None:
    (place / "other").mkdir()
    (place / "other" / "mine.py").write_text(MODEL)
    with pytest.raises(UsageError, match="mine:Net"):
        register_user_models(["mine.py:Net", "other/mine.py:Net"])
    assert register_user_models(["mine.py:Net", "mine.py:Net"]) == ("mine:Net",)


def test_a_model_file_that_is_gone_leaves_its_network_as_it_is(place: Path) -> None:
    studio = new_studio(place)
    (place / "own_depth.py").unlink()
    studio.workspace.refresh_models()
    assert studio.network_of(open_checkpoint("files/a.safetensors"))[1] == 3


# --- everything else that decides a figure ----------------------------------------------------------------------------


class Other(TinyArchitecture):
    preprocessing = Preprocessing(mean=(0.1, 0.4, 0.5))


class Headless(TinyArchitecture):
    head = ()


class Mapped(TinyArchitecture):
    def label_space(self, classes: int) -> str:
        return "camvid"


def test_what_runs_is_told_by_code_preprocessing_and_classes() -> None:
    tiny = TinyArchitecture()
    base = architecture_key(tiny, 11)
    assert base == architecture_key(TinyArchitecture(), 11)
    others = [architecture_key(Other(), 11), architecture_key(tiny, 19), architecture_key(Mapped(), 11)]
    assert len({base, *others}) == 4
    meanings = [labels_key(*two) for two in ((CAMVID, CAMVID), (CAMVID, numbered(11)), (CITYSCAPES, CAMVID))]
    subjects = [
        Subject((base,), meanings[0], "float32", "cpu"),
        Subject((base,), meanings[0], "mixed", "cpu"),
        Subject((base,), meanings[0], "float32", "cuda"),
        *(Subject((base,), meaning, "float32", "cpu") for meaning in meanings[1:]),
        Subject((base, base), meanings[0], "float32", "cpu"),
    ]
    assert len({subject.key for subject in subjects}) == len(subjects)


def test_a_class_registered_in_code_counts_with_its_file() -> None:
    here = identity._code_of(TinyArchitecture)
    assert here.startswith("helpers.TinyArchitecture ") and len(here) > 64
    enet = type(ARCHITECTURES.get("enet"))
    assert identity._code_of(enet) == f"{enet.__module__}.{enet.__qualname__}", "the library's own has a version"


def test_files_of_other_dtypes_in_a_view_have_keys_of_their_own(tmp_path: Path) -> None:
    with tiny_registered():
        files = [*tiny_checkpoints(tmp_path / "narrow", 2, torch.float16), *tiny_checkpoints(tmp_path / "wide", 3)[2:]]
        folder_data(tmp_path / "data", 1)
        studio = Studio(Options(demo=False, home=tmp_path / "home", device="cpu"))
        views = [
            studio.views.view_files([item.path for item in chosen], None, "average") for chosen in (files[:2], files)
        ]
        build = studio.runner.builder.build
        two, three = (
            build(view.recipe(LayerProfile(rest=rest))).key
            for view, rest in zip(views, ((0.5, 0.5), (0.5, 0.5, 0.0)), strict=True)
        )
        assert two != three, "rounded to the dtype of the third"
