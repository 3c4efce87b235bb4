"""The Search and Vary parts of the Compare page: every strategy, runs to their end, links, empty states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.contracts import STRATEGIES
from fusionlib.studio import SearchWork
from fusionlib.studio.found import class_rows, expected_passes, view_of
from pages.widgets import link, server
from pages.widgets.compare_found import state_of
from tests.helpers import folder_data, until
from tests.page_tools import MAIN, button, opened, text, tiny_files


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("compare.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    files = tiny_files(tmp_path / "files")
    return ["--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', 2)}"]


def searched(app: AppTest, *names: str) -> AppTest:
    """The Search part with these checkpoints."""
    app.multiselect[0].set_value(list(names)).run()
    app.button_group(key="part").set_value("search").run()
    assert not app.exception
    return app


def field(app: AppTest, label: str) -> Any:
    """A parameter that is a number, with a slider or without."""
    return next(item for item in (*app.number_input, *app.slider) if item.label == label)


def query(app: AppTest) -> dict[str, list[str]]:
    """The address, every value a list."""
    params = dict(app.query_params)
    return {name: list(value) if isinstance(value, list | tuple) else [value] for name, value in params.items()}


def linked(**state: Any) -> AppTest:
    """The page as a link opens it."""
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in state.items():
        app.query_params[name] = value
    return app.switch_page("compare.py").run()


def last_search() -> SearchWork:
    return list(server.studio().searches._works._works.values())[-1]


def run_to_the_end(app: AppTest) -> SearchWork:
    button(app, "forward passes").click().run()
    work = last_search()
    until(lambda: work.state == "done")
    app.run()
    assert not app.exception
    return work


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_each_strategy_can_be_chosen_and_says_its_cost(start, given: list[str], name: str) -> None:
    app = searched(start(*given), "c0", "c1")
    app.selectbox(key="strategy").set_value(name).run()
    assert not app.exception and STRATEGIES.get(name).summary in text(app)
    work = last_search()
    assert work.wanted.strategy == name and expected_passes(work) > 0
    assert button(app, "forward passes").label == f"Search: about {expected_passes(work):,} forward passes"


def test_a_search_runs_to_its_end_and_opens_what_it_found(start, given: list[str]) -> None:
    app = searched(start(*given), "c0", "c1")
    step = field(app, "step")
    step.set_value(0.25).run()
    assert json.loads(query(app)["settings"][0]) == {"step": 0.25}
    work = run_to_the_end(app)
    assert expected_passes(work) == 0 and button(app, "forward passes") is None
    found = work.snapshot()
    assert len(found["evaluations"]) == 5 and "Optimistic" in text(app)
    gain = 100 * found["best"]["report"]["gain"]
    assert app.metric[0].value == f"{gain:+.2f} points"
    table = next(item.value for item in app.dataframe if "kind" in item.value)
    assert list(table[work.names[0]]) == [one["weights"][0] for one in found["evaluations"]]
    alpha = found["best"]["weights"][0]
    app.button(key="search-open-").click().run()
    assert not app.exception and query(app)["mix"] == ["alpha"]
    members, weight = query(app)["a"] + query(app)["b"], float(query(app)["alpha"][0])
    assert sorted(members) == ["c0", "c1"]
    assert alpha == pytest.approx(weight if members[0] == work.names[0] else 1 - weight)


def test_weights_of_three_a_profile_and_an_ensemble_are_views(start, given: list[str]) -> None:
    app = searched(start(*given), "c0", "c1", "c2")
    app.selectbox(key="strategy").set_value("subsets").run()
    field(app, "draws").set_value(1).run()
    field(app, "step").set_value(0.5).run()
    work, names, data = run_to_the_end(app), ["c0", "c1", "c2"], ("town", None)
    table = next(item.value for item in app.dataframe if "n" in item.value)
    assert list(table["n"]) == [2, 2, 2, 3] and table["DE_n report: mIoU (%)"].notna().all()
    states = {
        (one["ensemble"], tuple(one["weights"])): state_of(work, one, names, data)
        for one in work.snapshot()["evaluations"]
    }
    mixed = next(value for (together, row), value in states.items() if not together and all(row))
    assert mixed["mix"] == "alpha" and mixed["more"] == ["c2"] and len(mixed["method/linear"]["weights"]) == 3
    assert states[False, (0.5, 0.5, 0.0)] | {"buffers": ""} == {
        "a": "c0", "b": "c1", "more": [], "mix": "alpha", "alpha": 0.5, "data": "town", "buffers": "",
    }  # fmt: skip
    assert states[True, (1 / 3,) * 3]["mix"] == "ensemble"
    assert states[False, (0.0, 0.0, 1.0)]["a"] == "c2" and states[False, (0.0, 0.0, 1.0)]["alpha"] == 1
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.selectbox(key="strategy").set_value("evolve").run()
    field(app, "budget").set_value(80).run()
    profile = run_to_the_end(app)
    one = next(one for one in profile.snapshot()["evaluations"] if "units" in one)
    view = view_of(profile, one)
    assert list(view["parameters"]["weights"]) == list(profile.study.units)
    state = state_of(profile, one, names[:2], data)
    assert json.loads(state["layer-profile"])["weights"] == [list(row) for row in one["units"].values()]


def test_statistics_of_a_whole_split_are_said_where_a_view_has_fewer(start, given: list[str]) -> None:
    app = searched(start(*given), "c0", "c1")
    app.selectbox(key="strategy").set_value("swa").run()
    work = run_to_the_end(app)
    best = work.snapshot()["best"]
    assert best["anew"] and view_of(work, best)["buffers"] == "recalibrate" and view_of(work, best)["exact"]
    rows = class_rows(work)
    assert [row["class"] for row in rows] == list(work.report[0].label_space.names)
    assert all(row["change"] == row["best"] - row["single"] for row in rows if row["change"] is not None)


def test_a_link_is_the_view_and_back_returns_to_the_table(start, given: list[str], monkeypatch) -> None:
    app = searched(start(*given), "c0", "c1")
    app.selectbox(key="strategy").set_value("walk").run()
    app.selectbox(key="score").set_value("loss").run()
    app.selectbox(key="policy").set_value("gaussian").run()
    field(app, "step").set_value(0.5).run()
    state = query(app)
    assert "rows" not in state and "method" not in state
    again = linked(**state)
    assert not again.exception and not again.warning
    assert [again.selectbox(key=key).value for key in ("strategy", "score", "policy")] == ["walk", "loss", "gaussian"]
    assert field(again, "step").value == 0.5
    assert query(again) == state
    wanted = last_search().wanted
    assert (wanted.strategy, dict(wanted.settings), wanted.buffers) == ("walk", {"step": 0.5}, "gaussian")
    again.button_group(key="part").set_value("table").run()
    assert not {"strategy", "settings", "score"} & set(query(again)) and "rows" in query(again)
    for name in set(query(again)) - set(state):
        del again.query_params[name]
    for name, value in state.items():
        again.query_params[name] = value
    with monkeypatch.context() as patch:  # Back
        patch.setattr(link, "stepped", lambda: True)
        again.run()
    assert not again.exception and again.selectbox(key="strategy").value == "walk"
    assert field(again, "step").value == 0.5


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"part": "search", "strategy": "guess"}, "strategy=guess"),
        ({"part": "nowhere"}, "part=nowhere"),
        ({"part": "search", "score": "[x](http://e)", "select": "/etc/passwd"}, "select=/etc/passwd"),
        ({"part": "search", "settings": '{"step":9e99,"__class__":1}'}, "settings={"),
        ({"part": "search", "settings": "[[["}, "settings=[[["),
        ({"part": "vary", "method": "evil", "parameter": "alpha"}, "method=evil"),
        ({"part": "vary", "parameter": "weights"}, "parameter=weights"),
        ({"part": "vary", "vary": '{"from":NaN,"to":true,"step":-1,"set":5}'}, "vary={"),
    ],
)
def test_what_a_hostile_link_names_is_said_and_ignored(
    start, given: list[str], state: dict[str, str], named: str
) -> None:
    start(*given)
    app = linked(compare=["c0", "c1"], **state)
    assert not app.exception
    assert named in "".join(item.value for item in app.warning).replace("\\", "")
    if state["part"] == "search":
        assert app.selectbox(key="strategy").value == "grid" and button(app, "forward passes") is not None
    if state.get("strategy"):
        app.selectbox(key="strategy").set_value("walk").run()
        assert not app.warning


def test_statistics_of_swa_can_be_measured_on_other_pictures(start, given: list[str], tmp_path: Path) -> None:
    app = searched(start(*given, "--data", f"pictures:{folder_data(tmp_path / 'other', 1) / 'images'}"), "c0", "c1")
    assert "calibrate" not in query(app)
    app.selectbox(key="strategy").set_value("swa").run()
    other = next(name for name in app.selectbox(key="calibrate").options if "pictures" in name)
    app.selectbox(key="calibrate").set_value(other).run()
    assert query(app)["calibrate"] == [other] and last_search().looked_at.spec.startswith("pictures:")
    work = run_to_the_end(app)
    assert work.snapshot()["statistics"]["images"] == 1
    app.button(key="search-open-").click().run()
    assert not app.exception and query(app)["data"] == [other]


def test_the_harmonic_mean_takes_several_data_and_so_does_its_link(start, given: list[str], tmp_path: Path) -> None:
    given += ["--data", f"folder:{folder_data(tmp_path / 'other', 1)}"]
    app = searched(start(*given), "c0", "c1")
    app.selectbox(key="score").set_value("harmonic").run()
    assert app.multiselect(key="select").value == ["folder data"]
    app.multiselect(key="select").set_value(["folder data", "folder other"]).run()
    app.multiselect(key="report").set_value(["folder other", "folder data"]).run()
    field(app, "step").set_value(0.5).run()
    state = query(app)
    assert state["select"] == ["folder data", "folder other"] and state["report"] == ["folder other", "folder data"]
    work = run_to_the_end(app)
    assert len(work.select) == 2 and work.snapshot()["best"]["report"]["harmonic"] is not None
    assert app.metric[0].label == "Gain of the harmonic mean"
    again = linked(**state)
    assert not again.exception and not again.warning and query(again) == state
    again.selectbox(key="strategy").set_value("learned").run()
    assert "learns on one dataset" in text(again) and button(again, "forward passes") is None
    again.selectbox(key="score").set_value("ece").run()
    assert not again.exception and again.selectbox(key="select").value == "folder data"
    again.selectbox(key="score").set_value("harmonic").run()
    again.multiselect(key="select").set_value([]).run()
    assert not again.exception and "Choose data" in text(again)


def test_empty_states_say_what_to_do(start, given: list[str], tmp_path: Path) -> None:
    app = searched(start(*given), "c0")
    assert "two or more" in text(app)
    app = searched(start(*given), "c0", "c1", "c2")
    app.selectbox(key="strategy").set_value("walk").run()
    assert "Walk takes exactly 2 checkpoints, and 3 are chosen" in text(app) and button(app, "passes") is None
    bare = folder_data(tmp_path / "bare", 1, masks=False)
    app = searched(start(*given[:2], "--data", f"pictures:{bare}"), "c0", "c1")
    assert "no masks" in text(app)
    app.button_group(key="part").set_value("vary").run()
    assert not app.exception and "no masks" in text(app)


def test_a_parameter_is_varied_on_two_datasets(start, given: list[str], tmp_path: Path) -> None:
    given += ["--data", f"folder:{folder_data(tmp_path / 'other', 1)}"]
    app = start(*given)
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.button_group(key="part").set_value("vary").run()
    app.selectbox(key="method").set_value("slerp").run()
    other = next(name for name in app.selectbox(key="also").options if "other" in name)
    app.selectbox(key="also").set_value(other).run()
    field(app, "step").set_value(0.5).run()
    assert not app.exception
    button(app, "3 values of alpha: 9 forward passes").click().run()
    work = list(server.studio().varied._works._works.values())[-1]
    until(lambda: work.state == "done")
    app.run()
    assert not app.exception and "Stars: the best of each curve" in text(app)
    assert [len(curve["points"]) for curve in work.table()["curves"]] == [3, 3]
    assert button(app, "forward passes") is None
    assert work.view_at(0.5)["method"] == "slerp" and work.view_at(0.5)["parameters"]["alpha"] == 0.5
    assert query(app)["also"] == [other] and "strategy" not in query(app)
    app.selectbox(key="method").set_value("layerwise").run()
    assert not app.exception and app.selectbox(key="parameter").value in ("start", "first_weight", "j_offset")


def test_a_second_parameter_is_a_map_whose_points_open(start, given: list[str]) -> None:
    app = start(*given)
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.button_group(key="part").set_value("vary").run()
    app.selectbox(key="method").set_value("slerp").run()
    app.selectbox(key="second").set_value("threshold").run()
    for place, step in enumerate((0.5, 0.05)):
        [item for item in (*app.number_input, *app.slider) if item.label == "step"][place].set_value(step).run()
    state = query(app)
    assert state["second"] == ["threshold"] and json.loads(state["vary"][0])["second"]["step"] == 0.05
    label = button(app, "forward passes").label
    assert label.startswith("Measure 9 points of alpha and threshold (3 x 3)")
    again = linked(**state)
    assert not again.exception and not again.warning and button(again, "forward passes").label == label
    button(again, "forward passes").click().run()
    work = list(server.studio().varied._works._works.values())[-1]
    until(lambda: work.state == "done")
    again.run()
    assert not again.exception and "Star: the best" in text(again)
    assert work.view_at(0.5, 0.95)["parameters"]["threshold"] == 0.95
    again.selectbox(key="parameter").set_value("threshold").run()
    assert not again.exception and again.selectbox(key="second").value == "none"


def test_the_table_has_the_trade(start, given: list[str]) -> None:
    app = start(*given)
    app.multiselect[0].set_value(["c0", "c1"]).run()
    app.button_group(key="rows").set_value([]).run()
    assert not any("calibration and cost" in item.label for item in app.expander)
    button(app, "rows on 2 pictures").click().run()
    work = list(server.studio().comparisons._works._works.values())[-1]
    until(lambda: work.state == "done")
    app.run()
    assert any("calibration and cost" in item.label for item in app.expander)
    table = next(item.value for item in app.dataframe if "row" in item.value)
    assert {"precision (%)", "recall (%)"} <= set(table.columns) and "latency (ms)" not in table
    button(app, "Measure latency and memory").click().run()
    until(lambda: work.costs.state == "done")
    app.run()
    assert not app.exception and button(app, "Measure latency and memory") is None
    table = next(item.value for item in app.dataframe if "row" in item.value)
    assert (table["latency (ms)"] > 0).any() and (table["memory (MB)"] > 0).any()
    app.button_group(key="cost").set_value("memory_mb").run()
    assert not app.exception and query(app)["cost"] == ["memory_mb"]
