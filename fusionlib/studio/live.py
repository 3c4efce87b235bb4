"""Which views a browser session may ask frames of. Keys are unguessable; nothing here takes a path."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from fusionlib.errors import UsageError
from fusionlib.studio.view import MergeView

SESSIONS = 256
VIEWS_PER_SESSION = 8


class LiveDesk:
    """Session keys and the views that each was granted; the least recently used go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, OrderedDict[str, MergeView]] = OrderedDict()

    def new_key(self) -> str:
        """A key of 192 random bits for one browser session."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[key] = OrderedDict()
            while len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        return key

    def grant(self, key: str, view: MergeView) -> None:
        """Let session `key` ask for frames of `view`."""
        with self._lock:
            views = self._sessions.setdefault(key, OrderedDict())
            self._sessions.move_to_end(key)
            views[view.id] = view
            views.move_to_end(view.id)
            while len(views) > VIEWS_PER_SESSION:
                views.popitem(last=False)

    def find(self, key: str, view_id: str) -> MergeView:
        """The view, if this session was granted it. Raises `UsageError` otherwise, without saying which part was wrong."""
        with self._lock:
            view = self._sessions.get(key, {}).get(view_id)
        if view is None:
            raise UsageError("This view is not open in your session", "a page opened in this browser", "Reload the page")
        return view
