"""The Diversity part of Compare: cost first, the run, chart and table, lines to the last network; and its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.charts.runs import SERIES, rate_curves_figure, rates_figure, snapshots_figure
from fusionlib.charts.sets import families_figure, likelihood_figure, quality_figure
from pages.widgets import server
from tests.helpers import folder_data, until
from tests.page_tools import button, opened, text, tiny_files


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("compare.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    files = tiny_files(tmp_path / "files", 4)
    return ["--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}"]


def diverse(app: AppTest, *names: str) -> AppTest:
    """The Diversity part with these checkpoints."""
    app.multiselect[0].set_value(list(names)).run()
    app.button_group(key="part").set_value("sets").run()
    assert not app.exception
    return app


def worked(app: AppTest, key: str, desk: str) -> Any:
    """Press the button, and wait for the work of that desk."""
    app.button(key=key).click().run()
    work = list(getattr(server.studio(), desk)._works._works.values())[-1]
    until(lambda: work.state == "done")
    app.run()
    assert not app.exception
    return work


def test_a_set_is_measured_after_its_cost_was_told(start, given: list[str]) -> None:
    app = diverse(start(*given), "c0", "c1", "c2")
    assert button(app, "forward passes").label == "Measure: 8 forward passes"
    found = worked(app, "sets-run", "sets").snapshot()
    gain = 100 * (found["ensembles"][-1]["miou"] - found["best"]["miou"])
    assert app.metric[0].value == f"{gain:+.2f} points" and "Mean of the weights" in text(app)
    table = next(item.value for item in app.dataframe if "DEE" in item.value)
    assert list(table["network"])[:5] == ["c0", "c1", "c2", "mean of these", "first 2 together"]
    assert list(table["DEE"])[-1] == found["soup"]["dee_text"] and not app.button(key="lines-run").disabled
    lines = worked(app, "lines-run", "snapshots")
    table = next(item.value for item in app.dataframe if "best alpha" in item.value)
    assert list(table["network"]) == ["c0", "c1", "c2"] and lines.snapshot()["last"] == "c2"
    assert button(app, "forward passes") is None, "all is known"


def test_others_are_the_reference_and_the_link_says_so(start, given: list[str]) -> None:
    app = diverse(start(*given), "c0", "c1", "c2")
    app.multiselect(key="reference").set_value(["c3"]).run()
    assert "two networks or more" in text(app)
    app.multiselect(key="reference").set_value(["c2", "c3"]).run()
    app.selectbox(key="across").set_value("correlation").run()
    assert app.query_params["reference"] == ["c2", "c3"] and app.query_params["across"] in (
        "correlation",
        ["correlation"],
    )
    work = worked(app, "sets-run", "sets")
    assert work.snapshot()["reference"]["names"] == ["c2", "c3"] and "networks of the reference" in text(app)


def test_two_are_no_set(start, given: list[str]) -> None:
    app = diverse(start(*given), "c0", "c1")
    assert "three or more" in text(app) and button(app, "forward passes") is None


# --- figures ---------------------------------------------------------------------------------------------------------


def network(name: str, miou: float | None, apart: float | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "miou": miou, "disagreement": apart, "correlation": apart, **more}


def a_set(soup: float | None = 0.55) -> dict[str, Any]:
    grown = [
        network("", miou, apart, networks=size, log_likelihood=-1 / size, dee_text=f"{size}")
        for size, (miou, apart) in enumerate(((0.5, None), (0.52, 0.1), (0.6, 0.2)), 1)
    ]
    return {
        "members": [network("a", 0.5, 0.1), network("b <i>", 0.4, 0.2), network("c", None, 0.3)],
        "ensembles": grown,
        "soup": {"miou": soup, "log_likelihood": -0.4},
        "mean": {"miou": 0.45},
        "best": network("a", 0.5, 0.1),
        "disagreement": 0.2,
        "correlation": 0.7,
        "reference": {"itself": False, "curve": [{"networks": 1, "log_likelihood": -1.0}]},
    }


def test_diversity_lies_across_and_quality_up() -> None:
    alone, together, soup = quality_figure(a_set()).data
    assert list(alone.x) == [10, 20] and list(alone.y) == [50, 40], "what is not measured is not drawn"
    assert alone.customdata[1][0] == "b &lt;i&gt;"
    assert list(together.x) == [10, 20] and list(together.text) == ["2", "3"]
    assert list(soup.x) == [20] and soup.y[0] == pytest.approx(55)
    assert len(quality_figure(a_set(None), "correlation").data) == 2, "no mean of the weights"
    families = families_figure([a_set(), a_set(None)], ["one", "two"])
    assert [len(trace.x) for trace in families.data] == [4, 3]
    worth = likelihood_figure(a_set())
    assert [list(trace.x) for trace in worth.data] == [[1, 2, 3], [1]]


def test_snapshots_have_a_line_each_for_every_dataset() -> None:
    points = [{"alpha": alpha, "miou": 0.5, "loss": None} for alpha in (0, 1)]
    lines = [{"name": name, "data": [{"points": points}, {"points": points[:1]}]} for name in "ab"]
    found = {"lines": lines, "data": [{"data": "train"}, {"data": "test"}], "last": "c"}
    drawn = snapshots_figure(found).data
    assert [(trace.name, trace.showlegend, len(trace.x)) for trace in drawn] == [
        ("a", True, 2), ("a", False, 1), ("b", True, 2), ("b", False, 1),
    ]  # fmt: skip
    assert all(len(trace.x) == 0 for trace in snapshots_figure(found, "loss").data)


def test_rates_have_five_rows_and_a_diamond_a_run() -> None:
    def epoch(name: str, fused: float | None) -> dict[str, Any]:
        curve = [{"alpha": alpha, "miou": miou} for alpha, miou in ((0, 0.4), (0.5, fused), (1, 0.5))]
        return {"name": name, "fused": fused, "single": 0.4, "loss": 1.0, "oracle": 0.7, "cosine": 0.99, "curve": curve}

    best = {"name": "e2", "alpha": 0.5, "fused": 0.6}
    runs = [
        {"name": "0.01", "epochs": [epoch("e1", 0.55), epoch("e2", 0.6)], "best": best, "mean": {"miou": 0.5}},
        {"name": "0.02", "epochs": [epoch("e1", None)], "best": None, "mean": {"miou": None}},
    ]
    found = {"runs": runs, "start": {"name": "s", "miou": 0.5}}
    drawn = rates_figure(found).data
    diamonds = [trace for trace in drawn if trace.marker.symbol == "diamond"]
    assert len(drawn) - len(diamonds) == 2 * len(SERIES) and [list(one.x) for one in diamonds] == [[2]]
    curves = rate_curves_figure(found).data
    assert [list(trace.y) for trace in curves[:2]] == [[0.99, 0.99], [70, 70]]
    assert [list(trace.x) for trace in curves[2:]] == [[0, 0.5, 1], [0.5], [0, 1]], "no diamond below the start"
