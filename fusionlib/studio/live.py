"""Which views a browser session may ask frames of. Keys are unguessable; nothing here takes a path."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import OrderedDict, deque

from fusionlib.errors import UsageError
from fusionlib.studio.view import MergeView

SESSIONS = 1024
VIEWS_PER_SESSION = 8


class LiveSession:
    """A browser session's `key` of 192 random bits. It is good for as long as somebody holds this object."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(24)


class LiveDesk:
    """Session keys and the views that each was granted; beyond `SESSIONS` the ones used longest ago go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, OrderedDict[str, MergeView]] = OrderedDict()
        self._ended: deque[str] = deque()

    def __len__(self) -> int:
        with self._lock:
            self._forget_ended()
            return len(self._sessions)

    def open(self) -> LiveSession:
        """A session for whoever keeps it."""
        session = LiveSession()
        # Only noted here: objects are collected at any time, also while this thread holds the lock.
        weakref.finalize(session, self._ended.append, session.key).atexit = False
        with self._lock:
            self._forget_ended()
            self._sessions[session.key] = OrderedDict()
            while len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def grant(self, session: LiveSession, view: MergeView) -> None:
        """Let the session ask for frames of `view`, those that were prepared by now included."""
        if view.prepared is not None:
            view.prepared.look()
        with self._lock:
            views = self._sessions.setdefault(session.key, OrderedDict())
            self._sessions.move_to_end(session.key)
            views[view.id] = view
            views.move_to_end(view.id)
            while len(views) > VIEWS_PER_SESSION:
                views.popitem(last=False)

    def find(self, key: str, view_id: str) -> MergeView:
        """The view, if this session was granted it.

        Raises `UsageError` otherwise, without saying which part was wrong.
        """
        with self._lock:
            self._forget_ended()
            views = self._sessions.get(key, {})
            view = views.get(view_id)
            if view is not None:  # whoever only drags a slider uses it
                self._sessions.move_to_end(key)
                self._sessions[key].move_to_end(view_id)
        if view is None:
            raise UsageError(
                "This view is not open in your session", "a page opened in this browser", "Reload the page"
            )
        return view

    def _forget_ended(self) -> None:
        while self._ended:
            self._sessions.pop(self._ended.popleft(), None)
