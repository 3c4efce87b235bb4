"""The one studio of this process, opened with the arguments of whoever started it."""

from __future__ import annotations

import os
import shlex
import sys
import threading

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Options, Studio, app_options

_lock = threading.Lock()
_studio: Studio | None = None


def arguments() -> list[str]:
    """What stands behind `--` on the command line, or in FUSION_ARGS where the command line is not ours (tests, containers)."""
    given = os.environ.get("FUSION_ARGS")
    return shlex.split(given) if given is not None else sys.argv[1:]


def options() -> Options:
    """The parsed arguments."""
    return app_options(arguments())


def check_arguments() -> None:
    """End with exit status 2 and one line where an argument is wrong, before the server starts."""
    try:
        studio()
    except FusionError as error:
        print(f"streamlit run app.py: {error.one_line}", file=sys.stderr)
        raise SystemExit(2) from error


def base_path() -> str:
    """What every address of this server begins with: nothing, or `server.baseUrlPath` after a slash."""
    folder = st.get_option("server.baseUrlPath").strip("/")
    return f"/{folder}" if folder else ""


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
