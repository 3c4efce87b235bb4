"""The state of a page and its address, without a browser."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from pages.widgets import link


def script() -> None:
    import streamlit as st

    from pages.widgets import link

    link.follow("")
    st.slider("Anything", 0, 9)
    if not st.session_state.get("cut short"):
        link.write()


def step(app: AppTest, b: str, *, cut_short: bool = False) -> str:
    """The browser is at an address that names B; what the state then has."""
    app.query_params["b"] = b
    app.session_state["cut short"] = cut_short
    app.run()
    return app.session_state["b"]


def test_a_run_that_is_cut_short_by_the_next_step_of_back_changes_nothing_for_it() -> None:
    app = AppTest.from_function(script)
    assert step(app, "fog") == "fog"
    assert step(app, "rain") == "rain"
    assert step(app, "fog", cut_short=True) == "fog"  # Back, and Forward again before its run has ended
    assert step(app, "rain") == "rain"
    assert app.query_params["b"] in ("rain", ["rain"])


def test_a_slider_that_is_let_go_while_a_page_is_drawn_takes_nothing_back(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(link.time, "monotonic", lambda: now[0])
    app = AppTest.from_function(script)
    step(app, "fog")
    app.session_state["b"] = "rain"  # a selector was changed: the run writes the new address
    app.run()
    assert app.query_params["b"] in ("rain", ["rain"])
    app.slider[0].set_value(1)
    assert step(app, "fog") == "rain", "the browser has not heard of the new address yet"
    app.slider[0].set_value(2)
    now[0] += link.IN_FLIGHT
    assert step(app, "fog") == "fog", "by now it has: Back, and then the slider"


def test_one_that_is_several_addresses_behind_takes_nothing_back() -> None:
    app = AppTest.from_function(script)
    step(app, "fog")
    for value, b in enumerate(("rain", "snow", "rain"), 1):
        app.session_state["b"] = b
        app.slider[0].set_value(value)
        assert step(app, "fog") == b, "the browser has heard of none of them"
        assert app.query_params["b"] in (b, [b]), "and is told of each, also where it was there already"
    for value, behind in enumerate(("snow", "fog", "rain"), 4):
        app.slider[0].set_value(value)
        assert step(app, behind) == "rain", "wherever it is on the way"
    assert step(app, "snow") == "snow", "Back: nothing was entered"


def test_a_step_of_back_is_one_however_soon() -> None:
    app = AppTest.from_function(script)
    step(app, "fog")
    app.session_state["b"] = "rain"
    app.run()
    assert step(app, "fog") == "fog", "nothing was entered with it"
