"""What is put into the head of a page, and into nothing else."""

from __future__ import annotations

import gzip

import pytest
from helpers import Answer, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pages.widgets.browser_files import ASSETS, VERSION
from pages.widgets.first_paint import FirstPaint

PAGE = b"<html><head><title>x</title></head><body></head></body></html>"
ACCEPT = {"Accept": "text/html,*/*", "Accept-Encoding": "gzip", "If-None-Match": "old", "Range": "bytes=0-3"}


async def html(asked: Request) -> Response:
    """A page, that says by its status whether it was asked for as a whole."""
    whole = not {"accept-encoding", "if-none-match", "range"} & set(asked.headers)
    return Response(PAGE, 200 if whole else 206, {"ETag": "old"}, "text/html")


async def packed(_: Request) -> Response:
    """One that is compressed whatever was asked for."""
    return Response(gzip.compress(PAGE), headers={"Content-Encoding": "gzip"}, media_type="text/html")


def ask(path: str, base: str = "", method: str = "GET") -> Answer:
    routes = [Route(f"{base}/packed", packed), Route("/{path:path}", html, methods=["GET", "POST"])]
    return request(FirstPaint(Starlette(routes=routes), base), method, path, headers=ACCEPT)


@pytest.mark.parametrize(
    ("path", "base"), [("/", ""), ("/errors", ""), ("/cut/", "/cut"), ("/cut", "/cut"), ("/cut/errors", "/cut")]
)
def test_a_page_gets_style_and_modules_once(path: str, base: str) -> None:
    answer = ask(path, base)
    assert answer.status == 200 and int(answer.headers["content-length"]) == len(answer.body) > len(PAGE)
    style = (ASSETS / "style.css").read_bytes()
    assert answer.body.count(style) == 1 and answer.body.index(style) < answer.body.index(b"</head>")
    assert f'href="./browser/{VERSION}/viewer/main.js"'.encode() in answer.body and "etag" not in answer.headers


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/media/0123.html", ""),
        ("/report.html", ""),
        ("/_stcore/health", ""),
        ("/static/index", ""),
        ("/errors", "/cut"),
    ],
)
def test_a_file_that_somebody_downloads_is_left_as_it_is(path: str, base: str) -> None:
    answer = ask(path, base)
    assert answer.body == PAGE and answer.status == 206 and answer.headers["etag"] == "old"


def test_what_is_compressed_or_sent_is_too() -> None:
    assert gzip.decompress(ask("/packed").body) == PAGE
    assert ask("/errors", method="POST").body == PAGE
