"""Waiting for what a page comes to show: in a browser nothing is read once, as a frame may be on its way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SECONDS = 30


def expect(locator: Any) -> Any:
    """Playwright's assertions about a place of a page; each waits until it holds, or fails after `SECONDS`."""
    from playwright.sync_api import expect as assertions

    assertions.set_options(timeout=1000 * SECONDS)
    return assertions(locator)


def still(tab: Any, read: Callable[[], Any], milliseconds: int = 300, seconds: float = SECONDS) -> Any:
    """What `read` gives once it has given the same, and something, that long."""
    found = read()

    def stays() -> bool:
        nonlocal found
        tab.wait_for_timeout(milliseconds)
        before, found = found, read()
        return bool(found) and found == before

    comes_to(tab, stays, seconds=seconds)
    return found


def comes_to(tab: Any, read: Callable[[], Any], wanted: Any = True, seconds: float = SECONDS) -> Any:
    """Ask `read` until it gives `wanted`, or what `wanted` says yes to; what it gave at last."""
    agrees = wanted if callable(wanted) else lambda found: found == wanted
    deadline = time.monotonic() + seconds
    while not agrees(found := read()) and time.monotonic() < deadline:
        tab.wait_for_timeout(50)
    assert agrees(found), f"it stays {found!r}"
    return found
