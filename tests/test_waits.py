"""What waits in the tests of a browser: it gives what came, says what stayed, and nothing is read once beside it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import browses
from tests.waits import comes_to

TAB = SimpleNamespace(wait_for_timeout=lambda milliseconds: time.sleep(milliseconds / 1000))
ONCE = re.compile(
    r"^\s+assert [^\n]*\.(inner_text|text_content|get_attribute|input_value|is_\w+|bounding_box|evaluate|count)\(", re.M
)
"""An assertion about what a page shows at the moment at which it is read."""


def test_what_comes_late_is_waited_for_and_what_stays_is_said() -> None:
    values = iter([1, 2, 3])
    assert comes_to(TAB, lambda: next(values), 3) == 3
    assert comes_to(TAB, lambda: 5, lambda found: found > 4) == 5
    with pytest.raises(AssertionError, match="it stays 'old'"):
        comes_to(TAB, lambda: "old", "new", seconds=0.1)


@pytest.mark.parametrize(
    "file", sorted(filter(browses, Path(__file__).parent.glob("test_*.py"))), ids=lambda one: one.stem
)
def test_no_assertion_reads_a_page_once(file: Path) -> None:
    assert [found[0].strip() for found in ONCE.finditer(file.read_text(encoding="utf-8"))] == []
