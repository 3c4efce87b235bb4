"""The Diagnose page through Streamlit's own test harness: verdicts, the background run, empty and broken sets."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from fusionlib.charts import colours
from fusionlib.charts import diagnostics as figures
from fusionlib.charts.calibration import COLOURS
from fusionlib.charts.diagnostics_pairs import pairs_figure
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.diagnostics.evidence import USEFUL
from pages.widgets import diagnostics_charts, diagnostics_tables, diagnostics_verdict, server
from pages.widgets.diagnostics_tables import as_csv, layer_rows, pair_rows
from tests.helpers import folder_data, tiny_tensors, tiny_world, until
from tests.page_tools import MAIN, button, opened, text, tiny_files


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("diagnostics.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tiny_files(tmp_path / "files")


def test_an_empty_workspace_says_what_to_do(start) -> None:
    assert "Load two checkpoints" in text(start())


def test_weights_are_judged_at_once_and_without_data(start, files: Path) -> None:
    app = start("--checkpoints", str(files))
    assert app.multiselect[0].value == ["c0", "c1", "c2"]
    shown = text(app)
    assert (
        "separate basins" in shown
        and "permutation matching or an ensemble of outputs" in shown
        and "--model" not in shown
    )
    assert "No data" in shown
    app.multiselect[0].set_value(["c1"]).run()
    assert not app.exception and "two or more" in text(app)


def test_the_networks_run_in_the_background_and_the_page_shows_it(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 3)}")
    button(app, "Run 3 networks on 3 pictures").click().run()
    assert not app.exception
    diagnosis = next(iter(server.studio()._diagnoses._works.values()))
    until(lambda: diagnosis.state == "done")
    app.switch_page("workspace.py").run()
    app.switch_page("diagnostics.py").run()
    assert not app.exception
    metrics = {item.label: item.value for item in app.metric}
    assert metrics["Disagreement"].endswith("%") and metrics["Loss barrier"].endswith("nats")
    assert "Entezari" in text(app) and "Oracle of all 3" in text(app) and "Linear CKA" in text(app)


def test_paths_of_other_pairs_are_counted_and_can_be_measured(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    button(app, "Run 3 networks on 2 pictures").click().run()
    diagnosis = next(iter(server.studio()._diagnoses._works.values()))
    until(lambda: diagnosis.state == "done")
    app.run()
    assert "with this step 2 paths of other pairs are not" in text(app) and not button(app, "Measure ")
    next(item for item in app.selectbox if item.label == "Measure also").set_value("paths of all pairs").run()
    button(app, "Measure 2 paths on 2 pictures").click().run()
    until(lambda: diagnosis.state == "done")
    app.run()
    assert not app.exception and "All measured: every network" in text(app) and not button(app, "Measure ")


def test_one_network_that_can_run_leaves_nothing_to_measure_after_it(start, files: Path, tmp_path: Path) -> None:
    save_tensors(files / "odd.safetensors", {"stem.weight": torch.ones(8, 3, 3, 3)})
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    app.multiselect[0].set_value(["c0", "odd"]).run()
    button(app, "Run 1 network on 2 pictures").click().run()
    for diagnosis in server.studio()._diagnoses._works.values():
        until(lambda diagnosis=diagnosis: diagnosis.state != "running")
    app.run()
    assert not app.exception and "All measured" in text(app) and not button(app, "Measure ") and not button(app, "Run ")


def test_a_pair_opens_in_merge_at_the_verdict_s_alpha(start, files: Path) -> None:
    save_tensors(
        files / "twin.safetensors",
        {name: tensor + 1e-3 if tensor.is_floating_point() else tensor for name, tensor in tiny_tensors(2).items()},
    )
    app = start("--checkpoints", str(files))
    box = next(item for item in app.selectbox if item.label == "Verdict on")
    box.set_value("c2 + twin").run()
    assert "Measure the path to know" in text(app) and "usually too close to gain" in text(app)
    button(app, "Open in Explore").click().run()
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
    assert button(app, "Open in Explore").disabled


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
        drawn = [
            pairs_figure(plain["pairs"], USEFUL),
            pairs_figure(report["pairs"], USEFUL),
            pairs_figure(report["pairs"], USEFUL, judged=0),
            figures.direction_figure(pair),
            figures.similarity_figure(pair, 3),
            *(
                figures.layers_figure(report["pairs"], measure, kind, "x")
                for measure in ("cosine", "discrepancy")
                for kind in ("convolution", "batch norm")
            ),
        ]
        for figure in drawn:
            assert figure.layout.title.text and figure.layout.xaxis.title.text
        path = figures.path_figure(pair)
        assert path.layout.annotations[0].text and path.layout.yaxis.title.text and path.layout.yaxis2.title.text
        assert "oracle" in drawn[1].layout.yaxis.title.text and "L2" in drawn[0].layout.yaxis.title.text
        assert as_csv(pair_rows(report["pairs"])).count("\n") == 2
        assert len(layer_rows(report["pairs"], "cosine", "convolution")) == 3


def test_csv_defuses_formulas() -> None:
    assert (
        as_csv([{"name": "=1+1", "value": -1.5}, {"name": "plain", "other": None}])
        == "name,value,other\n'=1+1,-1.5,\nplain,,\n"
    )
    assert as_csv([{"-x": "+1", "B": "\t=1"}]) == "'-x,B\n'+1,'\t=1\n"


def test_one_unknown_network_in_a_set_is_said_and_the_rest_is_measured(start, files: Path, tmp_path: Path) -> None:
    save_tensors(files / "odd.safetensors", {"stem.weight": torch.ones(8, 3, 3, 3)})
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    app.multiselect[0].set_value(["c0", "c1", "odd"]).run()
    assert "No model code is known for odd" in text(app) and "The others can run" in text(app)
    button(app, "Run 2 networks on 2 pictures").click().run()
    for diagnosis in server.studio()._diagnoses._works.values():
        until(lambda diagnosis=diagnosis: diagnosis.state != "running")
    app.run()
    assert (
        not app.exception
        and "Oracle of all 2 that could run" in text(app)
        and "measured on 2 pictures only" in text(app)
    )
    assert "All measured" in text(app) and not button(app, "Measure ")
    next(item for item in app.selectbox if item.label == "Step of alpha").set_value(0.1).run()
    assert "with this step 1 path is not" in text(app) and button(app, "Measure 1 path on 2 pictures")
    next(item for item in app.selectbox if item.label == "Verdict on").set_value("c0 + odd").run()
    assert not app.exception and text(app).count("No model code is known") == 1
    assert "along the path need both networks" in text(app) and "similarity needs both networks" in text(app)
    assert any("no model code" in list(item.value.get("not measured because", ())) for item in app.dataframe)
    app.multiselect[0].set_value(["c0", "c1", "c2"]).run()
    assert "2 of 3 pairs are not measured yet" in text(app) and button(app, "Run 3 networks")


@pytest.mark.parametrize(
    ("query", "members", "judged"),
    [
        ({"set": ["c0", "c2"], "pair": ["c0 + c2"]}, ["c0", "c2"], "c0 + c2"),
        ({"pair": ["c0 + c1"]}, ["c0", "c1", "c2"], "c0 + c1"),
        ({"set": ["zzz", "c1", "c0"], "pair": ["c0 + c2"]}, ["c1", "c0"], "c0 + c1"),
        ({"set": ["zzz"], "pair": ["c9 + ..", ""]}, ["c0", "c1", "c2"], "c1 + c2"),
    ],
)
def test_a_link_opens_its_set_and_pair_and_nonsense_is_passed_over(start, files: Path, query, members, judged) -> None:
    start("--checkpoints", str(files))
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, values in query.items():
        app.query_params[name] = values
    app.switch_page("diagnostics.py").run()
    assert not app.exception
    assert app.multiselect[0].value == members
    assert next(item for item in app.selectbox if item.label == "Verdict on").value == judged


def test_a_and_b_have_the_viewer_s_colours_in_every_chart() -> None:
    themes = tomllib.loads((MAIN.parents[1] / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    for theme in ("light", "dark"):  # the viewer takes the theme's blue for A and orange for B
        assert (themes[theme]["blueColor"], themes[theme]["orangeColor"]) == (colours.A, colours.B)
    pair = {"a": "x", "b": "y", "cosine_path": {"alpha": [0, 1], "a": [0, 1], "b": [1, 0]}}
    assert [trace.line.color for trace in figures.direction_figure(pair).data] == [colours.A, colours.B]
    assert (COLOURS["a"], COLOURS["b"]) == (colours.A, colours.B)


def test_a_set_begins_with_six_of_the_family_a_and_b_among_them(start, tmp_path: Path) -> None:
    app = start("--checkpoints", str(tiny_files(tmp_path / "files", 9)))
    app.session_state["a"], app.session_state["b"] = "c8", "c6"
    app.run()
    assert app.multiselect[0].value == ["c0", "c1", "c2", "c3", "c6", "c8"]
    assert len(next(item for item in app.selectbox if item.label == "Verdict on").options) == 15


def test_the_verdict_is_one_line_and_everything_else_is_folded(start, files: Path) -> None:
    app = start("--checkpoints", str(files))
    (line,) = (item.value.replace("\\", "") for item in app.error)
    assert line.startswith("**Do not merge: separate runs, convolutions ")
    assert line.endswith("** Try permutation matching or an ensemble of outputs.")
    folded = [metric for expander in app.expander for metric in expander.metric]
    assert [item.label for item in app.metric if item.label not in {one.label for one in folded}] == [
        "Cosine",
        "Disagreement",
        "Discrepancy",
        "Oracle gain (points)",
    ]
    assert all(not expander.proto.expanded for expander in app.expander if expander.label != "Table")


def test_across_is_one_minus_cosine_on_a_log_axis() -> None:
    pairs = [pair_of(0, cosine=0.9999), pair_of(1, cosine=0.99), pair_of(2, cosine=1.0), pair_of(3, cosine=-0.2)]
    figure = pairs_figure(pairs, USEFUL)
    assert figure.layout.xaxis.type == "log" and "1 - cosine" in figure.layout.xaxis.title.text
    across = [x for trace in figure.data if trace.name == "path not measured" for x in trace.x]
    assert across == pytest.approx([1e-4, 1e-2, 1e-7, 1.2])
    low, high = figure.layout.xaxis.range
    assert low < -7 and high > 0.08, "weights that are the same stay in the picture"
    (zone,) = figure.layout.shapes
    assert zone.x1 == pytest.approx(1 - USEFUL) and zone.x0 == pytest.approx(10**low)


def heights(figure) -> list[float]:
    return [y for trace in figure.data if trace.name in ("path measured", "path not measured") for y in trace.y]


def pair_of(number: int, **more) -> dict:
    return {
        "a": f"checkpoint-{number}",
        "b": f"checkpoint-{number + 1}",
        "cosine": 0.9 + 0.01 * number,
        "l2": 1.0,
        "oracle_miou": None,
        "oracle_headroom": None,
        "gain": None,
        "verdict": {"level": "measure to know", "evidence": {"interval": None, "units": None}},
        **more,
    }


def test_a_gain_is_shown_with_its_interval_and_what_was_resampled() -> None:
    evidence = {"interval": [0.004, 0.029], "units": {"count": 11, "kind": "runs"}}
    pairs = [pair_of(0), pair_of(1, gain=0.016, verdict={"level": "merge", "evidence": evidence})]
    trace = next(trace for trace in pairs_figure(pairs, USEFUL, distance=True).data if trace.name == "path measured")
    assert [row[4] for row in trace.customdata] == ["+1.6 points (+0.4 to +2.9)"]
    said = diagnostics_verdict._sure
    assert said(evidence) == "; +0.4 to +2.9 with 95 % confidence, from resampling 11 runs"
    assert said({**evidence, "interval": None}) == "; no interval from 11 runs"
    assert said({"interval": None, "units": None}) == ""
    rows = [diagnostics_tables._interval(pair) for pair in pairs]
    assert rows == [(None, None), [0.004, 0.029]]
    assert [diagnostics_tables._resampled(pair) for pair in pairs] == [None, "11 runs"]


def test_an_outlier_does_not_press_the_other_pairs_flat() -> None:
    near = [pair_of(number, l2=1.0 + number) for number in range(4)]
    assert pairs_figure(near, USEFUL).layout.yaxis.type == "linear"
    figure = pairs_figure([*near, pair_of(4, l2=500.0), pair_of(5, l2=0.0)], USEFUL)
    assert figure.layout.yaxis.type == "log" and "log" in figure.layout.yaxis.title.text
    assert sorted(heights(figure)) == [1, 2, 3, 4, 500]
    assert next(trace for trace in figure.data if trace.name == "distance 0").customdata[0][0] == 5


def test_pairs_without_an_oracle_stay_in_the_picture() -> None:
    pairs = [pair_of(0, oracle_miou=0.4), pair_of(1), pair_of(2, cosine=None, l2=None)]
    figure = pairs_figure(pairs, USEFUL)
    assert heights(figure) == [40]
    assert [row[0] for row in next(trace for trace in figure.data if trace.name == "oracle not known").customdata] == [
        1
    ]
    assert sorted(heights(pairs_figure(pairs, USEFUL, distance=True))) == [1, 1]


def test_names_are_written_where_there_is_room() -> None:
    crowded = [pair_of(0, cosine=0.999 + 1e-6 * number) for number in range(8)]
    apart = [pair_of(number, cosine=0.2 * number, l2=1.0 + number) for number in range(4)]
    written = [
        sum(bool(name) for trace in pairs_figure(pairs, USEFUL).data for name in trace.text or ())
        for pairs in (crowded, apart)
    ]
    assert written[0] < 3 and written[1] == 4


def test_the_name_of_the_pair_judged_stands_beside_its_ring() -> None:
    figure = pairs_figure(
        [pair_of(number, cosine=0.2 * number, l2=1.0 + number) for number in range(4)], USEFUL, judged=2
    )
    ring = next(trace for trace in figure.data if trace.name == "judged here")
    assert list(ring.text) == ["checkpoint-2 + checkpoint-3"] and ring.marker.size == 24
    assert not any("checkpoint-2 + " in name for trace in figure.data if trace is not ring for name in trace.text or ())


def test_layers_are_ordered_by_network_and_what_cannot_be_compared_is_named() -> None:
    def layer(name: str, part: str, owner: str, value: float | None) -> dict:
        return {
            "name": name,
            "kind": "convolution",
            "part": part,
            "block": name,
            "first_in": owner,
            "elements": 0 if value is None else 9,
            "cosine": value,
        }

    def row(first: float | None, second: float | None) -> list[dict]:
        return [
            layer("stem", "backbone", "x", first),
            layer("head", "head", "x", first),
            layer("other", "backbone", "y", second),
            layer("alone", "backbone", "z", None),
        ]

    pairs = [{"a": "x", "b": "x2", "layers": row(0.0, None)}, {"a": "y", "b": "y2", "layers": row(None, 0.5)}]
    assert figures.columns_of(pairs, "convolution")[0] == ["stem", "head", "other"]
    drawn = figures.layers_figure(pairs, "cosine", "convolution", "cosine")
    grey, values = (trace for trace in drawn.data if trace.type == "heatmap")
    assert [list(one) for one in grey.z] == [[None, None, 1], [1, 1, None]]
    assert [list(one) for one in values.z] == [[0.0, 0.0, None], [None, None, 0.5]]
    assert any(trace.name == "not comparable" and trace.showlegend for trace in drawn.data)
    assert [note.text for note in drawn.layout.annotations] == ["head", "not in x: from y on"]


def test_networks_that_share_nothing_leave_a_page_that_says_so(start, files: Path) -> None:
    save_tensors(files / "other.safetensors", {"something.weight": torch.ones(4, 4)})
    app = start("--checkpoints", str(files))
    app.multiselect[0].set_value(["c0", "other"]).run()
    assert not app.exception
    assert "No two of these networks share a layer" in text(app) and "there is no direction to compare" in text(app)
    assert "No two of these networks share weights" in text(app) and not app.get("plotly_chart")
