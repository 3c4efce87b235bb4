"""Several networks that answer as one, by the mean of their probabilities: all subsets, and the first of a list."""

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
        yield places[members], _answer(total / len(members), first)


def first_together(observations: Sequence[Observation]) -> Iterator[Observation]:
    """What the first network sees, the first two together, and so on to all of them: sums in the order of the networks,
    one addition each.

    Raises `UsageError` for networks of different classes.
    """
    first = observations[0]
    if len({one.logits.shape[1] for one in observations}) > 1:
        raise UsageError("Networks of different classes together", "networks of the same classes", "Name others")
    yield first
    total = first.logits.softmax(1)
    for size, one in enumerate(observations[1:], 2):
        total = total + one.logits.softmax(1)
        yield _answer(total / size, first)


def _answer(mean: torch.Tensor, like: Observation) -> Observation:
    """Mean probabilities (N, C, H, W) as the logits of one network; a probability of 0 stays a number."""
    logits = mean.clamp_(min=torch.finfo(mean.dtype).tiny).log_()
    return Observation(logits, like.truth, like.mapping, like.classes)


def _sums(parts: Sequence[torch.Tensor]) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
    """Every subset with the sum of its parts, each out of that of one part less."""

    def grow(members: tuple[int, ...], total: torch.Tensor) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        yield members, total
        for number in range(members[-1] + 1, len(parts)):
            yield from grow((*members, number), total + parts[number])

    for number, part in enumerate(parts):
        yield from grow((number,), part)
