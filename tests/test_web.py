"""The server as others meet it: who gets in, what they may upload, and what stands before it.

One process, real handshakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from app_server import App, cutting_proxy, outside_address, running_app, session_of
from helpers import Answer, saved, until
from test_app_browser import wrong
from websockets.exceptions import InvalidStatus

from pages.widgets.guard import POLICY
from tests.waits import comes_to, expect

# Chromium's own check would keep a foreign page away before ours is asked.
TOKEN, LIMIT = "correct horse & battery", 5


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Open to the network, below a path of its own, with a token of the operator's and small uploads."""
    folder = tmp_path_factory.mktemp("web")
    with running_app(
        folder,
        "--allow-host",
        "merge.test",
        "--upload-mb",
        str(LIMIT),
        base="/studio",
        environment={"FUSION_TOKEN": TOKEN},
        server=("--server.address", "0.0.0.0", "--browser.serverAddress", "localhost"),
    ) as running:
        yield running
        assert TOKEN not in running.log.read_text(), "a secret of the operator's is not printed"


@pytest.fixture(scope="module")
def outside() -> str:
    """The address of this machine under which others reach it."""
    return outside_address() or pytest.skip("this machine has no address but loopback")


@pytest.fixture(scope="module")
def cookie(app: App) -> str:
    """What the link leaves in a browser."""
    answer = app.ask("/layers?a=start&token=correct+horse+%26+battery&picture=3", host="merge.test")
    assert (answer.status, answer.headers["location"]) == (303, "./layers?a=start&picture=3")
    return answer.headers["set-cookie"].split(";")[0]


def refused(app: App, *handshake: Any, **headers: Any) -> bool:
    with pytest.raises(InvalidStatus) as caught:
        app.websocket(*handshake, **headers)
    return caught.value.response.status_code == 403


# --- who gets in ------------------------------------------------------------------------------------------------------


def test_the_link_is_on_the_terminal(app: App) -> None:
    assert f"http://merge.test:{app.port}/studio/?token=<FUSION_TOKEN>" in app.log.read_text()


def test_pages_routes_and_files_ask_for_the_token(app: App, cookie: str) -> None:
    for path in (
        "/",
        "/layers",
        "/live/k/v/frame/0",
        "/_stcore/host-config",
        "/_stcore/metrics",
        "/static/media/x",
        "/media/x.png",
    ):
        for given in ({}, {"Cookie": cookie[:-1]}, {"Cookie": f"{cookie.split('=')[0]}=x"}):
            answer = app.ask(path, "merge.test", **given)
            assert answer.status == 403 and b"token" in answer.body and "set-cookie" not in answer.headers
        assert app.ask(path, "merge.test", Cookie=cookie).status in (200, 400, 404)
        assert app.ask(path, "evil.test", Cookie=cookie).status == 403
        assert app.ask(path, "merge.test", Cookie=cookie, Origin="http://evil.test").status == 403
    assert app.ask("/_stcore/health", "evil.test").body == b"ok"


def test_the_websocket_asks_for_it_too(app: App, cookie: str) -> None:
    app.websocket().close()
    app.websocket("merge.test", Cookie=cookie).close()
    assert refused(app, "merge.test") and refused(app, "merge.test", Cookie=cookie[:-1])
    assert refused(app, "evil.test", Cookie=cookie) and refused(app, "evil.test"), "a name that was rebound"
    assert refused(app, None, "http://evil.test") and refused(app, "merge.test", "http://merge.test:81", Cookie=cookie)
    assert refused(app, None, None)


def test_another_machine_needs_the_token_whatever_name_it_says(app: App, outside: str) -> None:
    assert app.ask("/", f"{outside}:{app.port}", to=outside).status == 403
    assert app.ask("/", f"localhost:{app.port}", to=outside).status == 403
    link = app.ask("/?token=correct+horse+%26+battery", f"{outside}:{app.port}", to=outside)
    assert (
        app.ask("/", f"{outside}:{app.port}", to=outside, Cookie=link.headers["set-cookie"].split(";")[0]).status == 200
    )


def test_every_answer_carries_the_policy(app: App, cookie: str) -> None:
    for path in (
        "/",
        "/x/y",
        "/_stcore/health",
        "/live/k/v/frame/0",
        "/_stcore/upload_file/a/b",
        "/..%2f..%2fetc",
        "/?token=x",
    ):
        answer = app.ask(path)
        assert {name: answer.headers[name.lower()] for name in POLICY} == POLICY, path


# --- uploads ----------------------------------------------------------------------------------------------------------


class Uploader:
    """A page that uploads without a browser."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.socket = app.websocket()
        self.session = session_of(self.socket)
        self.cookie = app.ask("/_stcore/health").headers["set-cookie"].split(";")[0]

    def put(self, megabytes: float, name: str = "f", chunked: bool = False) -> Answer:
        """One file; chunked, its size is not announced."""
        head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f.pth"\r\n\r\n'
        parts = [head, *[bytes(1 << 16)] * round(megabytes * 16), b"\r\n--b--\r\n"]
        size = {} if chunked else {"Content_Length": str(sum(map(len, parts)))}
        return self.app.ask(
            f"/_stcore/upload_file/{self.session}/{name}",
            None,
            "PUT",
            iter(parts),
            Cookie=self.cookie,
            X_Xsrftoken=self.cookie.split("=", 1)[1],
            Content_Type="multipart/form-data; boundary=b",
            **size,
        )


def held(app: App) -> int:
    """Bytes of uploads in the memory of the server, as it said itself in the last five seconds."""
    found = re.search(
        rb'cache_memory_bytes\{cache_type="UploadedFileManager",cache=""\} (\d+)', app.ask("/_stcore/metrics").body
    )
    return int(found[1]) if found else 0


@pytest.fixture
def uploader(app: App) -> Iterator[Uploader]:
    page = Uploader(app)
    yield page
    page.socket.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_what_is_over_the_limit_never_gets_into_memory(app: App, uploader: Uploader, chunked: bool) -> None:
    before = app.resident_mb()
    for number in range(3):
        with suppress(ConnectionError):  # the server hangs up on what it does not want
            assert uploader.put(300, f"f{number}", chunked).status == 413
    assert max(app.resident_mb(), app.resident_mb(peak=True)) - before < 200, (
        "three uploads of 100 MB were taken into memory"
    )


def test_a_session_has_room_for_two_of_the_largest_and_gives_it_back(app: App, uploader: Uploader) -> None:
    assert [uploader.put(4.5, name).status for name in ("one", "two", "three")] == [204, 204, 413]
    with suppress(ConnectionError):
        assert uploader.put(4.5, "three", chunked=True).status == 413
    other = Uploader(app)
    assert other.put(4.5).status == 204, "another session has its own"
    until(lambda: held(app) > 13 << 20)
    other.socket.close()
    until(lambda: 9 << 20 <= held(app) < 10 << 20)
    uploader.socket.close()
    until(lambda: held(app) == 0)
    assert uploader.put(1).status == 400, "that page is closed"


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(app: App, browser) -> Iterator:
    """A browser that knows nothing, and to which every name is this machine."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.problems = []
    page.on(
        "console",
        lambda message: (
            page.problems.append(message.text)
            if wrong(message) and "favicon" not in message.location.get("url", "")
            else None
        ),
    )  # asked for late, once refused
    yield page
    context.close()


def painted(tab) -> None:
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)


def foreign(tab, body: str) -> None:
    """Show a page of another site."""
    tab.route("http://evil.test:81/", lambda route: route.fulfill(content_type="text/html", body=body))
    tab.goto("http://evil.test:81/")


@pytest.mark.browser
def test_a_link_signs_a_browser_in_and_is_shared_without_its_token(app: App, tab) -> None:
    tab.goto(f"http://merge.test:{app.port}/studio/")
    expect(tab.locator("body")).to_contain_text("Needs: the token of this server")
    tab.problems.clear()
    tab.goto(f"http://merge.test:{app.port}/studio/?token=correct+horse+%26+battery&alpha=0.3")
    painted(tab)
    comes_to(tab, lambda: ("token" in tab.url, "alpha=0.3" in tab.url), (False, True))
    cookies = tab.evaluate("document.cookie")
    assert "fusion" not in cookies
    foreign(tab, f"<a href='http://merge.test:{app.port}/studio/layers'>shared</a>")
    tab.get_by_text("shared").click()
    painted(tab)
    assert tab.url.startswith(f"http://merge.test:{app.port}/studio/layers") and tab.problems == []


@pytest.mark.browser
def test_what_was_taken_or_refused_leaves_the_memory_at_once_and_the_refusal_stays(
    app: App, tab, tmp_path: Path
) -> None:
    tab.goto(f"{app.address}workspace")
    tab.get_by_text("Workspace: 10 checkpoints").wait_for(timeout=30000)
    tab.get_by_text("Upload checkpoints or pictures").click()
    tab.get_by_text(f"up to {LIMIT} MB each, {2 * LIMIT} MB at a time").wait_for(timeout=30000)
    into = tab.locator("[data-testid=stFileUploaderDropzoneInput]")
    (tmp_path / "odd.pth").write_bytes(b"no checkpoint")
    into.set_input_files(tmp_path / "odd.pth")
    tab.locator("[data-testid=stAlert]").filter(has_text="odd.pth").wait_for(timeout=30000)
    for number in range(3):  # together more than a session has room for
        file = saved(tmp_path / f"taken{number}.safetensors", {"w": torch.full((1_180_000,), float(number))}).path
        into.set_input_files(file)
        tab.get_by_text(f"{11 + number} checkpoints").wait_for(timeout=30000)
    expect(tab.locator("[data-testid=stAlert]").filter(has_text="odd.pth")).to_be_visible()
    assert tab.problems == []


@pytest.mark.browser
def test_another_sites_page_neither_frames_it_nor_talks_to_it(app: App, tab) -> None:
    with tab.expect_event("console", lambda message: "frame-ancestors" in message.text):
        foreign(tab, f"<iframe src={app.address}></iframe>")
    talk = """address => new Promise((done) => {
        const socket = new WebSocket(address);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    })"""
    answer = tab.evaluate(talk, f"ws://127.0.0.1:{app.port}/studio/_stcore/stream")
    assert answer == "refused"
    tab.goto(f"http://evil.test:{app.port}/studio/")
    expect(tab.locator("body")).to_contain_text("--allow-host evil.test")  # a name that was rebound


@pytest.mark.browser
def test_behind_a_proxy_that_cuts_the_path_pages_and_frames_are_there(app: App, tab) -> None:
    with cutting_proxy(app.port, "/lab") as port:
        frames: list[str] = []
        tab.on("response", lambda answer: frames.append(answer.url) if "/frame/" in answer.url and answer.ok else None)
        tab.goto(f"http://merge.test:{port}/lab/studio/layers?token=correct+horse+%26+battery")
        painted(tab)
        assert tab.url.startswith(f"http://merge.test:{port}/lab/studio/layers") and "token" not in tab.url
        assert frames and all(url.startswith(f"http://merge.test:{port}/lab/studio/live/") for url in frames)
        kept = [
            (found["name"][:7], found["path"]) for found in tab.context.cookies() if found["name"].startswith("fusion")
        ]
        assert kept == [("fusion-", "/lab/studio")], "no other server behind that proxy gets it"
        assert tab.problems == []
