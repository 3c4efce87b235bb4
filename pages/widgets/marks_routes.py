"""HTTP route of marked regions: those of a picture; one more, another note, one taken away or brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fusionlib.errors import UsageError
from fusionlib.runs.marks import Marks, Place
from fusionlib.studio import MergeView
from pages.widgets.layers_routes import parsed
from pages.widgets.server import studio

MARK_BYTES = 12 << 10
"""A note of 500 characters, each of them escaped, and a link of 4,000."""

_SHOWN = ("id", "shape", "note", "view")


def mark_routes(prefix: str, guarded: Callable[..., Any]) -> list[Route]:
    """The route below a view's own prefix; `guarded` finds the view and words the errors."""
    methods = ["GET", "POST", "DELETE"]
    return [Route(f"{prefix}/marks/{{index:place}}", guarded(_marks, MARK_BYTES), methods=methods)]


def _marks(request: Request, view: MergeView, body: bytes) -> Response:
    """The picture's marks, after what was asked for; `changed` is the one that it was asked of.

    POST takes `{"shape", "box", "note", "view"}` for a new one, `{"id", "note"}` for another note and
    `{"id", "restore": true}`; DELETE `{"id"}`.
    """
    place, marks = _place(view, request.path_params["index"]), studio().looked.marks
    changed = None
    if request.method == "DELETE":
        changed = marks.remove(parsed(body).get("id"), place.picture)
    elif request.method == "POST":
        changed = _changed(marks, place, parsed(body))
    listed = [
        {**{name: getattr(one, name) for name in _SHOWN}, "box": [one.x, one.y, one.width, one.height]}
        for one in marks.of_pictures([place.picture])
    ]
    found = {"marks": listed, "changed": changed.id if changed else None}
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


def _changed(marks: Marks, place: Place, wish: dict[str, Any]) -> Any:
    if "id" not in wish:
        return marks.add(place, wish.get("shape"), wish.get("box"), wish.get("note"), wish.get("view") or "")
    if wish.get("restore") is True:
        return marks.restore(wish["id"], place.picture)
    return marks.edit(wish["id"], place.picture, wish.get("note"))


def _place(view: MergeView, index: int) -> Place:
    pictures = view.need_pictures()
    if index >= len(pictures):
        raise UsageError(f"Picture {index}", f"0 to {len(pictures) - 1}", "Choose another picture")
    return Place(pictures.fingerprint(), pictures.spec, pictures.picture_key(index), pictures.name(index))
