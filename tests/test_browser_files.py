"""The addresses of the browser's modules: what is served, what is not, and that a stub names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import Answer, request
from starlette.applications import Starlette

from pages.widgets import browser_files
from pages.widgets.browser_files import ASSETS, FILES, VERSION, browser_route, stub, version_of


def ask(path: str) -> Answer:
    app = Starlette(routes=[browser_route("/cut")])
    return request(app, "GET", f"/cut/browser/{path}")


def test_every_module_is_served_for_good_under_the_name_of_their_content() -> None:
    assert {"viewer/main.js", "layers/main.js"} <= set(FILES)
    for name, content in FILES.items():
        answer = ask(f"{VERSION}/{name}")
        assert answer.status == 200 and answer.body == content
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "0123456789ab/viewer/main.js",
        f"{VERSION}/viewer/viewer.css",
        f"{VERSION}/viewer/none.js",
        f"{VERSION}/../eslint.config.js",
        f"{VERSION}/%2e%2e/eslint.config.js",
        f"{VERSION}//etc/passwd",
        f"{VERSION}/",
    ],
)
def test_nothing_else_is(path: str) -> None:
    answer = ask(path)
    assert answer.status == 404 and "immutable" not in answer.headers.get("cache-control", "")


def test_another_byte_or_name_is_another_version() -> None:
    versions = [{}, {"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b""}, {"a 1 1": b""}]
    assert len({version_of(one) for one in versions}) == len(versions)


def test_a_stub_imports_its_entry_and_names_files_that_exist() -> None:
    text = stub("layers/main.js")
    assert f"browser/{VERSION}/" in text and 'import(new URL("layers/main.js", root))' in text
    assert set(re.findall(r'"((?:viewer|layers)/[\w-]+\.js)"', text)) == {
        name for name in FILES if name.startswith(("viewer/", "layers/"))
    }
    assert not any(name.startswith("layers/") for name in re.findall(r'"(\w+/[\w-]+\.js)"', stub("viewer/main.js")))
    with pytest.raises(KeyError):
        stub("viewer/none.js")


def test_modules_import_what_exists_and_write_no_markup() -> None:
    for name, content in FILES.items():
        text = content.decode()
        assert text.startswith("// @ts-check\n") and "innerHTML" not in text
        for wanted in re.findall(r'from "(\.{1,2}/[^"]+)"', text):
            assert (ASSETS / name).parent.joinpath(wanted).resolve().is_relative_to(ASSETS)
            assert (Path(ASSETS / name).parent / wanted).exists(), f"{name} imports {wanted}"


def test_what_lies_beside_the_modules_is_none_of_theirs() -> None:
    assert not any("test" in name or "config" in name for name in browser_files.FILES)
