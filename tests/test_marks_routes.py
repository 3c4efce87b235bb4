"""The route of marked regions: what it keeps of a request, what it refuses, and whom it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import Answer, World, request, tiny_world
from starlette.applications import Starlette

from fusionlib.runs.marks import NOTE
from pages.widgets import marks_routes, routes

MARK = {
    "shape": "ellipse",
    "box": [0.1, 0.2, 0.3, 0.4],
    "note": "</script>\u202e<b>",
    "view": "errors?a=x&look=lens-mask",
}


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    with tiny_world(tmp_path, count=2) as opened:
        yield opened


@pytest.fixture
def ask(world: World, monkeypatch: pytest.MonkeyPatch):
    for module in (routes, marks_routes):
        monkeypatch.setattr(module, "studio", lambda: world.studio)
    view, session = world.view(), world.studio.live.open()
    world.studio.live.grant(session, view)
    app = Starlette(routes=routes.live_routes())

    def asking(path: str = "marks/0", method: str = "GET", wish: Any = None, key: str = "") -> Answer:
        body = wish if isinstance(wish, bytes) else b"" if wish is None else json.dumps(wish).encode()
        return request(app, method, f"/live/{key or session.key}/{view.id}/{path}", body)

    return asking


def marks(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store", answer.body
    return answer.json()["marks"]


def test_a_mark_is_added_edited_removed_and_brought_back(world: World, ask) -> None:
    assert marks(ask()) == []
    answer = ask(method="POST", wish=MARK)
    (made,) = marks(answer)
    assert made == {**MARK, "id": answer.json()["changed"]}
    (kept,) = world.studio.looked.marks.listed()
    pictures = world.view().need_pictures()
    assert (kept.data, kept.picture) == (pictures.fingerprint(), pictures.picture_key(0))
    assert kept.name == pictures.name(0) and marks(ask("marks/1")) == []
    assert marks(ask(method="POST", wish={"id": made["id"], "note": "better"})) == [{**made, "note": "better"}]
    removed = ask(method="DELETE", wish={"id": made["id"]})
    assert marks(removed) == [] and removed.json()["changed"] == made["id"]
    assert (
        marks(ask(method="POST", wish={"id": made["id"], "restore": True}))
        == [{**made, "note": "better"}]
        == marks(ask())
    )


@pytest.mark.parametrize(
    ("path", "method", "wish"),
    [
        ("marks/2", "GET", None),
        ("marks/99999999999999999999", "POST", MARK),
        ("marks/0", "POST", None),
        ("marks/0", "POST", [MARK]),
        ("marks/0", "POST", {**MARK, "box": [0, 0, 2, 2]}),
        ("marks/0", "POST", {**MARK, "shape": "polygon"}),
        ("marks/0", "POST", {**MARK, "note": "x" * (NOTE + 1)}),
        ("marks/0", "POST", {**MARK, "view": "javascript:alert(1)"}),
        ("marks/0", "POST", {**MARK, "view": "elsewhere?a=1"}),
        ("marks/0", "POST", {"id": "none", "note": "x"}),
        ("marks/0", "POST", {"id": {}, "restore": True}),
        ("marks/0", "DELETE", {"id": "none"}),
        ("marks/0", "DELETE", {}),
        ("marks/0", "POST", b" " * (marks_routes.MARK_BYTES + 1)),
        ("marks/0", "POST", b"[" * 9000),
    ],
)
def test_what_is_no_mark_is_refused_in_words(world: World, ask, path: str, method: str, wish: Any) -> None:
    answer = ask(path, method, wish)
    assert answer.status == 400 and set(answer.json()) == {"got", "needs", "do"}
    assert world.studio.looked.marks.listed() == []


def test_a_mark_of_another_picture_is_out_of_reach(ask) -> None:
    (made,) = marks(ask(method="POST", wish=MARK))
    for method, wish in (("DELETE", {"id": made["id"]}), ("POST", {"id": made["id"], "note": "mine"})):
        assert ask("marks/1", method, wish).status == 400
    assert marks(ask()) == [made]


def test_without_the_sessions_key_nothing_is_told_or_kept(world: World, ask) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert ask(method=method, wish=MARK, key="guessed").status == 400
    assert world.studio.looked.marks.listed() == []


def test_the_longest_note_and_link_fit(ask) -> None:
    link = "errors?look=" + "a" * (4000 - len("errors?look="))
    (made,) = marks(ask(method="POST", wish={**MARK, "note": "\U0001f6b2" * NOTE, "view": link}))
    assert made["note"] == "\U0001f6b2" * NOTE and made["view"] == link
