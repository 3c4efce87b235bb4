"""HTTP routes of error analysis: the chosen pixels of a picture, and thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fusionlib.errors import UsageError
from fusionlib.imaging.png import encode_grey
from fusionlib.measures.error_stack import Pixels
from fusionlib.studio import MergeView, Mixture
from pages.widgets.layers_routes import PROFILE_BYTES
from pages.widgets.server import studio

TEXT = 4096
"""Characters of a choice of pixels that are read; three lists of all 256 ids take fewer."""

Asked = Callable[[Request, MergeView, bytes], Mixture]


def error_routes(prefix: str, guarded: Callable[..., Any], mixture_of: Asked) -> list[Route]:
    """The routes below a view's own prefix; `guarded` finds the view and words the errors, `mixture_of` reads what is
    merged.
    """

    def pixels(request: Request, view: MergeView, body: bytes) -> Response:
        return _pixels(request, view, mixture_of(request, view, body))

    place = "{index:place}"
    return [
        Route(f"{prefix}/pixels/{place}", guarded(pixels, PROFILE_BYTES), methods=["GET", "POST"]),
        Route(f"{prefix}/thumbnail/{place}", guarded(_thumbnail)),
    ]


def _pixels(request: Request, view: MergeView, mixture: Mixture) -> Response:
    """A grey PNG, 255 at the pixels of the picture that `pixels` names; 204 of a merge that is not looked into."""
    query = request.query_params
    text = query.get("pixels", "")
    if len(text) > TEXT:
        raise UsageError(f"A choice of pixels of {len(text)} characters", f"at most {TEXT}", "Correct the link")
    chosen = Pixels.from_text(text)
    analysis = studio().errors.of_view(view, mixture, query.get("against", "better"))
    if not analysis.ready:
        return Response(status_code=204)
    mask = analysis.mask_of(request.path_params["index"], chosen)
    png = encode_grey(np.where(mask, np.uint8(255), np.uint8(0)))
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


def _thumbnail(request: Request, view: MergeView, _: bytes) -> Response:
    pictures, index = view.need_pictures(), request.path_params["index"]
    if index >= len(pictures):
        raise UsageError(f"Picture {index}", f"0 to {len(pictures) - 1}", "Choose another picture")
    found = studio().errors.thumbnails.of(pictures, index)
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
