"""The Compare page through Streamlit's own test harness: empty states, the run, what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.merging.build import build_method
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import units
from fusionlib.studio import Comparison, Own
from pages.widgets import compare_open, method_link, server
from pages.widgets.diagnostics_tables import as_csv
from tests.helpers import folder_data, tiny_file, tiny_tensors, until
from tests.page_tools import MAIN, button, opened, text, tiny_files


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("compare.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tiny_files(tmp_path / "files")


def shown_table(app: AppTest):
    return next(item.value for item in app.dataframe if "row" in item.value.columns).set_index("row")


def table_of(app: AppTest):
    """A line for every name: rows of one network share one."""
    table = shown_table(app).reset_index()
    return table.assign(row=table["row"].str.split(" = ")).explode("row").set_index("row")


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
    app.button_group(key="rows").set_value(["methods", "buffers", "subsets"]).run()
    button(app, "rows on 2 pictures").click().run()
    assert not app.exception
    comparison = next(iter(list(server.studio().comparisons._works._works.values())[::-1]))
    until(lambda: comparison.state == "done")
    app.switch_page("workspace.py").run()
    app.switch_page("compare.py").run()
    assert not app.exception and button(app, "rows on") is None
    table = table_of(app)
    assert {"c0", "c1", "isotropic", "ensemble", "slerp"} <= set(table.index)
    assert table.loc["isotropic", "mIoU (%)"] > 0 and "ties" not in table.index
    assert "How to read" in text(app) and "- **ties**: not applicable: Needs a base" in text(app).replace("\\", "")
    barriers = next(item.value for item in app.dataframe if "units moved" in item.value)
    assert list(barriers["checkpoint"]) == ["c1", "c1"] and list(barriers["barrier of"]) == [
        "loss (nats)",
        "mIoU (points)",
    ]
    assert barriers[["line, before", "line, after", "mean, before", "mean, after"]].notna().all(axis=None)
    assert "anchor c0" in text(app) and "statistics: average" in text(app)
    assert "fusionlib merge --method" in app.code[0].value


def measured(app: AppTest) -> AppTest:
    """Press the one button and wait for the run behind it."""
    button(app, "rows on").click().run()
    comparison = list(server.studio().comparisons._works._works.values())[-1]
    until(lambda: comparison.state == "done")
    return app.run()


def test_empty_cells_of_a_csv_are_empty() -> None:
    assert as_csv([{"name": "", "value": "@x"}, {"name": "a-b", "value": ""}]) == "name,value\n,'@x\na-b,\n"


def widget(app: AppTest, kind: str, label: str):
    return next(item for item in getattr(app, kind) if item.label == label)


def test_a_row_of_your_own_is_measured_written_and_taken_away(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    app.multiselect[0].set_value(["c0", "c1", "c2"]).run()
    app.button_group(key="rows").set_value([]).run()
    widget(app, "selectbox", "Method").set_value("ties").run()
    widget(app, "selectbox", "base").set_value(2).run()
    widget(app, "slider", "density").set_value(0.4).run()
    button(app, "Add this row").click().run()
    widget(app, "selectbox", "Method").set_value("linear").run()
    assert [widget(app, "number_input", name).value for name in ("c0", "c1", "c2")] == [1 / 3] * 3
    for name, share in (("c0", 0.2), ("c1", 0.5)):
        widget(app, "number_input", name).set_value(share).run()
    assert (
        "Sum 1.03333: the weights need to sum to 1, so take away 0.0333333" in text(app)
        and button(app, "Add this row").disabled
    )
    widget(app, "number_input", "c2").set_value(0.3).run()
    button(app, "Add this row").click().run()
    measured(app)
    assert not app.exception and not app.error
    table = table_of(app)
    assert set(table.index) == {
        "c0",
        "c1",
        "c2",
        "ties: base c2, density 0.4",
        "linear: weights c0 0.2, c1 0.5, c2 0.3",
    }
    assert table["mIoU (%)"].notna().all()
    widget(app, "selectbox", "Row").set_value("linear: weights c0 0.2, c1 0.5, c2 0.3").run()
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    written = open_checkpoint(next((tmp_path / "home" / "exports").glob("linear-*.safetensors")))
    members = [tiny_tensors(seed) for seed in range(3)]
    expected = sum(
        share * member["head.weight"].double() for share, member in zip((0.2, 0.5, 0.3), members, strict=True)
    )
    assert torch.allclose(written.read("head.weight").double(), expected, atol=1e-6)
    app.button_group[2].set_value(["linear: weights c0 0.2, c1 0.5, c2 0.3"]).run()
    assert set(table_of(app).index) == {"c0", "c1", "c2", "linear: weights c0 0.2, c1 0.5, c2 0.3"}


def test_what_is_shared_is_shown_before_anything_runs_and_can_be_corrected(start, tmp_path: Path) -> None:
    tiny_file(tmp_path / "files", "three", 0, 3)
    tiny_file(tmp_path / "files", "five", 1, 5)
    app = start("--checkpoints", str(tmp_path / "files"), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    app.multiselect[0].set_value(["three", "five"]).run()
    widget(app, "selectbox", "Anchor").set_value("three").run()
    assert "2 are those of three" in text(app)
    why = next(item.value for item in app.dataframe if "why" in item.value.columns).set_index("tensor")["why"]
    assert why["head.weight"] == "of another shape somewhere" and why["stem.weight"] == "in all, with equal shapes"
    widget(app, "text_input", "Leave out (shell patterns)").set_value("stem.*").run()
    assert "of three" in text(app) and not app.exception
    why = next(item.value for item in app.dataframe if "why" in item.value.columns).set_index("tensor")["why"]
    assert why["stem.weight"] == "excluded by pattern"
    widget(app, "text_input", "Rename (regular expression = new text)").set_value("((=x").run()
    assert "regular expression" in app.error[0].value and not app.exception
    widget(app, "text_input", "Leave out (shell patterns)").set_value("stem.*, nowhere*").run()
    widget(app, "text_input", "Rename (regular expression = new text)").set_value("stem; ^net=x").run()
    assert "Pattern nowhere\\* matches no tensor of the anchor" in text(app)
    assert "Pattern ^net matches no tensor of the others" in text(app) and "stem is passed over" in text(app)
    widget(app, "text_input", "Rename (regular expression = new text)").set_value("").run()
    measured(app)
    table = table_of(app)
    assert table.loc["isotropic", "mIoU (%)"] > 0 and "- **rebasin**: not applicable" in text(app)


def test_a_pattern_of_layerwise_that_matches_nothing_is_said(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.button_group(key="rows").set_value([]).run()
    widget(app, "selectbox", "Method").set_value("layerwise").run()
    widget(app, "text_input", "exclude").set_value("[(, head.*").run()
    assert (
        "Pattern \\[\\( matches no tensor" in text(app)
        and "head" not in text(app).partition("matches no tensor")[0][-30:]
    )
    button(app, "Add this row").click().run()
    measured(app)
    assert "pattern [( matches no tensor" in table_of(app).loc["layerwise: anchor c0, exclude [(, head.*", "remark"]


def test_a_saved_layer_preset_is_a_row(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    app.multiselect[0].set_value(["c0", "c1", "c2"]).run()
    app.button_group(key="rows").set_value([]).run()
    widget(app, "selectbox", "Method").set_value("profile").run()
    assert "No saved preset fits" in text(app) and button(app, "Add this row").disabled
    layout = Layout.of(open_checkpoint(next(files.glob("c0.*"))).tensors)
    weights = {name: (0.1, 0.2, 0.7) if name == "head" else (0.5, 0.3, 0.2) for name in units(layout, "block")}
    server.studio().layers.shelf.save("mine", LayerProfile(anchor=1, weights=weights))
    app.run()
    button(app, "Add this row").click().run()
    measured(app)
    assert table_of(app).loc["profile: preset mine", ["anchor", "parameters"]].tolist() == [
        "c1",
        f"granularity block, weights for {len(weights)} units",
    ]
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    written = open_checkpoint(next((tmp_path / "home" / "exports").glob("profile-*.safetensors")))
    members = [tiny_tensors(seed) for seed in range(3)]
    expected = sum(
        share * member["head.weight"].double() for share, member in zip((0.1, 0.2, 0.7), members, strict=True)
    )
    assert torch.allclose(written.read("head.weight").double(), expected, atol=1e-6)
    assert "'weights={" in app.code[0].value


@pytest.mark.parametrize("name", [name for name in METHODS.names() if name != "profile"])
def test_every_method_has_widgets_for_its_parameters(start, files: Path, tmp_path: Path, name: str) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    widget(app, "selectbox", "Method").set_value(name).run()
    assert not app.exception
    labels = {
        item.label
        for kind in (app.selectbox, app.slider, app.number_input, app.text_input, app.toggle)
        for item in kind
    }
    offered = [item for item in parameters_of(METHODS.get(name)) if (name, item.name) != ("linear", "alpha")]
    assert {item.name.replace("_", " ") for item in offered if not isinstance(item.default, tuple)} <= labels
    assert len({"c0", "c1", "c2"} & labels) == 2 or not any(isinstance(item.default, tuple) for item in offered)


def test_a_link_brings_rows_of_your_own_and_nonsense_is_passed_over(start, files: Path, tmp_path: Path) -> None:
    start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    good = {"method": "ties", "values": {"density": 0.4}, "checkpoints": {"base": "c1"}}
    bad = [
        {},
        3,
        {**good, "method": "magic"},
        {**good, "values": {"density": 9}},
        {**good, "checkpoints": {"seed": "c1"}},
        {**good, "checkpoints": {"base": 7}},
        {**good, "values": []},
        {**good, "shares": {"base": {"c1": 1}}},
        {"method": "linear", "values": {}, "checkpoints": {}, "shares": {"weights": ["c0"]}},
        {**good, "preset": "mine"},
    ]
    for link, rows in (
        (json.dumps([good]), 1),
        ("{", 0),
        ("[" * 5000, 0),
        ('"x"', 0),
        *((json.dumps([one]), 0) for one in bad),
    ):
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        app.query_params["own"] = link
        app.run().switch_page("compare.py")
        app.query_params["own"] = link
        app.run()
        assert not app.exception
        assert sum(name.startswith("ties: base") for name in table_of(app).index) == rows, link


def test_weights_in_a_link_belong_to_checkpoints_by_name() -> None:
    row = method_link.named(Own("fisher", (("anchor", 1), ("lambdas", (0.2, 0.8)), ("seed", 3))), ["a", "b"])
    assert row["shares"] == {"lambdas": {"a": 0.2, "b": 0.8}} and method_link._read(json.loads(json.dumps(row))) == row
    turned = method_link.numbered(row, ["b", "a"], dict)
    assert turned is not None and dict(turned.parameters) == {"anchor": 0, "lambdas": (0.8, 0.2), "seed": 3}
    assert (
        method_link.numbered(row, ["a", "b", "c"], dict) is None and method_link.numbered(row, ["b", "c"], dict) is None
    )


def finished(app: AppTest, names: list[str], rows: list[str]) -> tuple[AppTest, Comparison]:
    """The page with everything measured of these checkpoints."""
    app.multiselect[0].set_value(names).run()
    app.button_group(key="rows").set_value(rows).run()
    measured(app)
    assert not app.exception
    return app, list(server.studio().comparisons._works._works.values())[-1]


def test_the_table_is_ranked_with_equal_merges_in_one_line(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}")
    assert app.button_group(key="rows").value == ["methods", "searches", "temperature"]
    app, comparison = finished(app, ["c0", "c1", "c2"], ["methods", "temperature"])
    table = shown_table(app)
    assert table["mIoU (%)"].is_monotonic_decreasing and table["mIoU (%)"].notna().all()
    assert any(name.startswith("isotropic = linear") for name in table.index)
    assert set(table.index[table["kind"] == "single"]) == {"c0", "c1", "c2"}
    (scaled,) = table.index[table["kind"] == "temperature"]
    network = scaled.partition(",")[0]
    assert table.loc[scaled, "mIoU (%)"] == table.loc[network, "mIoU (%)"]
    assert list(table["kind"][table["forwards"] > 1]) == ["ensemble"]
    left_out = [row["name"] for row in comparison.snapshot()["rows"] if row["state"] == "not applicable"]
    assert left_out and not set(left_out) & set(table_of(app).index)
    folded = next(item for item in app.expander if item.label == f"Left out ({len(left_out)})")
    assert all(f"**{name}**" in folded.markdown[0].value.replace("\\", "") for name in left_out)
    opening = table["Explore"].fillna("")
    assert set(opening[table["kind"].isin(["merge", "ensemble"])]) == {"Open in Explore"}
    assert set(opening[table["kind"].isin(["single", "temperature"])]) == {""}
    assert list(table["Errors"].fillna("") != "") == list(opening != "")


def shown_in_explore(app: AppTest, state: dict) -> AppTest:
    """What a click in the table does, and the run after it."""
    app.session_state[compare_open.ASKED] = "", state
    app.run()
    assert not app.exception and not app.error and app.markdown[0].value == "# Explore"
    return app


def state_of(comparison: Comparison, members: list[str], name: str) -> dict:
    rows, _ = comparison.ranked(comparison.snapshot()["rows"])
    states = compare_open.openings(comparison, members, rows)
    (found,) = [state for state, row in zip(states, rows, strict=True) if name in [one["name"] for one in row["same"]]]
    return found


def test_a_row_of_two_opens_in_explore_at_its_alpha(start, files: Path, tmp_path: Path) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    widget(app, "selectbox", "Buffer policy").set_value("gaussian").run()
    app.multiselect[0].set_value(["c1", "c2"]).run()
    widget(app, "selectbox", "Anchor").set_value("c2").run()
    app, comparison = finished(app, ["c1", "c2"], ["methods"])
    state = state_of(comparison, ["c1", "c2"], "isotropic")
    expected = {"a": "c2", "b": "c1", "more": [], "buffers": "gaussian", "mix": "alpha", "alpha": 0.5}
    assert state == expected
    shown_in_explore(app, state)
    assert [widget(app, "selectbox", f"Checkpoint {end}").value for end in "AB"] == ["c2", "c1"]
    assert widget(app, "selectbox", "Mixture").value == "alpha" and app.slider[0].value == 0.5
    assert widget(app, "selectbox", "Buffer policy").value == "gaussian"


@pytest.mark.parametrize("name", ["isotropic", "rebasin", "ensemble"])
def test_a_row_of_three_opens_in_explore_as_the_merge_that_was_measured(
    start, files: Path, tmp_path: Path, name: str
) -> None:
    app = start("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    app.multiselect[0].set_value(["c0", "c1", "c2"]).run()
    widget(app, "selectbox", "Anchor").set_value("c1").run()
    app, comparison = finished(app, ["c0", "c1", "c2"], ["methods"])
    state = state_of(comparison, ["c0", "c1", "c2"], name)
    assert (state["a"], state["b"], state["more"], state["mix"]) == ("c1", "c0", ["c2"], name)
    shown_in_explore(app, state)
    assert widget(app, "selectbox", "Mixture").value == name and app.multiselect[0].value == ["c2"]
    studio = server.studio()
    work = studio.mixture(
        list(studio.views.opened.values())[-1], build_method(name, app.session_state[f"method/{name}"])
    )
    work.want()
    until(lambda: work.state == "done")
    row = next(row for row in comparison.snapshot()["rows"] if row["name"] == name)
    assert (work.points["merge"]["miou"], work.points["merge"]["loss"]) == (row["miou"], row["loss"])


def test_what_explore_is_told_of_a_row() -> None:
    row = {"method": "linear", "parameters": {"alpha": 0.5, "weights": [0.2, 0.8]}, "buffers": "average"}
    assert compare_open.explored(row, ["x", "y"])["alpha"] == 0.2
    row["parameters"] = {"alpha": 0.25, "weights": []}
    assert compare_open.explored(row, ["x", "y"])["alpha"] == 0.25
    row["parameters"] = {"alpha": 0.5, "weights": [0.2, 0.3, 0.5]}
    three = compare_open.explored(row, ["x", "y", "z"])
    assert three["mix"] == "alpha" and three["method/linear"]["weights"] == [0.2, 0.3, 0.5] and "alpha" not in three
    row = {"method": "profile", "buffers": "", "parameters": {"anchor": 0, "granularity": "block"}}
    row["parameters"]["weights"] = {"stem": [0.1, 0.9], "head": [1.0, 0.0]}
    found = compare_open.explored(row, ["x", "y"])
    assert found["mix"] == "layers" and "buffers" not in found
    drawn = {"level": "block", "anchor": 0, "weights": [[0.1, 0.9], [1.0, 0.0]]}
    assert json.loads(found["layer-profile"]) == drawn
    assert compare_open.explored(row, [str(number) for number in range(9)]) is None


def test_merges_of_what_is_shared_have_no_place_in_explore(start, tmp_path: Path) -> None:
    tiny_file(tmp_path / "files", "three", 0, 3)
    tiny_file(tmp_path / "files", "five", 1, 5)
    app = start("--checkpoints", str(tmp_path / "files"), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    app, comparison = finished(app, ["three", "five"], ["methods"])
    assert "isotropic" in comparison.builds() and "isotropic" not in comparison.whole()
    assert "Open in Explore" not in set(shown_table(app)["Explore"])


@pytest.mark.parametrize("page", compare_open.CLICKED)
def test_a_click_is_of_the_row_that_is_shown(monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    state: dict = {compare_open.CLICKED[page]: {"row": 1, "label": "Open in Explore"}}
    monkeypatch.setattr(compare_open.st, "session_state", state)
    compare_open.open_clicked([None, {"a": "x", "mix": "slerp"}], page)
    assert state[compare_open.ASKED] == (page, {"a": "x", "mix": "slerp"})
    quiet: dict = {compare_open.CLICKED[page]: None}
    monkeypatch.setattr(compare_open.st, "session_state", quiet)
    compare_open.open_clicked([{"a": "x"}], page)
    assert compare_open.ASKED not in quiet


@pytest.mark.parametrize("page", ["compare.py", "diagnostics.py"])
def test_pages_with_a_set_of_their_own_do_not_show_the_pair(start, files: Path, page: str) -> None:
    app = start("--checkpoints", str(files)).switch_page("explore.py").run()
    widget(app, "selectbox", "Checkpoint A").set_value("c2").run()
    widget(app, "selectbox", "Checkpoint B").set_value("c1").run()
    app.switch_page(page).run()
    for _ in range(3):  # the pair outlives the runs in which no widget has it
        labels = [item.label for item in app.sidebar.selectbox] + [item.label for item in app.sidebar.button]
        assert "Buffer policy" in labels and not {"Checkpoint A", "Checkpoint B", "Swap A and B"} & set(labels)
        assert (app.session_state["a"], app.session_state["b"]) == ("c2", "c1")
        app.run()
    app.switch_page("explore.py").run()
    assert [widget(app, "selectbox", f"Checkpoint {end}").value for end in "AB"] == ["c2", "c1"]
