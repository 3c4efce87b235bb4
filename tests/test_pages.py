"""Every page through Streamlit's own test harness: what it shows, what its controls do, what it says when something is
wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import ARCHITECTURES
from pages.widgets import server

MAIN = Path(__file__).parents[1] / "pages" / "main.py"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Opens the app with these arguments behind `--`, on an empty home folder; it measures nothing by itself."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))

    def open_app(*arguments: str) -> AppTest:
        monkeypatch.setenv("FUSION_ARGS", " ".join(("--no-auto", *arguments)))
        server.reset()
        app = AppTest.from_file(str(MAIN), default_timeout=60).run()
        assert not app.exception
        return app

    yield open_app
    server.reset()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two ENets, a network of another shape, and a file that is no checkpoint."""
    files = tmp_path / "files"
    files.mkdir()
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_tensors(files / f"net{seed}.safetensors", ARCHITECTURES.get("enet").build(19).state_dict())
    save_tensors(files / "stranger.safetensors", {"weight": torch.zeros(3, 4)})
    (files / "broken.pth").write_bytes(b"not a checkpoint at all")
    return files


def captions(app: AppTest) -> str:
    return "\n".join(item.value for item in app.caption)


def box(app: AppTest, label: str):
    return next(item for item in app.selectbox if item.label == label)


def test_the_demo_is_loaded_without_any_argument(start) -> None:
    app = start()
    assert next(item.value for item in app.markdown) == "# Explore"
    assert box(app, "Checkpoint A").value != box(app, "Checkpoint B").value
    assert not app.error
    assert server.studio().workspace.demo_pair() == (box(app, "Checkpoint A").value, box(app, "Checkpoint B").value)


def test_alpha_by_number_moves_the_page_and_the_url(start) -> None:
    app = start()
    app.slider[0].set_value(0.25).run()
    assert "Alpha 0.25: 0.25 x" in captions(app)
    assert app.query_params["alpha"] in ("0.25", ["0.25"])


@pytest.mark.parametrize(
    ("text", "alpha"), [("0.75", "0.75"), ("7", "1"), ("-1", "0"), ("nan", "0.5"), ("<script>", "0.5")]
)
def test_whatever_the_url_says_alpha_is_a_weight(start, text: str, alpha: str) -> None:
    app = start()
    fresh = AppTest.from_file(str(MAIN), default_timeout=60)
    fresh.query_params["alpha"] = text
    fresh.query_params["picture"] = "1e9"
    fresh.run()
    assert not fresh.exception
    assert f"Alpha {alpha}: " in captions(fresh)
    assert fresh.number_input[0].value == fresh.number_input[0].max == 30
    assert app.number_input[0].value == server.studio().workspace.first_picture("streets all"), (
        "the demo's own, without a URL"
    )


def test_swap_exchanges_a_and_b(start) -> None:
    app = start()
    first, second = box(app, "Checkpoint A").value, box(app, "Checkpoint B").value
    next(item for item in app.button if item.label == "Swap A and B").click().run()
    assert (box(app, "Checkpoint A").value, box(app, "Checkpoint B").value) == (second, first)


def test_writing_offers_the_checkpoint_and_its_recipe(start) -> None:
    app = start()
    next(item for item in app.button if item.label == "Write merged checkpoint").click().run()
    assert not app.exception
    assert not app.error
    written = list((server.studio().options.home / "exports").glob("*.safetensors"))
    assert len(written) == 1
    assert any("fingerprint" in item.value for item in app.code)
    assert not any(
        "/" in line for item in app.code for line in item.value.splitlines() if line.strip().startswith("path")
    )


def test_alpha_survives_a_look_at_another_page(start) -> None:
    app = start()
    app.slider[0].set_value(0.3).run()
    app.switch_page("workspace.py").run()
    app.switch_page("explore.py").run()
    assert "Alpha 0.3: " in captions(app)


def test_checkpoints_that_do_not_fit_are_explained_and_nothing_ends(start, folder: Path) -> None:
    app = start("--no-demo", "--checkpoints", str(folder), "--data", "streets:clear:2")
    box(app, "Checkpoint B").set_value("stranger").run()
    assert not app.exception
    assert "differ" in app.error[0].value
    app.switch_page("workspace.py").run()
    assert not app.exception
    assert any("cannot be merged tensor by tensor: 0 tensors are shared" in item.value for item in app.warning)
    assert any("broken" in item.value for item in app.error)
    assert str(folder) not in "".join(item.value for item in app.error)


def test_an_empty_workspace_says_what_to_do(start) -> None:
    app = start("--no-demo")
    assert any("--checkpoints" in item.value for item in app.info)
    app.switch_page("workspace.py").run()
    assert not app.exception
    assert any("Upload" in item.value for item in app.info)
    assert any("--data" in item.value for item in app.info)


def test_an_unknown_network_still_merges(start, tmp_path: Path) -> None:
    for value in (1.0, 3.0):
        save_tensors(tmp_path / f"w{value:g}.safetensors", {"layer.weight": torch.full((4, 4), value)})
    app = start("--no-demo", "--checkpoints", str(tmp_path), "--data", "streets:clear:2")
    assert "No model code" in captions(app)
    next(item for item in app.button if item.label == "Write merged checkpoint").click().run()
    assert not app.exception
    assert len(list((tmp_path / "home" / "exports").glob("*.safetensors"))) == 1


def test_broken_data_is_named_and_the_rest_goes_on(start, tmp_path: Path) -> None:
    (tmp_path / "camvid").mkdir()
    app = start("--data", f"camvid:{tmp_path / 'camvid'}", "--data", "nonsense")
    app.switch_page("workspace.py").run()
    assert not app.exception
    assert len(app.error) >= 2


def test_uploads_are_kept_shown_removed_and_brought_back(start, tmp_path: Path) -> None:
    app = start("--no-demo")
    workspace = server.studio().workspace
    path = tmp_path / "mine.safetensors"
    save_tensors(path, {"weight": torch.ones(3)})
    workspace.add_upload("mine.safetensors", path.read_bytes())
    app.switch_page("workspace.py").run()
    assert box(app, "Uploaded checkpoints").value == "mine"
    next(item for item in app.button if item.label == "Remove").click().run()
    assert not workspace.usable()
    next(item for item in app.button if item.label == "Undo").click().run()
    assert [item.name for item in workspace.usable()] == ["mine"]


def test_without_a_token_uploads_are_off_unless_they_are_asked_for(start, tmp_path: Path) -> None:
    app = start("--no-demo", "--no-token")
    app.switch_page("workspace.py").run()
    assert not app.file_uploader and "--uploads" in captions(app)
    assert not any("pload" in item.value for item in app.info)
    assert not next((item for item in app.button if item.label == "Remove"), None)
    app = start("--no-demo", "--no-token", "--uploads")
    app.switch_page("workspace.py").run()
    assert app.file_uploader and "--uploads" not in captions(app)


def test_a_link_to_what_is_not_here_says_so_until_something_is_chosen(start) -> None:
    start()
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in (("a", "<b>gone</b>"), ("b", "night"), ("data", "elsewhere")):
        app.query_params[name] = value
    app.run()
    assert not app.exception and box(app, "Checkpoint B").value == "night"
    words = "".join(item.value for item in app.warning)
    assert "gone" in words and "elsewhere" in words and "<b>" not in words
    box(app, "Checkpoint A").set_value("start").run()
    assert not any("Not here" in item.value for item in app.warning)


@pytest.mark.parametrize("change", ["truncated", "emptied", "same size"])
def test_a_checkpoint_that_is_written_over_is_said_and_the_app_goes_on(start, folder: Path, change: str) -> None:
    app = start("--no-demo", "--checkpoints", str(folder))
    assert not app.error
    size = (folder / "net1.safetensors").stat().st_size
    with open(folder / "net1.safetensors", "r+b") as stream:
        stream.truncate({"truncated": size // 2, "emptied": 0, "same size": size}[change])
        if change == "same size":
            stream.seek(size - 8)
            stream.write(b"\1" * 8)
    box(app, "Buffer policy").set_value("gaussian").run()
    assert not app.exception
    assert "net1\\.safetensors was changed after it was opened, last at" in app.error[0].value
    app.switch_page("workspace.py").run()
    assert not app.exception
    app.switch_page("explore.py").run()
    assert not app.exception
    assert not any("was changed" in item.value for item in app.error), (
        "opened anew, as another checkpoint or as a broken one"
    )


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"a": "cycle-2"}, ("cycle-2", "fog")),
        ({"b": "cycle-2"}, ("night", "cycle-2")),
        ({"a": "fog"}, ("fog", "night")),
        ({"a": "cycle-2", "b": "start"}, ("cycle-2", "start")),
        ({}, ("night", "fog")),
    ],
)
def test_what_a_link_leaves_out_is_of_the_pair_that_the_app_opens_with(
    start, query: dict[str, str], shown: tuple[str, str]
) -> None:
    """Links of this app name both; of one by hand the other is never the same network."""
    start()
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert (box(app, "Checkpoint A").value, box(app, "Checkpoint B").value) == shown
