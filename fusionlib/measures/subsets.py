"""All subsets of some networks, each answering as one: the mean of the probabilities of its members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from fusionlib.errors import UsageError
from fusionlib.measures.observation import Observation

MOST = 8
"""Networks: 247 subsets."""


def subsets(count: int) -> list[tuple[int, ...]]:
    """All subsets of two and more of `count` networks, small ones first."""
    return [members for size in range(2, count + 1) for members in combinations(range(count), size)]


def subsets_below(members: int) -> int:
    """How many subsets `members` networks have. Raises `UsageError` for more than `MOST` of them."""
    if members > MOST:
        raise UsageError(f"All subsets of {members} networks", f"at most {MOST}", "Name fewer networks")
    return len(subsets(members))


def answering_together(observations: Sequence[Observation]) -> Iterator[tuple[int, Observation]]:
    """The number of every subset, in the order of `subsets`, and what it sees: the logarithm of the mean of the
    members' probabilities. Sums run along a tree, one addition a subset, in the order of the networks.
    """
    first = observations[0]
    places = {members: place for place, members in enumerate(subsets(len(observations)))}
    for members, total in _sums([one.logits.softmax(1) for one in observations]):
        if len(members) < 2:
            continue
        mean = (total / len(members)).clamp_(min=torch.finfo(total.dtype).tiny).log_()
        yield places[members], Observation(mean, first.truth, first.mapping, first.classes)


def _sums(parts: Sequence[torch.Tensor]) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
    """Every subset with the sum of its parts, each out of that of one part less."""

    def grow(members: tuple[int, ...], total: torch.Tensor) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        yield members, total
        for number in range(members[-1] + 1, len(parts)):
            yield from grow((*members, number), total + parts[number])

    for number, part in enumerate(parts):
        yield from grow((number,), part)
