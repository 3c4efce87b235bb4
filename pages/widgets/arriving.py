"""Requests that do not arrive: connections that say nothing and bodies that stop are ended after a while, with one line
in the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger(__name__)

HEAD_SECONDS = 20.0
"""From the first byte of a connection or request to the end of its headers."""

BODY_SECONDS, SLOWEST = 30.0, 10_000
"""What is waited for a body in all: so many seconds, and one more for each so many bytes that have come."""


class ArrivesInTime:
    """ASGI middleware: a body that stops or trickles is the end of its request, and one that its client broke off is no
    error.
    """

    def __init__(self, app: ASGIApp, seconds: float = BODY_SECONDS, slowest: int = SLOWEST) -> None:
        self.app, self.seconds, self.slowest = app, seconds, slowest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is no HTTP request as it is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.seconds, self.slowest)
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, body.receive, noted)
        except ClientDisconnect:
            # Without the address, which may hold a session's key.
            log.warning(
                "%s: the body %s after %d bytes",
                scope["method"],
                "did not arrive in time" if body.late else "was broken off",
                body.bytes,
            )
            if body.late and not answered:
                await send({"type": "http.response.start", "status": 408, "headers": [(b"connection", b"close")]})
                await send({"type": "http.response.body", "body": b""})


class _Body:
    """A request's `receive` with an eye on the clock; time in which nobody asks for more does not count."""

    def __init__(self, receive: Receive, seconds: float, slowest: int) -> None:
        self._receive, self._seconds, self._slowest = receive, seconds, slowest
        self._waited, self._whole = 0.0, False
        self.bytes, self.late = 0, False

    async def receive(self) -> Message:
        """The next message; a disconnect where the body is late."""
        if self._whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            message = await asyncio.wait_for(self._receive(), self._seconds + self.bytes / self._slowest - self._waited)
        except TimeoutError:
            self.late = True
            return {"type": "http.disconnect"}
        self._waited += loop.time() - begun
        self.bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message


def limit_heads(protocol: Any = AutoHTTPProtocol, seconds: float = HEAD_SECONDS) -> None:
    """Make uvicorn's `protocol` close a connection on which no whole head of a request has come for `seconds`.

    uvicorn limits only the pause between two requests. Its class is changed where it is: Streamlit offers no other to
    be named.
    """
    protocol.head_timer = None
    made, received, lost = protocol.connection_made, protocol.data_received, protocol.connection_lost

    def stop(self: Any) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def late(self: Any) -> None:
        self.head_timer = None
        log.info(
            "a connection is closed: no request has come for %g s", seconds
        )  # browsers open some ahead that they never use
        self.transport.close()

    def watch(self: Any) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if (
            answering or self.transport.is_closing() or self.transport.get_protocol() is not self
        ):  # another one: a websocket by now
            stop(self)
        elif self.head_timer is None:
            self.head_timer = self.loop.call_later(seconds, late, self)

    def connection_made(self: Any, transport: asyncio.Transport) -> None:
        made(self, transport)
        watch(self)

    def data_received(self: Any, data: bytes) -> None:
        received(self, data)
        watch(self)

    def connection_lost(self: Any, exc: Exception | None) -> None:
        stop(self)
        lost(self, exc)

    protocol.connection_made, protocol.data_received, protocol.connection_lost = (
        connection_made,
        data_received,
        connection_lost,
    )
