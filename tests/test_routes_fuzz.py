"""Whatever stands in an address, a query or a body: the live routes answer, and never with status 500."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from helpers import tiny_world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_routes import Browser

from pages.widgets import layers_routes, marks_routes, routes

ROUTES = ("frame", "picture", "truth", "marks", "sweep", "layers", "profile", "contribution", "presets")
_numbers = st.one_of(
    st.integers().map(str),
    st.integers(0, 5).map(str),
    st.floats().map(str),
    st.integers(1, 6000).map(lambda n: "9" * n),
    st.sampled_from(["", "0" * 5000 + "1", "-0", "1e5", "١", "²", "0x1", "1_0", " 1", "+1", "NaN", "1" * 400 + ".5"]),
)
_words = st.one_of(
    _numbers,
    st.text(max_size=40),
    st.sampled_from(["m", "a", "t", "..", "%00", "/etc/passwd", "miou", "block", "tensor"]),
)
_plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
_values = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_queries = st.dictionaries(st.sampled_from(["alpha", "gen", "pane", "of", "x"]), _words, max_size=4)
_wishes = st.dictionaries(
    st.sampled_from(
        ["alpha", "step", "level", "weights", "anchor", "more", "measure", "name", "id", "note", "box", "shape", "view"]
    ),
    st.one_of(_values, _words, st.just([[0.5, 0.5]] * 5), st.sampled_from(["block", "module", 0, 1, True, 0.5])),
    max_size=6,
)
_bodies = st.one_of(
    st.binary(max_size=60),
    _values.map(lambda value: json.dumps(value).encode()),
    _wishes.map(lambda wish: json.dumps(wish).encode()),
    st.just(b'{"alpha": ' + b"9" * 900 + b"}"),
    st.just(b"[" * 2000),
    st.just(b" " * 3_000_000),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with tiny_world(tmp_path_factory.mktemp("world"), count=2) as world, pytest.MonkeyPatch.context() as patch:
        for module in (routes, layers_routes, marks_routes):
            patch.setattr(module, "studio", lambda: world.studio)
        yield Browser(world, world.view())


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    route=st.sampled_from(ROUTES),
    place=_words,
    query=_queries,
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]),
    body=_bodies,
    key=st.one_of(st.none(), st.text(max_size=40)),
)
def test_no_request_is_answered_with_500(
    browser: Browser, route: str, place: str, query: dict[str, str], method: str, body: bytes, key: str | None
) -> None:
    path = f"{route}/{quote(place)}" if route in ROUTES[:4] else route
    answer = browser(
        path, urlencode(query, errors="replace"), method, body, key="" if key is None else quote(key, errors="replace")
    )
    assert answer.status in (200, 400, 404, 405, 409), (answer.status, answer.body[:200])
    if answer.status == 400:
        said = answer.json()
        assert set(said) == {"got", "needs", "do"} and all(said.values())
        assert all(len(text) < 600 for text in said.values()), "short, whatever was asked"


@pytest.mark.parametrize("query", ["alpha=%ff&gen=%", "%", "&&&==", "alpha=\xff", "gen=" + "1" * 100_000])
def test_a_query_that_is_hardly_one_is_answered(browser: Browser, query: str) -> None:
    assert browser("frame/0", query).status in (200, 400)
