"""What the browser needs before the first run of a script: the house style, and the modules of the viewer.

Streamlit's page is the same file for every app. Its style sheets come with the first run, and whatever is drawn by then
moves; so they are put into the page's head, where they also cost no run anything.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.widgets.browser_files import ASSETS, FILES, VERSION

_END = b"</head>"
_DROPPED = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"}
"""Headers of a request for a page that are not passed on: what is answered is whole and readable."""


def head() -> bytes:
    """What is put at the end of a page's head; below `:root`, because Streamlit's own sheets come later."""
    style = "\n".join((Path(ASSETS) / name).read_text(encoding="utf-8") for name in ("style.css", "present.css"))
    names = [name for name in FILES if name.startswith("viewer/")]
    links = "".join(f'<link rel="modulepreload" href="./browser/{VERSION}/{name}">' for name in names)
    return f"<style>:root {{ {style} }}</style>{links}".encode()


class FirstPaint:
    """ASGI middleware: answers that are Streamlit's page get `head`; all others pass through as they are.

    A page is one segment below `base` without a dot: files that somebody downloads may be HTML too.
    """

    def __init__(self, app: ASGIApp, base: str = "") -> None:
        self.app, self.head = app, head()
        self._page = re.compile(rf"{re.escape(base)}/?[a-z_-]*")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only requests that a browser makes for a page are looked at."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._page.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        kept = [(name, value) for name, value in scope["headers"] if name not in _DROPPED]
        await self.app({**scope, "headers": kept}, receive, _Inserting(send, self.head).send)


class _Inserting:
    """The answer is held back until it is whole, where it is HTML."""

    def __init__(self, send: Send, inserted: bytes) -> None:
        self._send, self._inserted = send, inserted
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        body = self._body.replace(_END, self._inserted + _END, 1)
        headers = MutableHeaders(scope=start)
        headers["content-length"] = str(len(body))
        del headers["etag"]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _is_html(start: Message) -> bool:
    headers = dict(start["headers"])
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers
