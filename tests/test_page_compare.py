"""The Compare page through Streamlit's own test harness: empty states, the run, what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.widgets import server
from tests.helpers import folder_data, tiny_file, tiny_registered, until

MAIN = Path(__file__).parents[1] / "pages" / "main.py"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Opens the Compare page with these arguments behind `--`, on an empty home folder."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))

    def open_page(*arguments: str) -> AppTest:
        monkeypatch.setenv("FUSION_ARGS", " ".join(("--no-demo", *arguments)))
        server.reset()
        app = AppTest.from_file(str(MAIN), default_timeout=60).run()
        app.switch_page("compare.py").run()
        assert not app.exception
        return app

    with tiny_registered():
        yield open_page
    server.reset()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for seed in range(3):
        tiny_file(tmp_path / "files", f"c{seed}", seed)
    return tmp_path / "files"


def button(app: AppTest, label: str):
    return next((item for item in app.button if label in item.label), None)


def text(app: AppTest) -> str:
    return "\n".join(item.value for kind in (app.caption, app.info, app.error, app.warning, app.markdown) for item in kind)


def test_empty_states_say_what_to_do(start, files: Path, tmp_path: Path) -> None:
    assert "Load two checkpoints" in text(start())
    app = start("--checkpoints", str(files))
    assert "No data is chosen" in text(app)
    app.multiselect[0].set_value(["c1"]).run()
    assert not app.exception and "two or more" in text(app)
    app = start("--checkpoints", str(files), "--data", f"pictures:{folder_data(tmp_path / 'bare', 1, masks=False)}")
    assert "no masks" in text(app)


def test_the_table_fills_and_stays(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.button_group[0].set_value(["methods", "buffers", "subsets"]).run()
    button(app, "rows on 2 pictures").click().run()
    assert not app.exception
    comparison = next(iter(list(server.studio().comparisons._jobs.values())[::-1]))
    until(lambda: comparison.state == "done")
    app.switch_page("workspace.py").run()
    app.switch_page("compare.py").run()
    assert not app.exception and button(app, "rows on") is None
    table = app.dataframe[0].value.set_index("row")
    assert {"c0", "c1", "isotropic", "ensemble", "slerp"} <= set(table.index)
    assert table.loc["isotropic", "mIoU (%)"] > 0 and table.loc["ties", "remark"].startswith("not applicable: Needs a base")
    assert "How to read" in text(app)
    assert "fusionlib merge --method" in app.code[0].value
