"""HTTP routes of a mixture layer by layer: its units, measured profiles, contributions and named presets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fusionlib.contracts import MergeMethod
from fusionlib.errors import UsageError
from fusionlib.merging.build import build_method
from fusionlib.merging.profile import LayerProfile
from fusionlib.studio import MergeView, profile_of
from pages.widgets.server import studio

PROFILE_BYTES = 1 << 17
"""Weights of four decimals of eight checkpoints for each of two thousand tensors."""

MORE = 24
"""Profiles that may be asked for beside the one on screen: the points of its own curve."""

Answer = Callable[[Request, MergeView, bytes], Response]
_FRESH = {"Cache-Control": "no-store"}


def layer_routes(prefix: str, guarded: Callable[..., Any]) -> list[Route]:
    """The routes below a view's own prefix; `guarded` finds the view and words the errors."""
    return [
        Route(f"{prefix}/layers", guarded(_units)),
        Route(f"{prefix}/profile", guarded(_profile, 8 * PROFILE_BYTES), methods=["POST", "DELETE"]),
        Route(f"{prefix}/contribution", guarded(_contribution, PROFILE_BYTES), methods=["GET", "POST", "DELETE"]),
        Route(f"{prefix}/presets", guarded(_presets, PROFILE_BYTES), methods=["GET", "POST", "DELETE"]),
    ]


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `UsageError` for anything else."""
    try:
        wish = json.loads(body)
    except (ValueError, RecursionError):
        wish = None
    if not isinstance(wish, dict):
        raise UsageError("A request that is no JSON object", '{"level": "block", "weights": [...]}', "Reload the page")
    return wish


def profile_in(view: MergeView, wish: dict[str, Any]) -> LayerProfile:
    """The profile that a request names."""
    return profile_of(
        view.arena.layout, wish.get("level", ""), wish.get("weights"), wish.get("anchor", 0), len(view.arena)
    )


def mixture_in(view: MergeView, wish: dict[str, Any]) -> MergeMethod:
    """What a request names: a method with its parameters, or a profile."""
    if "method" not in wish:
        return profile_in(view, wish)
    name, parameters = wish["method"], wish.get("parameters", {})
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise UsageError(
            "A method that is no name with parameters", '{"method": "slerp", "parameters": {}}', "Reload the page"
        )
    method = build_method(name, parameters)
    method.shares(len(view.arena))
    return method


def _units(_: Request, view: MergeView, __: bytes) -> Response:
    return JSONResponse(view.units, headers={"Cache-Control": "private, max-age=3600"})


def _profile(request: Request, view: MergeView, body: bytes) -> Response:
    job = studio().layers.profiles(view)
    if request.method == "DELETE":
        job.cancel()
        return JSONResponse({**job.status(), "figures": None, "more": []}, headers=_FRESH)
    wish = parsed(body)
    profile, more = profile_in(view, wish), wish.get("more", [])
    if not isinstance(more, list) or len(more) > MORE:
        raise UsageError(
            "Further profiles that are no short list", f"at most {MORE}, as rows of weights", "Reload the page"
        )
    others = [profile_in(view, {**wish, "weights": weights}) for weights in more]
    if wish.get("measure") is True:
        job.want([profile, *others])
    return JSONResponse(
        {**job.status(), "figures": job.figures(profile), "more": [job.figures(one) for one in others]}, headers=_FRESH
    )


def _contribution(request: Request, view: MergeView, body: bytes) -> Response:
    job = studio().layers.contribution(view)
    if request.method == "DELETE":
        job.cancel()
    elif request.method == "POST":
        job.measure(profile_in(view, parsed(body)))
    return JSONResponse(job.snapshot(_figure(request, view)), headers=_FRESH)


def _figure(request: Request, view: MergeView) -> str:
    of = request.query_params.get("of", "miou")
    if of != "miou" and not (
        view.pictures is not None and of.isascii() and of.isdigit() and int(of[:6]) < view.space.count
    ):
        raise UsageError(f"Figure {of[:40]!r}", "miou, or the number of a class", "Reload the page")
    return of


def _presets(request: Request, view: MergeView, body: bytes) -> Response:
    shelf = studio().layers.shelf
    if request.method == "POST":
        wish = parsed(body)
        shelf.save(wish.get("name"), profile_in(view, wish))
    elif request.method == "DELETE":
        shelf.delete(parsed(body).get("name"))
    return JSONResponse({"presets": shelf.fitting(view.arena.layout, len(view.arena))}, headers=_FRESH)
