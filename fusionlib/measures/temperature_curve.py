"""The lowest point of a curve of losses over temperatures, and what another curve has there. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TEMPERATURES = tuple(2 ** (quarter / 4) for quarter in range(-8, 13))
"""0.25 to 8 in steps of the fourth root of 2, 1 among them: neighbours differ by 19 %, a polynomial gives the rest."""

Curve = Sequence[float]
"""Losses at some temperatures, not finite where one is undefined."""


@dataclass(frozen=True)
class Minimum:
    """Where a curve is lowest: `place` (in steps from the middle one) among the points `nodes`, through whose losses a
    polynomial in log T goes; `at_limit`: at an end of the range, which is the only node.
    """

    temperature: float
    loss: float
    nodes: tuple[int, ...]
    place: float = 0.0

    @property
    def at_limit(self) -> bool:
        """Whether the lowest loss is that of an end of the range."""
        return len(self.nodes) == 1

    def of(self, losses: Curve) -> float | None:
        """What another curve over the same temperatures has there; None where it is undefined nearby."""
        near = [losses[number] for number in self.nodes]
        return float(_through(near)(self.place)) if all(map(math.isfinite, near)) else None


def minimum_of(losses: Curve, temperatures: Sequence[float]) -> Minimum | None:
    """The minimum of the polynomial through the five losses around the lowest (three beside an end), in log T.

    Undefined ones are passed over; None where all are. `temperatures` are evenly spaced in log T.
    """
    there = [number for number, loss in enumerate(losses) if math.isfinite(loss)]
    if not there:
        return None
    best = min(range(len(there)), key=lambda number: losses[there[number]])
    reach = min(2, best, len(there) - 1 - best)
    nodes = tuple(there[best - reach : best + reach + 1])
    middle = there[best]
    if not reach:
        return Minimum(temperatures[middle], float(losses[middle]), nodes)
    curve = _through([losses[number] for number in nodes])
    turns = [float(root.real) for root in curve.deriv().roots() if abs(root.imag) < 1e-9 and abs(root.real) <= 1]
    place = min([0.0, *turns], key=curve)
    step = math.log(temperatures[nodes[1]] / temperatures[nodes[0]])
    return Minimum(temperatures[middle] * math.exp(place * step), float(curve(place)), nodes, place)


def _through(losses: Curve) -> np.polynomial.Polynomial:
    """The polynomial through losses at the places -r, ..., 0, ..., r."""
    reach = len(losses) // 2
    places = np.arange(-reach, reach + 1, dtype=np.float64)
    return np.polynomial.Polynomial.fit(places, losses, 2 * reach, domain=[-max(1, reach), max(1, reach)])
