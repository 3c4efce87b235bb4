"""What a search may find: a network made of K checkpoints, by what each of them weighs in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Row = tuple[float, ...]
"""What each of the K checkpoints weighs; sums to 1."""

SCORES: Mapping[str, tuple[str, int]] = {
    "miou": ("mIoU", 1),
    "pixel_accuracy": ("pixel accuracy", 1),
    "loss": ("cross-entropy", -1),
    "ece": ("ECE", -1),
    "harmonic": ("harmonic mean of mIoU", 1),
}
"""Figures that a search can choose by: what they are called, and which way is better."""

HARMONIC = "harmonic"
"""The one that is over several domains."""


@dataclass(frozen=True)
class Candidate:
    """A network out of K checkpoints, which `weights` (K,) name in their order.

    `units` are pairs of a unit's name and its own row (K,), with `granularity` saying what a unit is; what they do not
    name gets `weights`. `together`: the networks are not merged, they answer together. `anew`: running statistics are
    measured on all pictures that there are for that, whatever the search does with those of others.
    """

    weights: Row
    units: tuple[tuple[str, Row], ...] = ()
    granularity: str = ""
    together: bool = False
    anew: bool = False

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of the checkpoints that take part."""
        rows = (self.weights, *(row for _, row in self.units))
        return tuple(number for number in range(len(self.weights)) if any(row[number] for row in rows))

    @property
    def alone(self) -> bool:
        """Whether it is one of the checkpoints as it is."""
        return len(self.members) == 1 and not self.anew


def single(number: int, count: int) -> Candidate:
    """Checkpoint `number` of `count` as it is."""
    return Candidate(tuple(float(place == number) for place in range(count)))


def singles(count: int) -> tuple[Candidate, ...]:
    """Each checkpoint as it is."""
    return tuple(single(number, count) for number in range(count))


def equal(members: Sequence[int], count: int, *, together: bool = False) -> Candidate:
    """Equal weights for some of `count` checkpoints."""
    row = [0.0] * count
    for number in members:
        row[number] = 1 / len(members)
    return Candidate(tuple(row), together=together and len(members) > 1)


def between(alpha: float, one: int, other: int, count: int) -> Candidate:
    """`alpha` of one checkpoint and the rest of another."""
    row = [0.0] * count
    row[one], row[other] = alpha, 1 - alpha
    return Candidate(tuple(row))


class Outcome(NamedTuple):
    """What a search found: the `best` candidate, others to be `reported` beside it, and more as JSON values.

    `rival` is the simpler network that the best has to beat to have earned what it is, chosen on the same pictures.
    """

    best: Candidate
    reported: tuple[Candidate, ...] = ()
    about: Mapping[str, Any] = {}
    rival: Candidate | None = None


@dataclass(frozen=True)
class Learning:
    """A wish: weights on the simplex that lower the loss, found by gradients. One row, or with `by_tensor` one for
    every tensor of parameters.
    """

    by_tensor: bool
    rate: float = 0.05
    epochs: int = 5
    batch: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """What was learned: a candidate, the `beta` that logits were multiplied with, the mean `losses` of the epochs, and
    the forward passes that it took.
    """

    candidate: Candidate
    beta: float
    losses: tuple[float, ...] = ()
    passes: int = field(default=0, compare=False)
