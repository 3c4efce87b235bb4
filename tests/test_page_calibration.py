"""The calibration tab through Streamlit's own test harness: what it shows before, during and after measuring, and in
empty states.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import folder_data, tiny_file, until
from page_tools import MAIN, opened
from streamlit.testing.v1 import AppTest

from fusionlib.charts.calibration import (
    band_figure,
    curves_figure,
    reliability_figure,
    separation_figure,
    temperature_figure,
)
from fusionlib.charts.calibration_terms import TERMS, best_alpha, best_of, bin_rows, figure_rows
from fusionlib.measures.calibration_summary import costliest_bin
from fusionlib.studio import Selection, ensemble_point
from pages.widgets import server


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Opens the earlier address of the calibration tab over two tiny checkpoints with these data arguments."""
    for seed, name in ((1, "a"), (2, "b")):
        tiny_file(tmp_path / "files", name, seed)
    with opened("calibration.py", tmp_path / "home", monkeypatch) as open_page:
        yield lambda *arguments: open_page("--checkpoints", str(tmp_path / "files"), *arguments)


def texts(app: AppTest) -> str:
    return "\n".join(item.value for kind in (app.markdown, app.caption, app.info) for item in kind)


def press(app: AppTest, label: str) -> AppTest:
    return next(item for item in app.button if item.label.startswith(label)).click().run()


def sweep_of(source: str):
    studio = server.studio()
    return studio.calibration.sweep(studio.view(Selection("a", "b", source, None)))


def charts(app: AppTest) -> list[str]:
    return [item.proto.id.split("-", 2)[-1] for item in app.get("plotly_chart")]


def test_measuring_fills_the_page_and_a_restart_shows_it_at_once(start, tmp_path: Path) -> None:
    data = folder_data(tmp_path / "data", 3)
    app = start("--data", f"folder:{data}")
    assert not app.exception and not app.error and not app.get("plotly_chart")
    first = next(item for item in app.button if item.label.startswith("Measure 4 networks on 3 pictures"))
    assert "Every labelled pixel counts" in first.help
    press(app, "Measure 4 networks")
    sweep = sweep_of(server.studio().workspace.sources[0].name)
    until(lambda: sweep.state == "done")
    app.run()
    assert not app.exception and not app.error
    assert len(app.get("plotly_chart")) == 6, (
        "reliability, separation of each network, and a curve from B through the merge to A"
    )
    assert any(item.label == "Where these pixels are" for item in app.expander) and "right" in texts(app)
    assert "-badge[" in texts(app), "how many pixels of the bin the picture shows"
    table = next(item.value for item in app.dataframe if "definition" in item.value)
    assert list(table.index) == [term.axis for term in TERMS.values()]
    assert list(table.columns) == ["A: a", "B: b", "merge, alpha 0.5", "ensemble, 0.5 : 0.5", "better", "definition"]
    assert "n/a" not in table.loc[TERMS["ece_sample_weighted"].axis].tolist()
    again = start("--data", f"folder:{data}")
    assert len(again.get("plotly_chart")) == 6 and not [
        item for item in again.button if item.label.startswith("Measure 4")
    ]


def test_bins_class_picture_and_ensemble_can_be_chosen(start, tmp_path: Path) -> None:
    app = start("--data", f"folder:{folder_data(tmp_path / 'data', 3)}")
    sweep = sweep_of(server.studio().workspace.sources[0].name)
    sweep.want_points(("a", "b", 0.5, ensemble_point(0.5)))
    sweep.wait(30)
    app.run()
    next(item for item in app.selectbox if item.label == "Bins").set_value(30).run()
    common = max(range(3), key=lambda label: sweep.summary(0.5, 15, label)["pixels"])
    next(item for item in app.selectbox if item.label == "Pixels predicted as").set_value(
        ("road", "car", "sky")[common]
    ).run()
    next(item for item in app.toggle if "ensemble" in item.label).set_value(False).run()
    assert not app.exception and not app.error
    table = next(item.value for item in app.dataframe if "definition" in item.value)
    assert len(table.columns) == 5 and TERMS["kl"].axis in table.index and TERMS["nll"].axis not in table.index
    next(item for item in app.selectbox if item.label == "Network" and item.key == "calibration-network").set_value(
        "b"
    ).run()
    assert "B: b, confidence" in texts(app)
    next(item for item in app.button if item.label == "Next").click().run()
    assert not app.exception and next(item for item in app.number_input if item.label.startswith("Picture")).value == 2
    app.switch_page("workspace.py").run()
    app.switch_page("calibration.py").run()
    assert next(item for item in app.selectbox if item.label == "Bins").value == 30


def test_the_chosen_confidence_outlives_another_number_of_bins(start, tmp_path: Path) -> None:
    app = start("--data", f"folder:{folder_data(tmp_path / 'data', 3)}")
    sweep = sweep_of(server.studio().workspace.sources[0].name)
    sweep.want_points(("a", "b", 0.5, ensemble_point(0.5)))
    sweep.wait(30)
    app.run()
    full = [number for number, bin in enumerate(sweep.summary(0.5, 15)["bins"]) if bin["count"]]
    middle = (full[0] + 0.5) / 15
    next(item for item in app.selectbox if item.label == "Confidence").set_value(full[0]).run()
    for bins in (30, 10, 15):
        next(item for item in app.selectbox if item.label == "Bins").set_value(bins).run()
        assert not app.exception
        chosen = next(item for item in app.selectbox if item.label == "Confidence").value
        covering = int(middle * bins)
        if sweep.summary(0.5, bins)["bins"][covering]["count"]:
            assert chosen == covering
    assert chosen == full[0]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_an_ensemble_of_one_is_not_asked_for(start, tmp_path: Path, alpha: float) -> None:
    app = start("--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    next(item for item in app.slider if "Alpha" in item.label).set_value(alpha).run()
    assert not app.exception and next(item for item in app.button if item.label.startswith("Measure 3 networks"))


def test_curves_pairs_and_temperature_appear_when_they_are_measured(start, tmp_path: Path) -> None:
    app = start("--data", f"folder:{folder_data(tmp_path / 'data', 3)}")
    source = server.studio().workspace.sources[0].name
    sweep = sweep_of(source)
    sweep.want(0.1)
    sweep.wait(60)
    app.run()
    assert (
        not app.exception
        and "Stars on the dashed line" in texts(app)
        and "mean over 1 of 1 pairs" in texts(app).replace("Mean", "mean")
    )
    assert "Will be fitted on pictures 1, 3, 5" in texts(app) and "Fitted on" not in texts(app)
    press(app, "Fit T")
    studio = server.studio()
    job = studio.calibration.temperature(sweep.view, "a", None)
    until(lambda: job.state == "done")
    app.run()
    assert not app.exception and not app.error
    assert "mIoU cannot change" in texts(app)
    assert "no picture is in both" in texts(app), "there is but one split: it is halved"
    box = next(item for item in app.selectbox if item.label == "Fit on")
    assert box.options == ["every other picture", f"{source}, the same pictures"]
    box.set_value((source, None)).run()
    assert any("on the same pictures" in item.value and "flatter" in item.value for item in app.warning)


def test_empty_states_say_what_to_do(start, tmp_path: Path) -> None:
    plain = start("--data", f"pictures:{folder_data(tmp_path / 'plain', 2, masks=False)}")
    assert not plain.exception and "no masks" in texts(plain)
    none = start()
    assert not none.exception and "data" in texts(none)


def test_without_checkpoints_the_page_says_how_to_load_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FUSION_ARGS", "--no-demo")
    server.reset()
    app = AppTest.from_file(str(MAIN), default_timeout=60).run().switch_page("calibration.py").run()
    assert not app.exception and "Load two checkpoints" in texts(app)
    server.reset()


def test_an_unknown_network_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from fusionlib.checkpoints.writer import save_tensors

    for value in (1.0, 3.0):
        save_tensors(tmp_path / f"w{value:g}.safetensors", {"layer.weight": torch.full((4, 4), value)})
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FUSION_ARGS", f"--no-demo --checkpoints {tmp_path} --data streets:clear:2")
    server.reset()
    app = AppTest.from_file(str(MAIN), default_timeout=60).run().switch_page("calibration.py").run()
    assert not app.exception and "No model code" in texts(app) and "masks" not in texts(app)
    server.reset()


# --- figures ---------------------------------------------------------------------------------------------------------


def summary_of(values: float = 0.2) -> dict:
    bins = [
        {
            "low": number / 10,
            "high": (number + 1) / 10,
            "count": 0,
            "accuracy": None,
            "confidence": None,
            "correct": 0,
            "wrong": 0,
        }
        for number in range(10)
    ]
    bins[7] |= {"count": 100, "accuracy": 0.5, "confidence": 0.75, "correct": 50, "wrong": 50}
    bins[9] |= {"count": 1000, "accuracy": 0.9, "confidence": 0.95, "correct": 900, "wrong": 100}
    return {**dict.fromkeys(TERMS, values), "bins": bins, "pixels": 1100, "undefined_pixels": 0}


def test_empty_bins_are_not_drawn_and_a_click_names_network_and_bin() -> None:
    figure = reliability_figure([("a", "A", summary_of()), ("m", "merge", summary_of())], ("m", 9))
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.customdata is not None]
    assert [len(trace.x) for trace in lines] == [2, 2]
    assert [list(row[:2]) for row in lines[1].customdata] == [["m", 7], ["m", 9]]
    assert figure.layout.yaxis2.type == "log" and figure.layout.yaxis.title.text and figure.layout.xaxis2.title.text
    low, high = figure.layout.yaxis.range
    assert low < 0 and high > 100, "dots at the ends of the axis are whole"
    assert costliest_bin(summary_of()) == 9


def test_every_chart_has_a_title_and_named_axes() -> None:
    points = [{"alpha": alpha, **dict.fromkeys(TERMS, 0.1 + alpha)} for alpha in (0.0, 0.5, 1.0)]
    bands = {
        "miou": [{"alpha": 0.0, "mean": 0.5, "low": 0.4, "high": 0.6}],
        "nll": [{"alpha": 0.0, "mean": 0.5, "low": 0.4, "high": 0.6}],
    }
    for figure in (
        curves_figure(points, ["nll", "kl", "auroc"]),
        band_figure(bands, 1),
        separation_figure("A", *[bands_counts()] * 2),
        temperature_figure([[1, 0.5], [2, 0.4]], 2.0),
    ):
        assert figure.layout.title.text
        assert all(figure.layout[name].title.text for name in figure.layout if str(name).startswith("yaxis"))
        assert any(figure.layout[name].title.text for name in figure.layout if str(name).startswith("xaxis"))
    assert [trace.mode for trace in band_figure(bands, 1).data] == [
        "lines",
        "lines+markers",
    ] * 2, "the band itself has no dots"
    assert best_alpha(points, "miou") == 1.0 and best_alpha(points, "nll") == 0.0
    assert best_alpha([{"alpha": 0.0, "kl": None}], "kl") is None
    assert best_of("nll", [0.3, None, 0.2, 0.2]) == [False, False, True, True] and best_of("kl", [None, 1.0]) == [
        False,
        False,
    ]


def bands_counts():
    import numpy as np

    return np.arange(60)


def test_tables_have_the_numbers_of_the_charts() -> None:
    rows = bin_rows([("A", summary_of())])
    assert len(rows) == 10 and rows[9]["accuracy (%)"] == pytest.approx(90) and rows[0]["accuracy (%)"] is None
    assert figure_rows([("A", summary_of())])[0][TERMS["ece_unweighted"].axis] == pytest.approx(20)


def test_bins_of_few_pixels_are_faint_and_not_joined() -> None:
    summary = summary_of()
    summary["bins"][8] |= {"count": 3, "accuracy": 0.0, "confidence": 0.85, "correct": 0, "wrong": 3}
    figure = reliability_figure([("a", "A", summary)])
    line = next(
        trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines" and trace.legendgroup == "a"
    )
    dots = next(trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers")
    assert list(line.y) == [50, None, 90] and list(dots.y) == [50, 0, 90]
    assert dots.marker.opacity[1] < dots.marker.opacity[0] and "under 100" in dots.customdata[1][6]


def test_the_best_points_are_named_under_the_pointer() -> None:
    points = [{"alpha": alpha, **dict.fromkeys(TERMS, 0.1 + alpha)} for alpha in (0.0, 0.5, 1.0)]
    figure = curves_figure(points, ["nll"])
    assert list(figure.data[0].customdata) == [" (B alone)", "", " (A alone, best measured point, best measured mIoU)"]
    assert list(figure.data[1].customdata) == [" (B alone, best measured point)", "", " (A alone, best measured mIoU)"]
