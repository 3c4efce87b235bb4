"""The Domains page through Streamlit's own test harness: empty states, the run, links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.studio.domains import DomainsWork
from pages.widgets import domains_table, server
from pages.widgets.compare_open import ASKED
from tests.helpers import folder_data, until
from tests.page_tools import MAIN, button, opened, text, tiny_files
from tests.test_domains import town


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("domains.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    files = ["--checkpoints", str(tiny_files(tmp_path / "files"))]
    for seed, name in enumerate(("day", "night")):
        files += ["--data", f"folder:{town(tmp_path / name, seed)}"]
    return files


def work_of() -> DomainsWork:
    return list(server.studio().domains._works._works.values())[-1]


def measured(app: AppTest) -> AppTest:
    """Press the one button and wait for the run behind it."""
    pressed = button(app, "forward passes")
    assert pressed is not None
    pressed.click().run()
    until(lambda: work_of().state == "done", 60)
    app = app.run()
    assert not app.exception
    return app


def table(app: AppTest):
    return next(item.value for item in app.dataframe if "gain (points)" in item.value.columns).set_index("network")


def choice(app: AppTest, label: str):
    return next(item for item in app.multiselect if item.label == label)


def test_empty_states_say_what_to_do(start, tmp_path: Path) -> None:
    assert "Load two checkpoints" in text(start())
    files = str(tiny_files(tmp_path / "files"))
    app = start("--checkpoints", files)
    assert "Choose the domains" in text(app) and "--data SPEC" in text(app)
    app = start("--checkpoints", files, "--data", f"pictures:{folder_data(tmp_path / 'bare', 1, masks=False)}")
    assert "has no masks" in text(app) and button(app, "forward passes") is None
    app = start("--checkpoints", files, "--data", f"folder:{folder_data(tmp_path / 'day', 1)}")
    choice(app, "Experts").set_value([]).run()
    choice(app, "Beside").set_value([]).run()
    assert not app.exception and "Choose one expert" in text(app)


def test_it_measures_and_answers(start, given: list[str]) -> None:
    app = start(*given)
    assert choice(app, "Domains").value == ["folder day", "folder night"]
    choice(app, "Beside").set_value(["c0"]).run()
    choice(app, "Experts").set_value(["c1", "c2"]).run()
    networks = 1 + 2 + 3 + 1 + 8
    assert [one.label for one in app.button if "forward" in one.label] == [f"Measure: {networks * 4} forward passes"]
    app = measured(app)
    found = table(app)
    assert {"c0", "c1", "c2", "mean backbone, own heads", "mean, statistics of c1"} <= set(found.index)
    assert list(found.columns[1:7]) == [
        "harmonic mean (%)", "gain (points)", "gain, 95 % (points)", "folder day (%)", "folder night (%)", "mean (%)"
    ]  # fmt: skip
    assert set(found["gain, 95 % (points)"]) == {""} and "it needs five groups of pictures" in text(app)
    assert found["harmonic mean (%)"].is_monotonic_decreasing
    assert "harmonic mean **" in text(app) and "2 pictures in the smallest domain" in text(app)
    assert button(app, "forward passes") is None
    app.switch_page("workspace.py").run()
    app.switch_page("domains.py").run()
    assert not app.exception and len(table(app)) == len(found)
    app.session_state["chart"] = "path"
    assert not app.run().exception


def test_what_is_known_is_shown_and_the_rest_is_offered(start, given: list[str]) -> None:
    app = measured(start(*given))
    choice(app, "Experts").set_value(["c0", "c1", "c2"]).run()
    assert not app.exception and button(app, "Go on: ") is not None
    assert {"c0", "c1"} <= set(table(app).index)


def test_a_row_opens_in_explore_where_it_is_weakest(start, given: list[str]) -> None:
    app = start(*given)
    choice(app, "Experts").set_value(["c0", "c1"]).run()
    measured(app)
    work = work_of()
    rows = work.snapshot()["rows"]
    opened_by = zip(rows, domains_table.openings(work, rows), strict=True)
    states = {row["name"]: state for row, state in opened_by if state is not None}
    assert len(states) == len(rows)
    assert states["c1"]["a"] == "c1" and states["c1"]["alpha"] == 1.0 and states["c1"]["b"] == "c0"
    weakest = {row["name"]: min(row["domains"], key=lambda name: row["domains"][name]) for row in rows}
    assert all(state["data"] == weakest[name] for name, state in states.items())
    heads = states["mean backbone, own heads"]
    assert heads["mix"] == "backbone" and heads["method/backbone"] == {"anchor": 0}
    app.session_state[ASKED] = "", states["c1"]
    app.run()
    assert not app.exception and app.session_state["a"] == "c1" and app.session_state["data"] == weakest["c1"]


def test_damaged_data_is_a_domain(start, given: list[str]) -> None:
    app = start(*given)
    choice(app, "Domains").set_value(["folder day", "folder day, fog 3"]).run()
    app = measured(app)
    assert {"folder day (%)", "folder day, fog 3 (%)"} <= set(table(app).columns)


@pytest.mark.parametrize(
    "query",
    [
        {"experts": ["nobody", "c1"], "on": ["folder mars", "folder day"], "count": "16"},
        {"experts": "<script>", "on": "corrupt:fog:3:folder:/etc", "count": "-1", "networks": "x", "over": "99"},
        {"on": ["folder day, fog 9", "folder day, mud 1", "folder day, fog 1"], "chart": "pie", "path": ["c0"] * 3},
        {"experts": ["c0"] * 60, "path": ["c1", "c0", "c2"], "networks": ["path", "path"], "beside": ["c0"]},
        {"split": "../..", "data": "nowhere", "count": "9" * 400, "a": "", "networks": ""},
    ],
)
def test_hostile_links_are_read_as_far_as_they_make_sense(
    start, given: list[str], query: dict[str, str | list[str]]
) -> None:
    start(*given)
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    app.switch_page("domains.py")
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert set(choice(app, "Experts").value) <= {"c0", "c1", "c2"}
    assert all(name.startswith(("folder day", "folder night")) for name in choice(app, "Domains").value)


def test_a_link_says_what_is_shown(start, given: list[str]) -> None:
    app = start(*given)
    choice(app, "Experts").set_value(["c0", "c2"]).run()
    choice(app, "Domains").set_value(["folder night, jpeg 2"]).run()
    asked = {name: [told] if isinstance(told, str) else told for name, told in app.query_params.items()}
    assert asked["experts"] == ["c0", "c2"]
    assert asked["on"] == ["folder night, jpeg 2"] and asked["count"] == ["all"] and asked["path"] == ["c0", "c2"]
    other = AppTest.from_file(str(MAIN), default_timeout=60).run()
    other.switch_page("domains.py")
    for name, value in asked.items():
        other.query_params[name] = value
    other.run()
    assert choice(other, "Experts").value == ["c0", "c2"] and choice(other, "Domains").value == ["folder night, jpeg 2"]


def test_data_combination_is_named_and_emptied_lists_stay_empty(start, given: list[str]) -> None:
    app = start(*given)
    choice(app, "Experts").set_value(["c0", "c1"]).run()
    choice(app, "Data combination").set_value(["c2"]).run()
    choice(app, "Path between").set_value([]).run()
    app.session_state["networks"] = []
    app = measured(app)
    assert {"c0", "c1", "c2, data combination"} == set(table(app).index)
    assert not any(any(app.query_params[name]) for name in ("networks", "path", "beside"))
    app.switch_page("workspace.py").run()
    app.switch_page("domains.py").run()
    assert app.session_state["networks"] == [] and choice(app, "Path between").value == []
    other = AppTest.from_file(str(MAIN), default_timeout=60).switch_page("domains.py")
    for name, value in app.query_params.items():
        other.query_params[name] = value
    other.run()
    assert not other.exception and len(table(other)) == 3 and "link" not in text(other).lower()
    choice(other, "Data combination").set_value([]).run()
    choice(other, "Beside").set_value(["c2"]).run()
    assert {"c0", "c1", "c2"} == set(table(other).index)


def test_the_demo_opens_on_a_finished_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("FUSION_ARGS", "--device cpu --no-auto")
    server.reset()
    app = AppTest.from_file(str(MAIN), default_timeout=120).run().switch_page("domains.py").run()
    assert not app.exception and button(app, "forward passes") is None
    assert choice(app, "Experts").value == ["fog", "night", "rain", "snow"] and choice(app, "Beside").value == ["start"]
    found = table(app)
    assert found.index[0] == "mean, pooled statistics" and found["gain (points)"].iloc[0] > 5
    assert found["gain, 95 % (points)"].iloc[0] in text(app) and "noise" in found["gain, 95 % (points)"]["start"]
    assert server.studio().runner.tally.run == 0
    server.reset()
