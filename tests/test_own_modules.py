"""Imports of a model file from its own folder: its own modules, and nobody else's."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path

import pytest
import torch
from model_files import registered

from fusionlib.architectures.user import register_user_model
from fusionlib.errors import UsageError

pytestmark = pytest.mark.usefixtures("architectures")

LAYER = "from torch import nn\n\ndef layer(classes):\n    return nn.Conv2d(3, {}, 1)\n"


def written(folder: Path, **sources: str) -> Path:
    """Files of a folder; `pkg__part` is `pkg/part.py`."""
    for name, source in sources.items():
        file = folder / f"{name.replace('__', '/', 1)}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return folder


@pytest.fixture(autouse=True)
def _untouched():
    """Nothing of the user's stays behind: neither paths nor modules nor finders."""
    before = list(sys.path), list(sys.meta_path), dict(sys.modules)
    yield
    assert sys.path == before[0] and sys.meta_path == before[1]
    assert {name for name, item in before[2].items() if sys.modules.get(name) is not item} == set()
    assert not {"layers", "merge", "data", "blocks", "late", "mine"} & (sys.modules.keys() - before[2].keys())


def test_files_beside_the_model_file_are_found_in_all_ways_of_importing(tmp_path: Path) -> None:
    written(
        tmp_path,
        layers="from torch import nn\nfrom blocks.deep import WIDTH\nfrom package import NAME\n",
        blocks__deep="WIDTH = 5\n",
        package____init__="from .inner import NAME\n",
        package__inner="from . import side\nNAME = side.NAME\n",
        package__side="NAME = 'inner'\n",
    )
    code = "import layers\nfrom layers import nn, WIDTH\ndef make(classes):\n    return nn.Conv2d(WIDTH, classes, 1)\n"
    item = registered(tmp_path, code)
    assert item.shapes(4)["weight"] == (4, 5, 1, 1) and item.loaded.module.layers.NAME == "inner"
    assert sorted(file.relative_to(tmp_path).as_posix() for file in item.loaded.files) == [
        "blocks/deep.py",
        "layers.py",
        "mine.py",
        "package/__init__.py",
        "package/inner.py",
        "package/side.py",
    ]


@pytest.mark.parametrize("name", ["layers", "merge", "data", "pages_like"])
def test_a_module_called_like_one_of_the_process_is_the_users_own_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    written(tmp_path / "app", **{name: "WHOSE = 'app'\n"})
    monkeypatch.syspath_prepend(str(tmp_path / "app"))
    ours = importlib.import_module(name)
    written(tmp_path / "nets", **{name: LAYER.format(7)})
    code = f"import {name}\ndef make(classes):\n    import {name} as again\n    return again.layer(classes)\n"
    item = registered(tmp_path / "nets", code)
    assert item.shapes(2)["weight"] == (7, 3, 1, 1)
    assert sys.modules[name] is ours and importlib.import_module(name).WHOSE == "app"
    del sys.modules[name]


def test_two_folders_with_a_module_of_one_name_each_keep_their_own(tmp_path: Path) -> None:
    code = "from torch import nn\nimport layers\n\nclass Net(nn.Module):\n"
    code += "    def __init__(self, classes):\n        super().__init__()\n        self.head = layers.layer(classes)\n"
    code += "    def forward(self, x):\n        import layers\n        return self.head(x) + layers.SHIFT\n"
    found = []
    for number, channels in enumerate((3, 4)):
        folder = tmp_path / f"nets{number}"
        written(folder, layers=LAYER.format("classes") + f"SHIFT = {channels}\n")
        found.append(registered(folder, code, "Net", f"net{number}"))
    picture = torch.zeros(1, 3, 2, 2)
    for item, shift in (*zip(found, (3, 4), strict=True), (found[0], 3)):  # imported again while it runs, in turn
        network = item.build(2)
        torch.testing.assert_close(network(picture), network.head(picture) + shift)
    assert found[0].code != found[1].code


@pytest.mark.parametrize(
    "late",
    [
        "import late",
        "from late import WIDTH\n    late = __import__('late')",
        "import importlib\n    late = importlib.import_module('late')",
    ],
)
def test_imports_inside_of_the_factory_are_found_when_it_is_called(tmp_path: Path, late: str) -> None:
    written(tmp_path, late="WIDTH = 9\n")
    code = f"from torch import nn\ndef make(classes):\n    {late}\n    return nn.Conv2d(late.WIDTH, classes, 1)\n"
    assert registered(tmp_path, code).shapes(3)["weight"] == (3, 9, 1, 1)


def test_a_thread_that_imports_meanwhile_gets_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "app", layers="WHOSE = 'app'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "app"))
    written(tmp_path / "nets", layers="WHOSE = 'user'\n")
    item = registered(
        tmp_path / "nets",
        "from torch import nn\ndef whose():\n    import layers\n    return layers.WHOSE\ndef make(classes):\n"
        "    return nn.Conv2d(3, classes, 1)\n",
    )
    theirs: list[str] = []
    thread = threading.Thread(target=lambda: theirs.extend(item.loaded.module.whose() for _ in range(200)))
    ours = importlib.import_module("layers")
    thread.start()
    while thread.is_alive():
        assert ours.WHOSE == "app"
    thread.join()
    assert set(theirs) == {"user"} and sys.modules["layers"] is ours
    del sys.modules["layers"]


def test_names_of_the_standard_library_and_of_this_one_are_never_the_users(tmp_path: Path) -> None:
    written(tmp_path, json="raise RuntimeError\n", types="raise RuntimeError\n", fusionlib____init__="raise OSError\n")
    code = "import json, types, fusionlib.contracts\nfrom torch import nn\ndef make():\n    return nn.Conv2d(3, 3, 1)\n"
    item = registered(tmp_path, code)
    assert item.loaded.module.json is sys.modules["json"] and [file.name for file in item.loaded.files] == ["mine.py"]


def test_a_folder_without_an_init_does_not_hide_a_library_of_its_name(tmp_path: Path) -> None:
    written(tmp_path, torch__nn="raise RuntimeError\n")
    code = "import torch.nn\nfrom torch import nn\ndef make():\n    return nn.Conv2d(3, 3, 1)\n"
    assert registered(tmp_path, code).loaded.module.torch is torch


def test_the_file_itself_can_be_imported_by_those_beside_it_and_has_dataclasses(tmp_path: Path) -> None:
    written(tmp_path, layers="import mine\n\ndef width():\n    return mine.WIDTH\n")
    code = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\nWIDTH = 6\n"
    code += "@dataclass\nclass Sizes:\n    depth: int = 2\nimport layers\n"
    code += "def make(classes):\n    return nn.Conv2d(layers.width() * Sizes().depth, classes, 1)\n"
    assert registered(tmp_path, code).shapes(2)["weight"] == (2, 12, 1, 1)


def test_what_is_missing_beside_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import surely_not_there\n")
    with pytest.raises(UsageError, match="No module named 'surely_not_there'"):
        register_user_model(f"{tmp_path / 'mine.py'}:make")


def test_changed_files_are_read_anew_and_the_network_of_before_keeps_what_it_had(tmp_path: Path) -> None:
    written(tmp_path, layers="SHIFT = 1\n")
    code = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        import layers\n"
    code += "        return x + layers.SHIFT\n"
    before = registered(tmp_path, code, "Net")
    written(tmp_path, layers="SHIFT = 2\n")
    after = registered(tmp_path, code, "Net")
    zero = torch.zeros(1)
    assert (before.build(1)(zero).item(), after.build(1)(zero).item(), before.build(1)(zero).item()) == (1, 2, 1)
