"""Who is let in, without a server: every rule of the guard for every kind of request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import Answer, request
from starlette.responses import PlainTextResponse

from fusionlib.errors import UsageError
from fusionlib.studio import app_options
from pages.widgets import server
from pages.widgets.guard import LEFT, POLICY, Guard, host_name, is_loopback

TOKEN = "a secret of the operator & more"
HERE, THERE, SERVER = ("127.0.0.1", 40000), ("203.0.113.9", 40000), ("192.0.2.7", 8501)
inside = PlainTextResponse("inside")


def guard(token: str | None = TOKEN) -> Guard:
    return Guard(inside, ["merge.test", "2001:db8::1"], token, "/_stcore/health")


def ask(
    host: str,
    path: str = "/",
    query: str = "",
    client: Any = THERE,
    method: str = "GET",
    token: str | None = TOKEN,
    scheme: str = "http",
    **headers: str,
) -> Answer:
    named = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    return request(guard(token), method, path, query=query, headers=named, client=client, server=SERVER, scheme=scheme)


def cookie(token: str = TOKEN) -> str:
    return f"{guard(token).cookie}={guard(token).proof}"


def passed(answer: Answer) -> bool:
    """Whether the app itself answered; a refusal is short, plain, and says what to do."""
    assert {name: answer.headers[name.lower()] for name in POLICY} == POLICY
    if answer.status == 200:
        return answer.body == b"inside"
    assert (answer.status, answer.headers["content-type"][:10], answer.headers["cache-control"]) == (
        403,
        "text/plain",
        "no-store",
    )
    words = answer.body.decode()
    assert (
        words.startswith("Got: ")
        and "Needs: " in words
        and "Do: " in words
        and words.count("\n") == 1
        and len(words) < 400
    )
    return False


def handshake(host: str, client: Any = THERE, **headers: str) -> bool:
    """Whether a websocket reaches the app."""
    reached: list[str] = []

    async def app(*_: Any) -> None:
        reached.append("app")

    async def send(message: dict[str, Any]) -> None:
        reached.append(message["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    named = [(b"host", host.encode()), *((name.lower().encode(), value.encode()) for name, value in headers.items())]
    scope = {
        "type": "websocket",
        "path": "/_stcore/stream",
        "query_string": b"",
        "headers": named,
        "client": client,
        "server": SERVER,
        "scheme": "ws",
    }
    asyncio.run(Guard(app, ["merge.test"], TOKEN)(scope, receive, send))
    assert reached in (["app"], ["websocket.close"])
    return reached == ["app"]


def test_a_browser_that_leaves_before_its_socket_is_open_is_no_fault() -> None:
    async def left(*_: Any) -> None:
        raise LEFT("not connected")

    async def broken(*_: Any) -> None:
        raise ValueError("a fault")

    headers = [(b"host", b"127.0.0.1:8501"), (b"origin", b"http://127.0.0.1:8501")]
    scope = {"type": "websocket", "path": "/_stcore/stream", "query_string": b"", "headers": headers}
    scope |= {"client": HERE, "server": ("127.0.0.1", 8501), "scheme": "ws"}
    asyncio.run(Guard(left)(scope, left, left))
    with pytest.raises(ValueError, match="a fault"):
        asyncio.run(Guard(broken)(scope, left, left))


@pytest.mark.parametrize(
    "host",
    [
        "merge.test",
        "MERGE.test:8501",
        "merge.test.:80",
        "[2001:DB8:0::1]:8501",
        "192.0.2.7:8501",
        "localhost:8501",
        "127.0.0.1",
        "[::1]:9",
    ],
)
def test_a_known_name_and_a_token_are_let_in(host: str) -> None:
    assert passed(ask(host, Cookie=f"other=1; {cookie()}"))
    assert not passed(ask(host)) and not passed(ask(host, Cookie=cookie("another")))
    assert not passed(ask(host, Cookie=f"{guard().cookie}=")) and not passed(
        ask(host, Cookie=f"{guard().cookie}={TOKEN}")
    )
    assert passed(ask(host, token=None))


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "merge.test.evil.test",
        "evilmerge.test",
        "192.0.2.8",
        "0.0.0.0",
        "localhost.evil.test",
        "",
        "merge.test@evil.test",
        "evil.test/merge.test",
        "127.0.0.1.evil.test",
        "[::1",
        "merge.test:x",
        "é",
    ],
)
def test_an_unknown_name_is_refused_whoever_asks(host: str) -> None:
    for client in (HERE, THERE):
        assert not passed(ask(host, client=client, Cookie=cookie()))
        assert not passed(ask(host, client=client, token=None)) and not passed(
            ask(host, query=f"token={TOKEN}", client=client)
        )
        assert not handshake(host, client, Origin=f"http://{host}", Cookie=cookie())


def test_only_this_machines_own_browser_needs_no_token() -> None:
    for client in (HERE, ("::1", 1), ("::ffff:127.0.0.1", 1), ("127.8.9.1", 1)):
        assert passed(ask("localhost:8501", client=client)) and passed(ask("127.0.0.1:8501", client=client))
        assert not passed(ask("merge.test", client=client))
    for client in (THERE, None, ("test", 1)):
        assert not passed(ask("localhost:8501", client=client)), "a name is quickly said"
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"):
        assert not passed(ask("localhost:8501", client=HERE, **{header: "for=127.0.0.1"})), (
            "a proxy on this machine is not its browser"
        )


def test_health_alone_is_open() -> None:
    assert passed(ask("evil.test", "/_stcore/health")) and passed(ask("", "/_stcore/health", Origin="http://evil.test"))
    for path in (
        "/_stcore/health/",
        "/x/_stcore/health",
        "/_stcore/health/x",
        "/_stcore/host-config",
        "/_stcore/metrics",
        "/media/x",
        "/live/k/v/frame/0",
        "/_stcore/upload_file/a/b",
    ):
        assert not passed(ask("merge.test", path))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_another_sites_page_is_refused(method: str) -> None:
    for origin in ("http://merge.test", "https://merge.test", "HTTP://merge.TEST"):
        assert passed(ask("merge.test", method=method, Origin=origin, Cookie=cookie()))
    for origin in (
        "http://evil.test",
        "null",
        "",
        "http://merge.test:8502",
        "merge.test",
        "file://merge.test",
        "https://merge.test.evil.test",
    ):
        assert not passed(ask("merge.test", method=method, Origin=origin, Cookie=cookie()))
    assert passed(ask("merge.test:443", method=method, Origin="https://merge.test", Cookie=cookie()))
    assert not passed(ask("merge.test:443", method=method, Origin="http://merge.test", Cookie=cookie()))


def test_a_websocket_names_its_page_and_has_the_cookie() -> None:
    assert handshake("merge.test:8501", Origin="http://merge.test:8501", Cookie=cookie())
    assert handshake("localhost:8501", HERE, Origin="http://localhost:8501")
    assert not handshake("merge.test:8501", Origin="http://merge.test:8501")
    assert not handshake("merge.test:8501", Origin="http://merge.test:8501", Cookie=cookie("another"))
    assert not handshake("merge.test:8501", Origin="http://merge.test:9000", Cookie=cookie()), "cookies ignore ports"
    assert not handshake("localhost:8501", HERE, Origin="http://evil.test")
    assert not handshake("localhost:8501", HERE), "a browser always says whose page it is"


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/", "", "./"),
        ("/layers", "a=start&more=x+y&more=%26", "./layers?a=start&more=x+y&more=%26"),
        ("/studio/", "b=", "./?b="),
        ("/studio/layers", "", "./layers"),
        ("//evil.test/%2e", "", "./%252e"),
        ("/a:b\r\nX: y", "", "./a%3Ab%0D%0AX%3A%20y"),
        ("/\\evil.test", "", "./%5Cevil.test"),
    ],
)
def test_the_token_goes_from_the_address_into_a_cookie(path: str, query: str, location: str) -> None:
    given = f"token=a+secret+of+the+operator+%26+more{'&' if query else ''}{query}"
    answer = ask("merge.test", path, given)
    assert (
        answer.status == 303
        and answer.headers["location"] == location
        and answer.headers["cache-control"] == "no-store"
    )
    kept, *how = answer.headers["set-cookie"].split("; ")
    assert (
        kept == cookie()
        and {"HttpOnly", "SameSite=lax"} <= set(how)
        and not any(part.startswith(("Path", "Secure")) for part in how)
    )
    assert "Secure" in ask("merge.test", path, given, scheme="https").headers["set-cookie"]
    assert passed(ask("merge.test", path, Cookie=kept))


def test_a_wrong_token_is_refused_and_one_that_nobody_asks_for_leaves_the_address() -> None:
    for wrong in ("x", "", TOKEN[:-1], TOKEN + "x", "é"):
        assert not passed(ask("merge.test", query=f"token={wrong}"))
    stale = ask("localhost", query="token=of+an+earlier+start&a=1", client=HERE)
    assert (stale.status, stale.headers["location"]) == (303, "./?a=1") and "set-cookie" not in stale.headers
    assert ask("merge.test", query="token=x", token=None).headers["location"] == "./"


def test_two_servers_of_one_machine_keep_their_own_cookies_and_tell_nobody_the_token() -> None:
    assert guard("one of sixteen...").cookie != guard("another of sixteen").cookie
    assert TOKEN not in cookie() and len(guard().proof) > 50


def test_names_of_hosts() -> None:
    assert [host_name(text) for text in ("A.b:1", "[::1]:1", "[::ffff:10.0.0.1]")] == ["a.b", "::1", "10.0.0.1"]
    assert {host_name(text) for text in ("a b", "a:1:2", "", "a:", "[a")} == {None}
    assert [is_loopback(name) for name in ("localhost", "127.9.9.9", "::1", "localhost.evil", "10.0.0.1", None)] == [
        True
    ] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--allow-host", "http://merge.test"], "without scheme"),
        (["--allow-host", "merge.test:8501"], "port"),
        (["--allow-host", "*"], "name"),
        (["--allow-host", ""], "name"),
        (["--uploads"], "--no-token"),
        (["--upload-mb", "0"], "1 or more"),
    ],
)
def test_options_that_say_nothing_are_refused(given: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        app_options(given)


def test_options_of_the_server() -> None:
    plain = app_options([])
    assert plain.token and plain.uploads and plain.allow_hosts == ()
    public = app_options(["--no-token", "--allow-host", "Merge.Test", "--allow-host", "[::1]"])
    assert not public.token and not public.uploads and public.allow_hosts == ("merge.test", "::1")
    assert app_options(["--no-token", "--uploads"]).uploads


def test_the_terminal_says_how_others_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(server.TOKEN, raising=False)
    monkeypatch.setattr(server.net_util, "get_internal_ip", lambda: "192.0.2.7")

    def links(address: str, *arguments: str) -> list[str]:
        return [line.strip() for line in server._welcome(app_options(arguments), address, "t0ken") if "http" in line]

    assert links("127.0.0.1") == links("localhost") == []
    assert [link.partition(":8501")[0] for link in links("127.0.0.1", "--allow-host", "merge.test")] == [
        "http://merge.test"
    ]
    assert links("", "--allow-host", "::1")[0].startswith("http://[::1]:") and links("0.0.0.0")[0].startswith(
        "http://192.0.2.7:"
    )
    assert all(link.endswith("/?token=t0ken") for link in links("192.0.2.9", "--allow-host", "merge.test"))
    said = "".join(server._welcome(app_options(["--no-token"]), "", None))
    assert "whoever reaches this server may use it" in said and "off" in said and "token=" not in said
    monkeypatch.setenv(server.TOKEN, "correct horse & battery")
    assert links("0.0.0.0")[0].endswith("/?token=<FUSION_TOKEN>")


def test_a_token_that_can_be_guessed_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(server.TOKEN, "fifteen letters")
    with pytest.raises(SystemExit) as ended:
        server.check_arguments()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "16 or more" in said and "fifteen" not in said
