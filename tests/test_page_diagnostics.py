"""The Diagnostics page through Streamlit's own test harness: verdicts, the background run, empty and broken sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.diagnostics.verdict import USEFUL
from fusionlib.figures import diagnostics as figures
from pages.widgets import diagnostics_charts, server
from pages.widgets.diagnostics_tables import as_csv, layer_rows, pair_rows
from tests.helpers import folder_data, tiny_file, tiny_registered, tiny_tensors, tiny_world, until

MAIN = Path(__file__).parents[1] / "pages" / "main.py"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Opens the Diagnostics page with these arguments behind `--`, on an empty home folder."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))

    def open_page(*arguments: str) -> AppTest:
        monkeypatch.setenv("FUSION_ARGS", " ".join(("--no-demo", *arguments)))
        server.reset()
        app = AppTest.from_file(str(MAIN), default_timeout=60).run()
        app.switch_page("diagnostics.py").run()
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
    return "\n".join(item.value for kind in (app.caption, app.info, app.error, app.success, app.warning, app.markdown) for item in kind)


def test_an_empty_workspace_says_what_to_do(start) -> None:
    assert "Load two checkpoints" in text(start())


def test_weights_are_judged_at_once_and_without_data(start, files: Path) -> None:
    app = start("--checkpoints", str(files))
    assert app.multiselect[0].value == ["c0", "c1", "c2"]
    shown = text(app)
    assert "separate basins" in shown and "permutation matching" in shown
    assert "No data" in shown
    app.multiselect[0].set_value(["c1"]).run()
    assert not app.exception and "two or more" in text(app)


def test_the_networks_run_in_the_background_and_the_page_shows_it(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 3)}")
    button(app, "Run 3 networks on 3 pictures").click().run()
    assert not app.exception
    diagnosis = next(iter(server.studio()._diagnoses.values()))
    until(lambda: diagnosis.state == "done")
    app.switch_page("workspace.py").run()
    app.switch_page("diagnostics.py").run()
    assert not app.exception
    metrics = {item.label: item.value for item in app.metric}
    assert metrics["Disagreement"].endswith("%") and metrics["Loss barrier"].endswith("nats")
    assert "Entezari" in text(app) and "Oracle of all 3" in text(app) and "Linear CKA" in text(app)


def test_a_pair_opens_in_merge_at_the_verdict_s_alpha(start, files: Path) -> None:
    save_tensors(files / "twin.safetensors", {name: tensor + 1e-3 if tensor.is_floating_point() else tensor
                                              for name, tensor in tiny_tensors(2).items()})
    app = start("--checkpoints", str(files))
    box = next(item for item in app.selectbox if item.label == "Verdict on")
    box.set_value("c2 + twin").run()
    assert "Merge." in text(app)
    button(app, "Open this pair in Merge").click().run()
    assert not app.exception
    chosen = {item.label: item.value for item in app.selectbox}
    assert (chosen["Checkpoint A"], chosen["Checkpoint B"]) == ("c2", "twin")
    assert app.session_state["alpha"] == 0.5


def test_a_click_on_a_point_is_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"diagnostics-pairs": SimpleNamespace(selection=SimpleNamespace(points=[{"customdata": [1, "b + c"]}]))}
    monkeypatch.setattr(diagnostics_charts.st, "session_state", state)
    monkeypatch.setattr(diagnostics_charts, "choose", lambda a, b: state.update(a=a, b=b))
    diagnostics_charts._clicked([{}, {"a": "b", "b": "c", "verdict": {"alpha": 0.75}}])
    assert (state["a"], state["b"], state["alpha"], state["diagnostics-open"]) == ("b", "c", 0.75, True)


def test_networks_that_do_not_fit_are_explained(start, files: Path) -> None:
    save_tensors(files / "stranger.safetensors", {"stem.weight": torch.ones(8, 3, 3, 3)})
    (files / "broken.pth").write_bytes(b"nothing")
    app = start("--checkpoints", str(files))
    app.multiselect[0].set_value(["c0", "stranger"]).run()
    assert not app.exception
    assert "differ in name or shape" in text(app)
    assert button(app, "Open this pair in Merge").disabled


def test_numbers_that_are_not_finite_are_named(start, files: Path) -> None:
    table = tiny_tensors(5)
    table["body.weight"][0] = float("nan")
    save_tensors(files / "c9.safetensors", table)
    app = start("--checkpoints", str(files))
    assert not app.exception
    assert any("NaN" in item.value for item in app.error)


def test_figures_have_titles_and_named_axes(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=3) as world:
        diagnosis = world.studio.diagnosis(["a", "b"], world.source, None)
        plain = diagnosis.report()
        diagnosis.measure(0.25)
        report = diagnosis.report()
        pair = report["pairs"][0]
        drawn = [figures.pairs_figure(plain["pairs"], USEFUL), figures.pairs_figure(report["pairs"], USEFUL),
                 figures.pairs_figure(report["pairs"], USEFUL, zoom=True), figures.direction_figure(pair),
                 figures.similarity_figure(pair, 3),
                 *(figures.layers_figure(report["pairs"], measure, kind, "x") for measure in ("cosine", "discrepancy")
                   for kind in ("convolution", "batch norm"))]
        for figure in drawn:
            assert figure.layout.title.text and figure.layout.xaxis.title.text
        path = figures.path_figure(pair)
        assert path.layout.annotations[0].text and path.layout.yaxis.title.text and path.layout.yaxis2.title.text
        assert "oracle" in drawn[1].layout.yaxis.title.text and "L2" in drawn[0].layout.yaxis.title.text
        assert as_csv(pair_rows(report["pairs"])).count("\n") == 2
        assert len(layer_rows(report["pairs"], "cosine", "convolution")) == 3


def test_csv_defuses_formulas() -> None:
    assert as_csv([{"name": "=1+1", "value": -1.5}, {"name": "plain", "other": None}]) == "name,value,other\n'=1+1,-1.5,\nplain,,\n"
