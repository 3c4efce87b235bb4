"""The last line of a verb: what ran and what was known cannot be taken for one another."""

from __future__ import annotations

import pytest

from fusionlib.question import Tally


@pytest.mark.parametrize(
    ("run", "known", "line"),
    [
        (0, 0, "No forward passes run; 1.2 s"),
        (1, 0, "1 forward pass run; 1.2 s"),
        (303, 0, "303 forward passes run; 1.2 s"),
        (0, 303, "No forward passes run, 303 spared, known from before; 1.2 s"),
        (303, 303, "303 forward passes run, another 303 spared, known from before; 1.2 s"),
    ],
)
def test_the_line_says_what_ran_and_what_was_spared(run: int, known: int, line: str) -> None:
    assert Tally(run, known, 1.23).line == line
