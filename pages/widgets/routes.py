"""HTTP routes of the live viewer. Each path begins with the session's key; none takes a file name."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fusionlib.engine.turns import Superseded
from fusionlib.errors import FusionError, UsageError
from fusionlib.studio import MergeView, Mixture
from fusionlib.studio.frame_wish import FrameWish
from fusionlib.studio.inside import Inside
from pages.widgets.animation_route import animation_route
from pages.widgets.browser_files import browser_route
from pages.widgets.errors_routes import error_routes
from pages.widgets.layers_routes import PROFILE_BYTES, layer_routes, mixture_in, parsed
from pages.widgets.marks_routes import mark_routes
from pages.widgets.server import base_path, studio

log = logging.getLogger(__name__)
BODY_LIMIT = 1024

LARGE_BODY = 8 << 20
"""Bytes: requests that may bring more take turns, two at a time."""

_LARGE = asyncio.Semaphore(2)


class _Place(IntegerConvertor):
    """The number of a picture. Of what is longer than any such number only that is known: no picture has it."""

    def convert(self, value: str) -> int:
        return int(value) if len(value) < 16 else 10**16


register_url_convertor("place", _Place())


def live_routes() -> list[Route]:
    """The routes to mount beside Streamlit's own."""
    prefix = f"{base_path()}/live/{{key}}/{{view}}"
    return [
        browser_route(base_path()),
        Route(f"{prefix}/frame/{{index:place}}", _guarded(_frame, PROFILE_BYTES), methods=["GET", "POST"]),
        Route(f"{prefix}/picture/{{index:place}}", _guarded(_picture)),
        Route(f"{prefix}/truth/{{index:place}}", _guarded(_truth)),
        Route(f"{prefix}/sweep", _guarded(_sweep), methods=["GET", "POST", "DELETE"]),
        Route(f"{prefix}/verdict", _guarded(_verdict)),
        Route(f"{prefix}/runs/{{id}}", _guarded(_run), methods=["GET", "DELETE"]),
        *layer_routes(prefix, _guarded),
        *error_routes(prefix, _guarded, _mixture),
        animation_route(prefix, _guarded),
        *mark_routes(prefix, _guarded),
    ]


Answer = Callable[[Request, MergeView, bytes], Response | Awaitable[Response]]


def _guarded(answer: Answer, limit: int = BODY_LIMIT) -> Callable[[Request], Any]:
    """Find the view that the path names and turn every failure into an answer that says what to do; bodies up to
    `limit` bytes.
    """

    async def endpoint(request: Request) -> Response:
        try:
            view = studio().live.find(request.path_params["key"], request.path_params["view"])
            async with _LARGE if limit > LARGE_BODY else nullcontext():
                body = await _body(request, limit)
                waiting = (
                    answer(request, view, body)
                    if inspect.iscoroutinefunction(answer)
                    else run_in_threadpool(answer, request, view, body)
                )
                return await waiting  # type: ignore[misc]
        except Superseded:
            return Response(status_code=409)
        except FusionError as error:
            return JSONResponse({"got": error.got, "needs": error.needs, "do": error.do}, status_code=400)
        except ClientDisconnect:
            raise  # nobody is there to be answered
        except Exception:
            log.exception("live route failed: %s", request.url.path.rsplit("/", 2)[-2:])  # without the session's key
            return JSONResponse(
                {"got": "The server could not answer", "needs": "nothing of you", "do": "See the server's log"},
                status_code=500,
            )

    return endpoint


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise UsageError("The request is too large", f"at most {limit} bytes", "Reload the page")
    return bytes(body)


def _number(text: object, name: str) -> float:
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} is {str(text)[:40]!r}", "a number", "Reload the page") from None


def _whole(text: str, name: str) -> int:
    number = _number(text, name)
    if not abs(number) < 2**53:
        raise UsageError(f"{name} is {number}", "a whole number", "Reload the page")
    return int(number)


async def _frame(request: Request, view: MergeView, body: bytes) -> Response:
    """Waits without a thread, so that no number of pending frames keeps other requests from being answered."""
    query = request.query_params
    if request.method == "POST":
        mixture = await run_in_threadpool(_mixture, request, view, body)
    else:
        mixture = _mixture(request, view, body)
    frame = await asyncio.wrap_future(
        view.ask(
            FrameWish(
                request.path_params["index"],
                mixture,
                query.get("pane", "m"),
                query.get("doubt") == "1",
                Inside.read(query["learners"], query.get("fusion", "")) if "learners" in query else None,
            ),
            request.path_params["key"],
            _whole(query.get("gen", "0"), "gen"),
        )
    )
    return Response(
        frame.png, media_type="image/png", headers={"X-Fusion": json.dumps(frame.about), "Cache-Control": "no-store"}
    )


def _mixture(request: Request, view: MergeView, body: bytes) -> Mixture:
    """What a request says is merged: a method or profile in its body, else an alpha."""
    if request.method == "POST":
        return mixture_in(view, parsed(body))
    return _number(request.query_params.get("alpha", "0.5"), "alpha")


def _picture(request: Request, view: MergeView, _: bytes) -> Response:
    picture = view.picture(request.path_params["index"])
    kind = "image/png" if picture[:4] == b"\x89PNG" else "image/jpeg"
    return Response(picture, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _truth(request: Request, view: MergeView, _: bytes) -> Response:
    truth = view.truth(request.path_params["index"])
    if truth is None:
        return Response(status_code=404)
    return Response(truth, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def _sweep(request: Request, view: MergeView, body: bytes) -> Response:
    sweep = studio().sweep(view)
    if request.method == "DELETE":
        sweep.cancel()
    elif request.method == "POST":
        studio().first_looks.make_way(view)
        _start(sweep, body)
    return JSONResponse(sweep.snapshot(), headers={"Cache-Control": "no-store"})


def _verdict(_: Request, view: MergeView, __: bytes) -> Response:
    return JSONResponse(studio().outlook(view), headers={"Cache-Control": "no-store"})


def _run(request: Request, _: MergeView, __: bytes) -> Response:
    """A run of this server's home folder, whichever process owns it; DELETE asks it to stop."""
    runs, wanted = studio().runs, request.path_params["id"]
    if request.method == "DELETE":
        runs.cancel(wanted)
    found = runs.find(wanted)
    if found is None:
        raise UsageError(f"Run {wanted[:40]!r}", "the id of a run", "See the drawer of runs")
    shown = {name: found[name] for name in ("id", "kind", "state", "done", "total", "seconds_left", "owner")}
    return JSONResponse(shown, headers={"Cache-Control": "no-store"})


def _start(sweep: Any, body: bytes) -> None:
    try:
        wish = json.loads(body)
    except (ValueError, RecursionError):
        wish = None
    if not isinstance(wish, dict) or not {"step", "alpha"} & set(wish):
        raise UsageError("A request without step or alpha", '{"step": 0.05} or {"alpha": 0.37}', "Reload the page")
    if "alpha" in wish:
        sweep.want_point(_number(wish["alpha"], "alpha"))
    else:
        step = _number(wish["step"], "step")
        if not 0.01 <= step <= 1:
            raise UsageError(f"Step {step}", "a number from 0.01 to 1", "Choose a coarser step")
        sweep.want(step)
