"""The one studio of this process, opened with the arguments of whoever started it."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import threading

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config, net_util
from streamlit.web.server import server_util

from fusionlib.errors import FusionError, UsageError
from fusionlib.studio import Options, Studio, app_options
from pages.widgets.arriving import ArrivesInTime
from pages.widgets.first_paint import FirstPaint
from pages.widgets.guard import Guard, is_loopback
from pages.widgets.upload_limit import AT_A_TIME, UploadLimit

TOKEN = "FUSION_TOKEN"
"""The variable that holds a token of the operator's own, which outlives a restart."""

_EVERYWHERE = ("", "0.0.0.0", "::")
_lock = threading.Lock()
_studio: Studio | None = None


def arguments() -> list[str]:
    """What stands behind `--` on the command line, or in FUSION_ARGS where the command line is not ours (tests,
    containers).
    """
    given = os.environ.get("FUSION_ARGS")
    return shlex.split(given) if given is not None else sys.argv[1:]


def options() -> Options:
    """The parsed arguments."""
    return app_options(arguments())


def check_arguments() -> None:
    """End with exit status 2 and one line where an argument is wrong, before the server starts."""
    try:
        _own_token()
        studio()
    except FusionError as error:
        print(f"streamlit run app.py: {error.one_line}", file=sys.stderr)
        raise SystemExit(2) from error


def base_path() -> str:
    """What every address of this server begins with: nothing, or `server.baseUrlPath` after a slash."""
    folder = st.get_option("server.baseUrlPath").strip("/")
    return f"/{folder}" if folder else ""


def middleware() -> list[Middleware]:
    """What stands before pages, websocket and routes; says on the terminal how others get in."""
    given = studio().options
    token = (_own_token() or secrets.token_urlsafe(32)) if given.token else None
    address = st.get_option("server.address") or ""
    # Streamlit's own checks follow; it reads them at each request.
    config.set_option("server.maxUploadSize", given.upload_mb)
    config.set_option(
        "server.corsAllowedOrigins",
        [f"{scheme}://{name}" for name in given.allow_hosts for scheme in ("https", "http")],
    )
    if address not in _EVERYWHERE:
        config.set_option("server.allowedHosts", ["localhost", "127.0.0.1", "::1", address, *given.allow_hosts])
    for line in _welcome(given, address, token):
        print(line, flush=True)
    return [
        Middleware(Guard, given.allow_hosts, token, f"{base_path()}/_stcore/health"),
        Middleware(ArrivesInTime),
        Middleware(FirstPaint, base_path()),
        Middleware(UploadLimit, AT_A_TIME * (given.upload_mb << 20) if given.uploads else 0),
    ]


def studio() -> Studio:
    """The studio; opened at the first call and shared by all sessions and routes."""
    global _studio
    with _lock:
        if _studio is None:
            _studio = Studio(options())
        return _studio


def reset() -> None:
    """Forget the studio, so that the next call opens one with the arguments of then (for tests)."""
    global _studio
    with _lock:
        _studio = None


def _own_token() -> str | None:
    token = os.environ.get(TOKEN)
    if token is not None and len(token) < 16:
        raise UsageError(
            f"{TOKEN} of {len(token)} characters", "16 or more, that nobody guesses", "Choose a longer one, or unset it"
        )
    return token


def _welcome(given: Options, address: str, token: str | None) -> list[str]:
    """How others than this machine's own browser get in; nothing where none are awaited."""
    if token is None:
        return [
            "  No token (--no-token): whoever reaches this server may use it. Uploads are"
            f" {'on' if given.uploads else 'off'}."
        ]
    names = [*given.allow_hosts] if is_loopback(address) else [*given.allow_hosts, address]
    hosts = [net_util.get_internal_ip() or "localhost" if name in _EVERYWHERE else name for name in names]
    shown = f"<{TOKEN}>" if _own_token() else token
    links = [f"    {server_util.get_url(f'[{host}]' if ':' in host else host)}/?token={shown}" for host in hosts]
    return (
        ["  Others open this link (behind a proxy: its own address and then /?token=...):", *links, ""] if links else []
    )
