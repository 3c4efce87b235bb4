"""Requests that do not arrive, against a real server: ended in time, and at most one line in the log."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from helpers import until
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.http.h11_impl import H11Protocol

from pages.widgets.arriving import ArrivesInTime, limit_heads

SECONDS = 0.3


class Protocol(H11Protocol):
    """One of our own, so that no other server in this process is hurried; it remembers its connections."""

    opened: list[Protocol] = []  # noqa: RUF012

    def connection_made(self, transport) -> None:
        self.opened.append(self)
        super().connection_made(transport)


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    limit_heads(Protocol, SECONDS)
    app = Starlette(
        routes=[Route("/", _echo, methods=["GET", "POST"]), WebSocketRoute("/socket", _socket)],
        middleware=[Middleware(ArrivesInTime, seconds=SECONDS, slowest=10**6)],
    )
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, http=Protocol, ws="websockets-sansio", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        yield opened


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What a terminal would show."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING and record.name != "asyncio"]


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET", GET, GET + b"X-Long: " + b"x" * 1000])
def test_a_head_that_does_not_come_ends_its_connection(
    connection: socket.socket, begun: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connection.sendall(begun)
    assert connection.recv(1) == b""
    assert lines(caplog) == []


def test_a_second_request_has_no_more_time_than_the_first(connection: socket.socket) -> None:
    connection.sendall(GET + b"\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    connection.sendall(GET)
    assert connection.recv(1) == b""


def test_a_connection_older_than_the_limit_is_used_again(connection: socket.socket) -> None:
    for number in range(4):
        for part in (GET[:20], GET[20:] + b"\r\n"):
            connection.sendall(part)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200"), number
        ours = Protocol.opened[-1]
        until(lambda ours=ours: ours.cycle.response_complete and ours.head_timer is None)


def test_a_body_that_stops_is_answered_with_408(connection: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    connection.sendall(POST + b"12345")
    answer = b""
    while chunk := connection.recv(1000):
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 408")
    until(lambda: lines(caplog))
    assert [record.getMessage() for record in lines(caplog)] == ["POST: the body did not arrive in time after 5 bytes"]
    assert not any(record.exc_info for record in caplog.records)


def test_a_body_that_is_broken_off_leaves_one_line(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(POST + b"123")
    until(lambda: lines(caplog))
    assert [record.getMessage() for record in lines(caplog)] == ["POST: the body was broken off after 3 bytes"]
    assert not any(record.exc_info for record in caplog.records)


def test_a_whole_body_is_answered(connection: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    for part in (POST, b"12345", b"67890"):
        connection.sendall(part)
    answer = b""
    while not answer.endswith(b"1234567890"):  # head and body may arrive apart
        chunk = connection.recv(1000)
        assert chunk, answer
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert lines(caplog) == []


def test_an_open_websocket_is_not_hurried(port: int) -> None:
    client = pytest.importorskip("websockets.sync.client")
    with client.connect(f"ws://127.0.0.1:{port}/socket") as opened:
        ours = Protocol.opened[-1]
        until(lambda: ours.head_timer is None)
        opened.send("still here")
        assert opened.recv(timeout=20) == "still here"
