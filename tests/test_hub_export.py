"""Folders of Hugging Face out of the app: the bytes that the command line writes, offered as a zip, or why not."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from fusionlib.atomic import atomic_folder, tidy
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.data.labels import CITYSCAPES
from fusionlib.errors import UsageError, WriteError
from fusionlib.merging.build import build_method
from fusionlib.studio import Options, Studio
from fusionlib.studio.hub_export import zipped
from fusionlib.studio.selection import Selection
from pages.widgets import server
from tests.helpers import until
from tests.page_tools import opened
from tests.test_hub_folder import CONFIG, folder, forgotten, tensors  # noqa: F401

MAIN = Path(__file__).parents[1] / "pages" / "main.py"
DATA = "streets:clear:1"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two folders, and a file of the same network."""
    for seed, name in enumerate("ab"):
        folder(tmp_path / "files" / name, seed=seed)
    save_file(tensors(seed=2), tmp_path / "files" / "c.safetensors")
    return tmp_path / "files"


@pytest.fixture
def start(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FUSION_ARGS", f"--no-auto --no-demo --checkpoints {files} --data {DATA}")

    def open_app(a: str, b: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        app.query_params |= {"a": a, "b": b, "alpha": "0.25"}
        app.run()
        assert not app.exception
        return app

    server.reset()
    yield open_app
    server.reset()


def button(app: AppTest):
    return app.button(key="export-hub")


def unpacked(archive: bytes, into: Path) -> Path:
    with zipfile.ZipFile(BytesIO(archive)) as found:
        found.extractall(into)
    (only,) = into.iterdir()
    return only


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_the_app_writes_what_the_command_line_does(start, files: Path, tmp_path: Path) -> None:
    app = start("a", "b")
    exports = tmp_path / "home" / "exports"
    assert not button(app).disabled and not exports.exists(), "nothing is written before it is asked for"
    button(app).click().run()
    assert not app.exception and not app.error
    (written,) = exports.iterdir()
    assert any(item.proto.label.startswith("Folder (") for item in app.get("download_button"))
    assert any("--export hf --out merged" in item.value for item in app.code)
    out = tmp_path / "by-hand"
    main(["merge", str(files / "a"), str(files / "b"), "--alpha", "0.25", "--export", "hf", "--out", str(out)])
    assert contents(unpacked(zipped(written), tmp_path / "zip")) == contents(written) == contents(out)
    button(app).click().run()
    assert not app.error and list(exports.iterdir()) == [written], "again, in the same place"


def test_where_no_folder_can_be_a_line_says_why(start) -> None:
    app = start("c", "b")
    assert button(app).disabled and not app.button(key="export-write").disabled
    assert any(item.value.startswith("c is no folder of Hugging Face") for item in app.caption)


def test_a_row_of_the_table_is_written_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"id2label": {str(number): name for number, name in enumerate(CITYSCAPES.names)}}
    for seed, name in enumerate("ab"):
        folder(tmp_path / "files" / name, CONFIG | named, seed=seed, classes=len(CITYSCAPES.names))
    with opened("compare.py", tmp_path / "home", monkeypatch) as open_page:
        app = open_page("--checkpoints", str(tmp_path / "files"), "--data", DATA)
        app.multiselect[0].set_value(["a", "b"]).run()
        app.button_group(key="rows").set_value(["subsets"]).run()
        next(item for item in app.button if "rows on" in item.label).click().run()
        comparison = list(server.studio().comparisons._works._works.values())[-1]
        until(lambda: comparison.state == "done")
        app.run().button(key="compare-hub").click().run()
        assert not app.exception and not app.error
    (written,) = (tmp_path / "home" / "exports").iterdir()
    assert open_checkpoint(written).description == open_checkpoint(tmp_path / "files" / "a").description
    assert any(item.proto.label.startswith("Folder (") for item in app.get("download_button"))


def test_several_networks_are_no_folder(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio(Options(checkpoints=(files,), data=(DATA,), demo=False, home=tmp_path / "home"))
    view = studio.view(Selection("a", "b", "streets clear", None, "average"))
    ensemble = build_method("ensemble", {})
    assert "2 networks" in studio.hub_obstacle(view, ensemble)
    with pytest.raises(UsageError, match="2 networks"):
        studio.export(view, ensemble, hub=True)
    with pytest.raises(SystemExit):
        pair = [str(files / "a"), str(files / "b")]
        main(["merge", *pair, "--method", "ensemble", "--export", "hf", "--out", str(tmp_path / "m")])
    assert "2 networks" in capsys.readouterr().err
    assert not list((tmp_path / "home" / "exports").iterdir()) and not (tmp_path / "m").exists()


def test_transformers_opens_the_zip(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        config = transformers.SegformerConfig(**{**CONFIG, "initializer_range": 0.5})
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "files" / name)
    studio = Studio(Options(checkpoints=(tmp_path / "files",), data=(DATA,), demo=False, home=tmp_path / "home"))
    view = studio.view(Selection("a", "b", "streets clear", None, "average"))
    place = unpacked(zipped(studio.export(view, 0.5, hub=True).path), tmp_path / "zip")
    theirs = transformers.AutoModelForSemanticSegmentation.from_pretrained(place, local_files_only=True).eval()
    merged = open_checkpoint(place)
    ours = view.architecture.build(3).eval()  # type: ignore[union-attr]
    ours.load_state_dict({name: merged.read(name) for name in merged.tensors})
    picture = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(picture).logits, ours(picture), rtol=1e-5, atol=1e-5)


# --- folders that are whole or not there ------------------------------------------------------------------------------


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("one", "two"):
        with atomic_folder(out, replace=True) as made:
            (made / "f").write_text(text)
            tidy(tmp_path)  # somebody else's, who must not take it
        assert (out / "f").read_text() == text and os.listdir(tmp_path) == ["out"]
    with pytest.raises(WriteError, match="out cannot be written: Directory not empty"), atomic_folder(out) as made:
        (made / "f").write_text("three")
    with pytest.raises(KeyError), atomic_folder(out, replace=True) as made:
        (made / "g").write_text("x")
        raise KeyError
    assert contents(out) == {"f": b"two"} and os.listdir(tmp_path) == ["out"]
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with atomic_folder(tmp_path / "link") as made:
        (made / "f").write_text("four")
    assert (tmp_path / "link").is_symlink() and contents(tmp_path / "there") == {"f": b"four"}
    with pytest.raises(WriteError, match="No such file"), atomic_folder(tmp_path / "none" / "out"):
        pass


def test_what_a_killed_process_leaves_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".fusion-0123456789abcdef.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    tidy(tmp_path)
    assert not left.exists()
