"""The HTTP route that puts pictures of a drag together; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fusionlib.imaging.animation import MOST_BYTES, animated, unpacked
from fusionlib.studio import MergeView


def animation_route(prefix: str, guarded: Callable[..., Any]) -> Route:
    """The route below a view's own prefix; `guarded` finds the view and words the errors."""
    return Route(f"{prefix}/animation", guarded(_animation, MOST_BYTES), methods=["POST"])


def _animation(_: Request, __: MergeView, body: bytes) -> Response:
    return Response(animated(unpacked(body)), media_type="image/webp", headers={"Cache-Control": "no-store"})
