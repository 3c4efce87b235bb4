"""Who is let in: by the name that was asked for, the page that asks, and a token.

What is let out carries the content policy.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
from collections.abc import Collection
from contextlib import suppress
from hmac import compare_digest
from urllib.parse import quote, urlencode

from starlette import websockets
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

LEFT: type[Exception] = getattr(websockets, "WebSocketDisconnected", websockets.WebSocketDisconnect)
"""What a socket raises whose browser has left before it was open; older versions had no name of its own for it."""

POLICY = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' blob: 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self'"
        " data: blob:; font-src 'self' data:; connect-src 'self'; worker-src blob:; object-src 'none'; base-uri 'self';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
"""On every answer: scripts and data of this server alone, in no other page's frame, and of the kind that it says."""

COOKIE_SECONDS = 30 * 24 * 3600
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Guard:
    """Pure ASGI middleware around pages, websocket and routes alike; `health` alone is open to everybody.

    - Host: a loopback name, one of `names`, or the very address at which the request arrived. Any other name has been
      pointed at this server by somebody else, whose page would count as ours.
    - Origin: that of a websocket, and of whatever else names one, equals Host. Cookies ignore ports, so another server
      of this machine would have ours sent along.
    - Token: from a link into a cookie, and out of the address, because addresses are shared. A browser on this machine
      needs none, nor does anybody where `token` is None.
    """

    def __init__(
        self, app: ASGIApp, names: Collection[str] = (), token: str | None = None, health: str = "/_stcore/health"
    ) -> None:
        self.app, self.names, self.token, self.health = app, frozenset(names), token, health
        # The cookie tells the token to nobody, and two servers of one machine do not overwrite each other's.
        digest = hashlib.sha256(f"fusion cookie {token}".encode()).hexdigest()
        self.cookie, self.proof = f"fusion-{digest[:8]}", digest[8:]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on, or answer in its place."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        answer = self._answer(HTTPConnection(scope))
        if scope["type"] == "http":
            return await (answer or self.app)(scope, receive, _with_policy(send))
        if answer is None:
            with suppress(LEFT):  # who leaves before the socket is open is no fault to log
                await self.app(scope, receive, send)
            return None
        log.warning("websocket refused: %r", bytes(answer.body).decode().strip())  # a browser shows no answer to it
        await send({"type": "websocket.close", "code": 1008})

    def _answer(self, asked: HTTPConnection) -> Response | None:
        """What is answered in the app's place; None lets it through."""
        if asked.scope["path"] == self.health and asked.scope["type"] == "http":
            return None
        name = host_name(asked.headers.get("host", ""))
        if not self._known(name, asked):
            return _refusal(
                f"Got: the host name {name or 'none'}, unknown to this server",
                "a name that its operator allows",
                f"use another address, or start the server with --allow-host {name or 'NAME'}",
            )
        if not _from_own_page(asked):
            return _refusal(
                "Got: a request from another site's page",
                "one from a page of this server",
                "open the server's own address; a proxy has to pass the Host header on as it came",
            )
        needed = self.token is not None and not (is_loopback(name) and _is_local(asked))
        if asked.scope["type"] == "http" and "token" in asked.query_params:
            return self._signed_in(asked, needed)
        if needed and not compare_digest(asked.cookies.get(self.cookie, "").encode(), self.proof.encode()):
            return _refusal(
                "Got: no token, or one of an earlier start",
                "the token of this server",
                "open the link with ?token= that it printed at its start",
            )
        return None

    def _known(self, name: str | None, asked: HTTPConnection) -> bool:
        arrived = asked.scope.get("server") or ("",)
        return name is not None and (is_loopback(name) or name in self.names or name == _shortest(str(arrived[0])))

    def _signed_in(self, asked: HTTPConnection, needed: bool) -> Response:
        """To the same address without the token; with the cookie where it was right."""
        right = self.token is not None and compare_digest(asked.query_params["token"].encode(), self.token.encode())
        if needed and not right:
            return _refusal(
                "Got: a wrong token", "the token of this server", "open the link that it printed at its last start"
            )
        rest = urlencode([(key, value) for key, value in asked.query_params.multi_items() if key != "token"])
        # Relative, and the cookie without a path, because a proxy may have cut the beginning of the address.
        page = quote(asked.scope["path"].rsplit("/", 1)[-1])
        answer = RedirectResponse(f"./{page}{'?' if rest else ''}{rest}", 303, {"Cache-Control": "no-store"})
        if right:
            answer.set_cookie(
                self.cookie,
                self.proof,
                COOKIE_SECONDS,
                path=None,
                secure=asked.scope["scheme"] == "https",
                httponly=True,
                samesite="lax",
            )
        return answer


def host_name(header: str) -> str | None:
    """The name in a `Host` header, an address in its shortest form; None where there is no such name."""
    match = _HOST.fullmatch(header.lower())
    return _shortest(match[1].strip("[]").rstrip(".")) if match else None


def is_loopback(name: str | None) -> bool:
    """Whether the name means the machine itself, whoever resolves it."""
    try:
        return name == "localhost" or ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


async def failed(_: HTTPConnection, __: Exception) -> Response:
    """The answer where the app has none; what happened is in the log."""
    return PlainTextResponse("Got: a failure of the server. Do: see its log.", 500, POLICY)


def _shortest(name: str) -> str:
    """An address in its shortest form, and as IPv4 where it is one; a name as it is."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_local(asked: HTTPConnection) -> bool:
    """From this machine, and not by way of a proxy on it."""
    client = asked.client.host if asked.client else ""
    return is_loopback(_shortest(client)) and not any(name in asked.headers for name in _FORWARDED)


def _from_own_page(asked: HTTPConnection) -> bool:
    origin = asked.headers.get("origin")
    if origin is None:
        return asked.scope["type"] == "http"
    scheme, _, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return port is not None and place.removesuffix(port) == asked.headers["host"].lower().removesuffix(port)


def _refusal(got: str, needs: str, do: str) -> Response:
    return PlainTextResponse(f"{got}. Needs: {needs}. Do: {do}.\n", 403, {"Cache-Control": "no-store"})


def _with_policy(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(POLICY)
        await send(message)

    return sent
