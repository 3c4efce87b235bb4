"""Filters and rankings of error analysis over many pictures: `python tests/benchmarks/errors.py [PICTURES]`.

States are synthetic, as large as those of real pictures: about 1,000 kinds of pixels each in 19 classes. Nothing but
arithmetic runs: no network is loaded. The aim is 200 ms for every filter and order over 1,000 pictures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fusionlib.measures.error_stack import EVERYTHING, ErrorStack, Pixels  # noqa: E402
from fusionlib.measures.transitions import STRATA, Joint, pack_joint, unpack_joint  # noqa: E402
from fusionlib.studio.error_table import SORTS, ErrorTable  # noqa: E402

CLASSES, KINDS, AIM_MS = 19, 1000, 200
CITIES = ("aachen", "bern", "cologne", "dresden")


def joint(rng: np.random.Generator) -> Joint:
    """A picture whose networks are mostly right, and else mostly say the same."""
    truth = rng.integers(0, CLASSES, 4 * KINDS)
    length = len(truth)
    reference, merge = (np.where(rng.random(length) < 0.3, truth, rng.integers(0, CLASSES + 1, length)) for _ in "ab")
    keys = ((truth * (CLASSES + 1) + reference) * (CLASSES + 1) + merge) * STRATA + rng.integers(0, STRATA, len(truth))
    unique = np.unique(rng.permutation(keys)[:KINDS]).astype(np.int32)
    return Joint(CLASSES, unique, rng.integers(1, 2000, len(unique)).astype(np.int32))


def table(pictures: int) -> ErrorTable:
    """Synthetic states of so many pictures, from the reference to the merge and from A to B."""
    rng = np.random.default_rng(0)
    joints, pairs = ([joint(rng) for _ in range(pictures)] for _ in "ab")
    names = [f"picture {number}" for number in range(pictures)]
    domains = [CITIES[number % len(CITIES)] for number in range(pictures)]
    classes = [f"class {number}" for number in range(CLASSES)]
    begun = time.perf_counter()
    stacks = (ErrorStack.of(one, CLASSES) for one in (joints, pairs))
    found = ErrorTable(names, domains, classes, *stacks, rng.random(pictures), rng.random(pictures))
    spent = 1000 * (time.perf_counter() - begun)
    print(f"{pictures} pictures, {len(found.stack.counts)} entries; stacked and counted once in {spent:.0f} ms")
    return found


def milliseconds(call: Callable[[], object], rounds: int = 7) -> float:
    spent = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - begun))
    return median(spent)


def cases(found: ErrorTable) -> dict[str, Callable[[], object]]:
    """Every order without a filter, every filter, all of them together, and from a number to pictures."""

    def asked(sort: str = "gain", pixels: Pixels = EVERYTHING, **further: Any) -> Callable[[], object]:
        return lambda: found.rows(sort, pixels, count=24, **further)

    every = Pixels(truths=(3, 4), transitions=("fixed", "broken"), sizes=("small", "medium"), band=True)
    return {
        **{f"sorted by {sort}": asked(sort, number=3) for sort in SORTS},
        "one class": asked(pixels=Pixels(truths=(3,))),
        "a transition": asked(pixels=Pixels(transitions=("broken",))),
        "small objects": asked(pixels=Pixels(sizes=("small",))),
        "band along edges": asked(pixels=Pixels(band=True)),
        "a domain": asked(domains=("bern",)),
        "all filters, headroom": asked("headroom", every, domains=("bern", "cologne")),
        "a confusion cell": lambda: found.holding(Pixels(truths=(3,), merges=(4,))),
        "an edge of the flow": lambda: found.holding(Pixels(references=(3,), merges=(4,))),
    }


def main(pictures: int) -> None:
    found = table(pictures)
    spent = {name: milliseconds(call) for name, call in cases(found).items()}
    for name, value in spent.items():
        print(f"{name:28}{value:8.1f} ms{'' if value < AIM_MS else f'   above the aim of {AIM_MS} ms'}")
    rng = np.random.default_rng(1)
    packed = [pack_joint(joint(rng)) for _ in range(pictures)]
    unpacked = milliseconds(lambda: [unpack_joint(one, CLASSES) for one in packed], 3)
    size = np.mean(list(map(len, packed)))
    print(f"{'unpacking, once':28}{unpacked:8.1f} ms, {size:.0f} bytes a picture")
    print(f"slowest: {max(spent.values()):.1f} ms (aim {AIM_MS})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
