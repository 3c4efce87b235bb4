"""The live viewer's HTTP routes: what they answer, and what they refuse."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
from helpers import Answer, World, asked, folder_data, request, tiny_world, until
from PIL import Image
from starlette.applications import Starlette

from fusionlib.engine.turns import Superseded
from fusionlib.engine.worker import FRAME
from fusionlib.studio.view import MergeView
from pages.widgets import routes
from pages.widgets.live import SESSION, viewer_data


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with tiny_world(tmp_path_factory.mktemp("world"), count=3) as opened:
        yield opened


class Browser:
    """One session with one view granted."""

    def __init__(self, world: World, view: MergeView) -> None:
        self.world, self.view, self.session = world, view, world.studio.live.open()
        self.key = self.session.key
        world.studio.live.grant(self.session, view)
        self.app = Starlette(routes=routes.live_routes())

    def __call__(
        self, path: str, query: str = "", method: str = "GET", body: bytes = b"", key: str = "", view: str = ""
    ) -> Answer:
        return request(self.app, method, f"/live/{key or self.key}/{view or self.view.id}/{path}", body, query)


@pytest.fixture
def browser(world: World, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(routes, "studio", lambda: world.studio)
    return Browser(world, world.view())


def pixels(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def refused(answer: Answer, status: int = 400) -> dict[str, str]:
    assert answer.status == status, (answer.status, answer.body[:200])
    said = answer.json()
    assert set(said) == {"got", "needs", "do"} and all(said.values())
    return said


def test_a_frame_is_a_png_with_its_figures_in_a_header(browser: Browser) -> None:
    answer = browser("frame/1", "alpha=0.25&pane=m&gen=1")
    assert answer.headers["content-type"] == "image/png" and answer.headers["cache-control"] == "no-store"
    assert (pixels(answer) == np.asarray(Image.open(io.BytesIO(browser.view.frame(1, 0.25).png)))).all()
    about = json.loads(answer.headers["x-fusion"])
    assert about["alpha"] == 0.25 and 0 <= about["miou"] <= 1
    assert (pixels(browser("frame/1", "alpha=0.9&pane=a")) == pixels(browser("frame/1", "alpha=0.1&pane=a"))).all()
    assert (pixels(browser("frame/1", "alpha=1&gen=2")) == pixels(browser("frame/1", "pane=a"))).all()


def test_picture_and_truth_are_those_of_the_dataset(browser: Browser) -> None:
    sample = browser.view.pictures.load(2)
    picture = browser("picture/2")
    assert picture.headers["content-type"] in ("image/png", "image/jpeg")
    assert np.abs(pixels(picture).astype(int) - sample.image).mean() < 4
    assert (pixels(browser("truth/2")) == sample.truth).all()


def test_pictures_without_masks_have_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_world(tmp_path, data=(f"pictures:{folder_data(tmp_path / 'plain', 1, masks=False)}",)) as world:
        monkeypatch.setattr(routes, "studio", lambda: world.studio)
        browser = Browser(world, world.view())
        assert browser("truth/0").status == 404
        assert pixels(browser("frame/0", "alpha=0.5")).shape == (48, 64, 3)


def test_a_wrong_key_and_a_wrong_view_are_refused_alike(browser: Browser, world: World) -> None:
    other = world.view("gaussian")
    answers = [
        browser("frame/0", key="x" * 32),
        browser("frame/0", view="0" * 24),
        browser("frame/0", view=other.id),
        browser("frame/0", key=world.studio.live.open().key),
        browser("sweep", key="x", method="POST", body=b'{"step": 0.5}'),
        browser("picture/0", key="x"),
        browser("truth/0", view="x"),
        browser("frame/99", key="x"),
    ]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert "session" in refused(answers[0])["got"]


def test_keys_cannot_be_guessed(world: World) -> None:
    keys = {world.studio.live.open().key for _ in range(50)}
    assert len(keys) == 50 and min(len(key) for key in keys) >= 32


@pytest.mark.parametrize(
    "query",
    [
        "alpha=2",
        "alpha=-0.1",
        "alpha=nan",
        "alpha=inf",
        "alpha=x",
        "alpha=",
        "alpha=0.5&pane=x",
        "alpha=0.5&pane=../m",
        "gen=x",
        "gen=nan",
        "gen=inf",
        "gen=1e999",
        "alpha=1e400",
        "alpha=" + "9" * 5000,
    ],
)
def test_a_wrong_query_is_refused_in_words(browser: Browser, query: str) -> None:
    refused(browser("frame/0", query))


@pytest.mark.parametrize(
    "path",
    [
        "frame/3",
        "frame/999999999999999999999",
        "picture/3",
        "truth/99",
        *(f"{what}/{'9' * 5000}" for what in ("frame", "picture", "truth")),
    ],
)
def test_a_picture_that_is_not_there_is_refused_in_words(browser: Browser, path: str) -> None:
    assert "0 to 2" in refused(browser(path))["needs"]


@pytest.mark.parametrize(
    "path",
    [
        "frame/-1",
        "frame/x",
        "frame/0.5",
        "frame/",
        "frame/../../etc/passwd",
        "picture//etc/passwd",
        "picture/%2e%2e%2fetc%2fpasswd",
        "picture/..",
        "truth/0/../../x",
        "files/0",
        "",
        "frame/0/extra",
        "sweep/x",
    ],
)
def test_no_path_reaches_the_file_system(browser: Browser, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    assert browser(path).status == 404


def test_other_methods_are_refused(browser: Browser) -> None:
    for method in ("PATCH", "PUT", "DELETE"):
        assert browser("frame/0", method=method).status == 405
    assert browser("sweep", method="PUT").status == 405


def test_a_superseded_frame_is_answered_with_409(browser: Browser) -> None:
    assert browser("frame/0", "alpha=0.111&gen=5").status == 200
    late = browser("frame/0", "alpha=0.222&gen=4")
    assert late.status == 409
    other = Browser(browser.world, browser.view)
    assert other("frame/0", "alpha=0.222&gen=4").status == 200, "sessions do not supersede one another"


@pytest.mark.parametrize("gen", ["", "&gen={}"])
def test_a_neighbour_does_not_wait_for_200_pending_frames(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, gen: str
) -> None:
    gate, begun, made = threading.Event(), threading.Event(), []
    browser.world.studio.worker.submit(lambda: (begun.set(), gate.wait(20)), FRAME)
    assert begun.wait(20)
    real = MergeView._render
    monkeypatch.setattr(MergeView, "_render", lambda self, key, *rest: (made.append(key), real(self, key, *rest))[1])
    neighbour, app, live = Browser(browser.world, browser.view), browser.app, f"/live/{{}}/{browser.view.id}/{{}}/0"

    async def crowd() -> list[Answer]:
        queries = [f"alpha={number / 999:.6f}{gen.format(number)}" for number in range(1, 201)]
        greedy = [
            asyncio.create_task(asked(app, "GET", live.format(browser.key, "frame"), query=query)) for query in queries
        ]
        other = asyncio.create_task(asked(app, "GET", live.format(neighbour.key, "frame"), query="alpha=0.777"))
        picture = await asked(
            app, "GET", live.format(neighbour.key, "picture")
        )  # no thread is taken by those that wait
        gate.set()
        return [picture, await other, *await asyncio.gather(*greedy)]

    picture, other, *greedy = asyncio.run(crowd())
    assert picture.status == other.status == 200
    statuses = [answer.status for answer in greedy]
    assert statuses[-1] == 200 and statuses.count(409) >= 198
    assert len(made) <= 3, "the neighbour's, and of 200 wishes the newest and perhaps one that was begun before it came"


def test_a_large_body_is_refused_before_it_is_read_whole(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1024" in refused(browser("sweep", method="POST", body=b" " * 5000))["needs"]
    assert browser("sweep", method="POST", body=b'{"alpha": 0.5}' + b" " * 1000).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b'{"start": 1}',
        b'{"step": 0}',
        b'{"step": 0.001}',
        b'{"step": 2}',
        b'{"step": "x"}',
        b'{"step": null}',
        b'{"step": NaN}',
        b'{"step": [0.5]}',
        b'{"alpha": 1.5}',
        b'{"alpha": -1}',
        b'{"alpha": NaN}',
        b'{"alpha": Infinity}',
        b'{"alpha": {}}',
        b'{"alpha": 1' + b"0" * 400 + b"}",
        b"\xff\xfe",
        b"[" * 1024,
        b'{"a":' * 200,
    ],
)
def test_a_wrong_wish_is_refused_in_words_and_starts_nothing(browser: Browser, body: bytes) -> None:
    sweep = browser.world.studio.sweep(browser.view)
    until(lambda: sweep.state != "running")
    before = set(sweep.points)
    refused(browser("sweep", method="POST", body=body))
    assert sweep.state != "running" and set(sweep.points) == before


def test_a_sweep_is_started_watched_and_cancelled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "studio", lambda: world.studio)
    browser = Browser(world, world.view("anchor"))
    assert browser("sweep").json()["state"] == "idle"
    started = browser("sweep", method="POST", body=b'{"step": 0.5}').json()
    assert started["state"] in ("running", "done")
    until(lambda: browser("sweep").json()["state"] == "done")
    snapshot = browser("sweep").json()
    assert [point["alpha"] for point in snapshot["points"]] == [0, 0.5, 1] and snapshot["a"] and snapshot["b"]
    browser("sweep", method="POST", body=b'{"alpha": 0.37}')
    until(lambda: 0.37 in [point["alpha"] for point in browser("sweep").json()["points"]])
    gate = threading.Event()
    world.studio.worker.submit(lambda: gate.wait(20))
    browser("sweep", method="POST", body=b'{"step": 0.01}')
    browser("sweep", method="DELETE")
    gate.set()
    until(lambda: browser("sweep").json()["state"] == "cancelled")
    assert len(browser("sweep").json()["points"]) < 100


def test_an_unexpected_failure_tells_nothing_about_the_machine(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/home/secret/place")

    monkeypatch.setattr(MergeView, "ask", fail)
    assert "secret" not in str(refused(browser("frame/0"), 500))
    monkeypatch.setattr(MergeView, "ask", lambda *_: (_ for _ in ()).throw(Superseded()))
    assert browser("frame/0").status == 409


def test_routes_lie_below_the_servers_path_and_pages_ask_relative_to_themselves(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit.get_option", {"server.baseUrlPath": "/studio/"}.__getitem__)
    app = Starlette(routes=routes.live_routes())
    monkeypatch.setattr("streamlit.session_state", {SESSION: SimpleNamespace(key=browser.key)})
    monkeypatch.setattr("pages.widgets.live.studio", lambda: browser.world.studio)
    base = viewer_data(browser.view, 0.5, 0).base
    assert base == f"live/{browser.key}/{browser.view.id}"
    for page in ("http://merge.test/studio/", "http://merge.test/studio/layers"):
        assert request(app, "GET", f"{urlsplit(urljoin(page, base)).path}/picture/0").status == 200
    assert request(app, "GET", f"/{base}/picture/0").status == 404
    assert urljoin("http://merge.test/lab/layers?a=b", base).startswith("http://merge.test/lab/live/"), (
        "behind a proxy that cuts /lab"
    )
