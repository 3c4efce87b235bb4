"""How much one session may have in memory of what it uploads."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

AT_A_TIME = 2
"""Uploads of the largest size that a session may have in memory together."""

_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)$")


class UploadLimit:
    """Pure ASGI middleware: `session_bytes` for what arrives and what arrived and was not yet taken; at 0 no uploads
    are taken.

    Streamlit limits a file (`server.maxUploadSize`) but not how many there are, and keeps those of a closed page until
    another page is closed after it.
    """

    def __init__(self, app: ASGIApp, session_bytes: int) -> None:
        self.app, self.session_bytes = app, session_bytes
        self._arriving: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on; an upload only where there is room."""
        upload = _UPLOAD.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if upload is None:
            await self.app(scope, receive, send)
            if scope["type"] == "websocket":
                free_closed_sessions()
        elif not self.session_bytes:
            await _refusal(403, "an upload", "a server that takes them", "start it with --uploads")(
                scope, receive, send
            )
        elif float(Headers(scope=scope).get("content-length", 0)) > self._room(upload[1]):
            await _refusal(413, "more uploads than there is room for", "fewer at a time", "upload them one by one")(
                scope, receive, send
            )
        else:
            await self._counted((upload[1], upload[2]), scope, receive, send)

    def _room(self, session: str) -> int:
        held = {name: len(file.data) for name, file in list(_manager().file_storage.get(session, {}).items())}
        held |= {name: size for (owner, name), size in self._arriving.items() if owner == session}
        return self.session_bytes - sum(held.values())

    async def _counted(self, upload: tuple[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            size = len(message.get("body", b""))
            if size > self._room(upload[0]):  # announced less than it sends, or beside others
                raise HTTPException(413, "More than there is room for")
            arrived += size
            self._arriving[upload] += size
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            self._arriving[upload] -= arrived
            self._arriving += Counter()  # without those at zero


def free_closed_sessions() -> None:
    """Drop the uploads of pages that are closed; what was taken lies in the home folder."""
    manager = _manager()
    for session in list(manager.file_storage):
        if not runtime.get_instance().is_active_session(session):
            manager.remove_session_files(session)


def _manager() -> Any:
    return runtime.get_instance().uploaded_file_mgr


def _refusal(status: int, got: str, needs: str, do: str) -> Response:
    return PlainTextResponse(f"Got: {got}. Needs: {needs}. Do: {do}.\n", status)
