"""Routes of the chosen pixels and of thumbnails, and panes beside the merge: what they answer, and what they refuse."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest
from helpers import Answer, World, request, tiny_world
from PIL import Image
from starlette.applications import Starlette

from fusionlib.measures.error_stack import EVERYTHING, Pixels
from pages.widgets import errors_routes, routes

PICTURES = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with tiny_world(tmp_path_factory.mktemp("world"), count=PICTURES) as opened:
        opened.studio.errors.of_view(opened.view(), 0.75).measure()
        yield opened


@pytest.fixture
def ask(world: World, monkeypatch: pytest.MonkeyPatch):
    for module in (routes, errors_routes):
        monkeypatch.setattr(module, "studio", lambda: world.studio)
    view, session = world.view(), world.studio.live.open()
    world.studio.live.grant(session, view)
    app = Starlette(routes=routes.live_routes())

    def asking(path: str, query: str = "", method: str = "GET", body: bytes = b"") -> Answer:
        return request(app, method, f"/live/{session.key}/{view.id}/{path}", body, query)

    return asking


def map_of(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def test_the_chosen_pixels_are_those_of_the_analysis(world: World, ask) -> None:
    analysis = world.studio.errors.of_view(world.view(), 0.75)
    chosen = Pixels(truths=(0,), transitions=("fixed", "broken", "both_wrong_same"))
    for number in range(PICTURES):
        answer = map_of(ask(f"pixels/{number}", f"alpha=0.75&against=better&pixels={quote(chosen.text)}"))
        assert set(np.unique(answer)) <= {0, 255}
        assert np.array_equal(answer == 255, analysis.mask_of(number, chosen))
        assert (map_of(ask(f"pixels/{number}", "alpha=0.75")) == 255).sum() == analysis.mask_of(
            number, EVERYTHING
        ).sum()


def test_a_merge_that_is_not_looked_into_has_none_and_nothing_runs(world: World, ask) -> None:
    for query in ("alpha=0.3&pixels=truths%3D0", "alpha=0.75&against=ensemble"):
        answer = ask("pixels/0", query)
        assert answer.status == 204 and not answer.body
    body = json.dumps({"method": "slerp", "parameters": {"alpha": 0.5}}).encode()
    assert ask("pixels/0", method="POST", body=body).status == 204
    assert world.studio.errors.of_view(world.view(), 0.3).state == "idle"


@pytest.mark.parametrize(
    "query",
    [
        "alpha=0.75&pixels=truths%3D-1",
        "alpha=0.75&pixels=%3Cscript%3E",
        f"alpha=0.75&pixels=truths%3D{'1,' * 3000}1",
        "alpha=0.75&pixels=transitions%3Dnone",
        "alpha=0.75&against=nobody",
        "alpha=0.75&against=alpha%3D7",
        "alpha=x",
        "alpha=7",
    ],
)
def test_what_is_no_choice_is_refused_in_words(ask, query: str) -> None:
    answer = ask("pixels/0", query)
    assert answer.status == 400 and set(answer.json()) == {"got", "needs", "do"}


@pytest.mark.parametrize("path", ["pixels/99", "thumbnail/99", "thumbnail/99999999999999999999"])
def test_a_picture_that_is_not_there_is_refused(ask, path: str) -> None:
    assert ask(path, "alpha=0.75").status == 400


def test_thumbnails_are_small_jpegs(ask) -> None:
    answer = ask("thumbnail/1")
    assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(answer.body)).size) <= 192


def test_panes_beside_the_merge_answer_in_lines_of_their_own(world: World, ask) -> None:
    merge = ask("frame/0", "alpha=0.25&pane=m&gen=9").body
    for pane in ("strip", "reference"):
        assert ask("frame/0", f"alpha=0.25&pane={pane}&gen=1").body == merge, "the same frame, and not overtaken"
    together = map_of(ask("frame/0", "pane=ensemble"))
    body = json.dumps({"method": "ensemble", "parameters": {}}).encode()
    assert np.array_equal(together, map_of(ask("frame/0", "pane=m&gen=10", "POST", body)))
    assert ask("frame/0", "pane=e").status == 400


def test_the_text_of_every_choice_is_short_enough() -> None:
    everything = tuple(range(256))
    assert len(Pixels(everything, everything, everything).text) < errors_routes.TEXT
