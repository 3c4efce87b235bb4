"""The short seeded part of tests/fuzz: hostile input ends with a word, whatever it is."""

from __future__ import annotations

from tests.fuzz.run import fuzz


def test_hostile_input_ends_with_status_2_and_one_line() -> None:
    wrong: list[str] = []
    seen = fuzz(105, 7, lambda number, case, problem: wrong.append(f"case {number} {case}: {problem}"))
    assert not wrong, "\n".join(wrong)
    assert sum(seen.values()) == 105 and len(seen) >= 8, "all kinds in turn"
