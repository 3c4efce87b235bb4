"""Which pictures belong together, by their names: neighbouring frames of a video err together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise, takewhile
from string import digits

_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>[0-9]+)[^0-9]*\Z", re.DOTALL)


def frame_groups(names: Sequence[str]) -> tuple[str, ...]:
    """The group of each picture: the part of its name before the last run of digits where the numbers of that part are
    consecutive frames, else its own name.

    Consecutive frames follow one another at one step: it makes up half or more of the steps between neighbouring
    numbers, and it is 1 or occurs more than once (so frames may be missing, and every 30th may have been kept). What
    all names end in (`_leftImg8bit`) is not looked at.
    """
    ending = len(_shared_ending(names))
    found = [_NUMBERED.match(name[: len(name) - ending]) for name in names]
    numbers: dict[str, set[int]] = defaultdict(set)
    for match in found:
        if match:
            numbers[match["before"]].add(int(match["number"]))
    sequences = {before for before, of in numbers.items() if _consecutive(sorted(of))}
    return tuple(
        match["before"] if match and match["before"] in sequences else name
        for name, match in zip(names, found, strict=True)
    )


def _shared_ending(names: Sequence[str]) -> str:
    """What all names end in, from its first character on that is no digit: a number is not cut in two."""
    backwards = takewhile(lambda column: len(set(column)) == 1, zip(*(name[::-1] for name in names), strict=False))
    return "".join(column[0] for column in backwards)[::-1].lstrip(digits)


def _consecutive(numbers: Sequence[int]) -> bool:
    steps = [after - before for before, after in pairwise(numbers)]
    if not steps:
        return False
    step, times = Counter(steps).most_common(1)[0]
    return 2 * times >= len(steps) and (step == 1 or times > 1)
