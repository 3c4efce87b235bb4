"""The state of a page and its address, without a browser."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.widgets import link


def script() -> None:
    import streamlit as st

    from pages.widgets import link

    link.follow("")
    st.slider("Anything", 0, 9)
    if not st.session_state.get("cut short"):
        link.write()


def run(app: AppTest, b: str, *, cut_short: bool = False) -> str:
    """The browser asks with an address that names B; what the state then has."""
    app.query_params["b"] = b
    app.session_state["cut short"] = cut_short
    app.run()
    return app.session_state["b"]


def step(app: AppTest, b: str, *, cut_short: bool = False) -> str:
    """The same by a step of the history, of which Streamlit's harness knows nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "stepped", lambda: True)
        return run(app, b, cut_short=cut_short)


def choose(app: AppTest, b: str, *, heard: str) -> str:
    """A selector is changed while the browser has heard of the address that names `heard`."""
    app.session_state["b"] = b
    assert run(app, heard) == b
    assert app.query_params["b"] in (b, [b]), "it is told, also where it was there already"
    return b


def test_a_run_that_is_cut_short_by_the_next_step_of_back_changes_nothing_for_it() -> None:
    app = AppTest.from_function(script)
    assert run(app, "fog") == "fog"
    assert run(app, "rain") == "rain"
    assert step(app, "fog", cut_short=True) == "fog"  # Back, and Forward again before its run has ended
    assert step(app, "rain") == "rain"
    assert app.query_params["b"] in ("rain", ["rain"])


def test_what_is_entered_while_a_page_is_drawn_takes_nothing_back() -> None:
    app = AppTest.from_function(script)
    run(app, "fog")
    for b in ("rain", "snow", "rain"):
        choose(app, b, heard="fog")
    for heard in ("snow", "fog", "rain"):
        app.slider[0].set_value(1)
        assert run(app, heard) == "rain", "wherever it is on the way"
    assert run(app, "snow") == "rain", "also where nothing new was entered"
    assert app.query_params["b"] in ("rain", ["rain"])


def test_a_step_of_back_is_one_however_soon_and_whatever_is_entered_after_it() -> None:
    app = AppTest.from_function(script)
    run(app, "fog")
    choose(app, "rain", heard="fog")
    app.slider[0].set_value(3)
    assert step(app, "fog", cut_short=True) == "fog"
    app.session_state["b"] = "snow"
    app.slider[0].set_value(4)
    assert run(app, "fog") == "snow" and app.slider[0].value == 4


def test_an_address_that_was_never_told_is_a_link() -> None:
    app = AppTest.from_function(script)
    run(app, "fog")
    choose(app, "rain", heard="fog")
    assert run(app, "night") == "night"


def test_a_text_that_is_too_long_for_a_link_stays_over_a_step_of_the_history() -> None:
    app = AppTest.from_function(script)
    run(app, "fog")
    app.session_state["layer-profile"] = "too long to say"
    choose(app, "rain", heard="fog")
    assert step(app, "fog") == "fog" and app.session_state["layer-profile"] == "too long to say"
