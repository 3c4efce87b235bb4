"""The server as others meet it: who gets in, and what stands before it. One process, real handshakes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from app_server import App, cutting_proxy, free_port, running_app
from test_app_browser import CHROMIUM, FLAGS, wrong
from websockets.exceptions import InvalidStatus

from pages.widgets.guard import POLICY

# Chromium's own check would keep a foreign page away before ours is asked.
EVERY_NAME_IS_HERE = ["--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-features=LocalNetworkAccessChecks"]
TOKEN, LIMIT = "correct horse & battery", 5


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Open to the network, below a path of its own, with a token of the operator's and small uploads."""
    folder = tmp_path_factory.mktemp("web")
    with running_app(folder, "--allow-host", "merge.test", "--upload-mb", str(LIMIT), base="/studio", environment={"FUSION_TOKEN": TOKEN},
                     server=("--server.address", "0.0.0.0", "--browser.serverAddress", "localhost")) as running:
        yield running
        assert TOKEN not in running.log.read_text(), "a secret of the operator's is not printed"


@pytest.fixture(scope="module")
def outside() -> str:
    """The address of this machine under which others reach it."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        if not probe.getsockname()[0].startswith("127."):
            return probe.getsockname()[0]
    pytest.skip("this machine has no address but loopback")


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
    for path in ("/", "/layers", "/live/k/v/frame/0", "/_stcore/host-config", "/_stcore/metrics", "/static/media/x", "/media/x.png"):
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
    assert app.ask("/", f"{outside}:{app.port}", to=outside, Cookie=link.headers["set-cookie"].split(";")[0]).status == 200


def test_every_answer_carries_the_policy(app: App, cookie: str) -> None:
    for path in ("/", "/x/y", "/_stcore/health", "/live/k/v/frame/0", "/_stcore/upload_file/a/b", "/..%2f..%2fetc", "/?token=x"):
        answer = app.ask(path)
        assert {name: answer.headers[name.lower()] for name in POLICY} == POLICY, path


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(app: App) -> Iterator:
    """A browser to which every name is this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[test]")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *EVERY_NAME_IS_HERE])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text) if wrong(message) else None)
        yield page
        browser.close()


def painted(tab) -> None:
    tab.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)


@pytest.mark.browser
def test_a_link_signs_a_browser_in_and_is_shared_without_its_token(app: App, tab) -> None:
    tab.goto(f"http://merge.test:{app.port}/studio/")
    assert "Needs: the token of this server" in tab.inner_text("body")
    tab.problems.clear()
    tab.goto(f"http://merge.test:{app.port}/studio/?token=correct+horse+%26+battery&alpha=0.3")
    painted(tab)
    assert "token" not in tab.url and "alpha=0.3" in tab.url and not tab.evaluate("document.cookie").count("fusion")
    assert tab.problems == []


@pytest.mark.browser
def test_another_sites_page_neither_frames_it_nor_talks_to_it(app: App, tab) -> None:
    port, body = free_port(), f"<iframe src={app.address}></iframe>"
    tab.route(f"http://evil.test:{port}/**", lambda route: route.fulfill(content_type="text/html", body=body))
    with tab.expect_event("console", lambda message: "frame-ancestors" in message.text):
        tab.goto(f"http://evil.test:{port}/")
    talk = """address => new Promise((done) => {
        const socket = new WebSocket(address);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    })"""
    assert tab.evaluate(talk, f"ws://127.0.0.1:{app.port}/studio/_stcore/stream") == "refused"
    tab.goto(f"http://evil.test:{app.port}/studio/")
    assert "--allow-host evil.test" in tab.inner_text("body"), "a name that was rebound"


@pytest.mark.browser
def test_behind_a_proxy_that_cuts_the_path_pages_and_frames_are_there(app: App, tab) -> None:
    with cutting_proxy(app.port, "/lab") as port:
        frames: list[str] = []
        tab.on("response", lambda answer: frames.append(answer.url) if "/frame/" in answer.url and answer.ok else None)
        tab.goto(f"http://merge.test:{port}/lab/studio/layers?token=correct+horse+%26+battery")
        painted(tab)
        assert tab.url.startswith(f"http://merge.test:{port}/lab/studio/layers") and "token" not in tab.url
        assert frames and all(url.startswith(f"http://merge.test:{port}/lab/studio/live/") for url in frames)
        kept = [(found["name"][:7], found["path"]) for found in tab.context.cookies() if found["name"].startswith("fusion")]
        assert kept == [("fusion-", "/lab/studio")], "no other server behind that proxy gets it"
        assert tab.problems == []
