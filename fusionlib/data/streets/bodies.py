"""Outlines of cars, vans, trucks, buses and trams; lengths in metres."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16


@dataclass(frozen=True)
class Body:
    """Outline of a vehicle: profile points (z, y, half-width), rear bottom over the roof to front bottom.

    `glazed` lists profile strips that are glass; `side_glass` holds polygons (z, y) on the flanks.
    """

    label: int
    length: float
    profile: np.ndarray
    glazed: tuple[int, ...]
    side_glass: tuple[np.ndarray, ...]
    wheels: tuple[tuple[float, float], ...]  # z, radius
    cargo: float | None = None  # z behind which the flank is the cargo box


def _rows(length: float, low: float, high: float, start: float, stop: float, count: int) -> tuple[np.ndarray, ...]:
    edges = np.linspace(start, stop, count + 1) * length
    gap = 0.06
    return tuple(
        np.array([(a + gap, low), (a + gap, high), (b - gap, high), (b - gap, low)]) for a, b in pairwise(edges)
    )


def car_body(rng: np.random.Generator) -> Body:
    """Saloon, hatchback, estate or off-roader."""
    length, half = rng.uniform(3.8, 4.8), rng.uniform(0.84, 0.95)
    roof = rng.uniform(1.38, 1.78)
    deck = rng.choice([-0.33, -0.44, -0.47])
    top = deck + rng.uniform(0.06, 0.14)
    belt = 0.62 * roof
    rows = [
        (-0.5, 0.28, half),
        (-0.5, 0.52 * roof, half),
        (deck, belt, half * 0.97),
        (top, roof * 0.985, half * 0.78),
        (0.06, roof, half * 0.78),
        (0.24, belt, half * 0.96),
        (0.46, 0.5 * roof, half * 0.95),
        (0.5, 0.26, half * 0.95),
    ]
    profile = np.array(rows) * (length, 1, 1)
    split = 0.5 * (top + 0.06) * length
    left, right = (deck + 0.05) * length, 0.2 * length
    glass = (
        np.array(
            [
                (left, belt + 0.03),
                (top * length + 0.05, roof - 0.1),
                (split - 0.05, roof - 0.09),
                (split - 0.05, belt + 0.03),
            ]
        ),
        np.array(
            [
                (split + 0.05, belt + 0.03),
                (split + 0.05, roof - 0.09),
                (0.05 * length, roof - 0.09),
                (right, belt + 0.03),
            ]
        ),
    )
    return Body(CAR, length, profile, (2, 4), glass, ((-0.31 * length, 0.31), (0.31 * length, 0.31)))


def van_body(rng: np.random.Generator) -> Body:
    """Delivery van: counts as a car, and looks like a small truck or bus."""
    length, half, roof = rng.uniform(4.6, 5.8), 0.98, rng.uniform(1.9, 2.5)
    rows = [
        (-0.5, 0.32, half),
        (-0.5, roof, half * 0.93),
        (0.2, roof, half * 0.93),
        (0.36, 0.56 * roof, half * 0.97),
        (0.48, 0.46 * roof, half),
        (0.5, 0.3, half),
    ]
    glass = _rows(length, 0.58 * roof, 0.86 * roof, 0.04, 0.24, 1)
    if rng.random() < 0.5:
        glass += _rows(length, 0.58 * roof, 0.86 * roof, -0.44, 0.02, 2)
    return Body(
        CAR, length, np.array(rows) * (length, 1, 1), (2,), glass, ((-0.3 * length, 0.34), (0.33 * length, 0.34))
    )


def truck_body(rng: np.random.Generator) -> Body:
    """Lorry: box behind, cab ahead."""
    length, half, roof = rng.uniform(6.5, 10.5), 1.22, rng.uniform(2.8, 3.7)
    cab = rng.uniform(2.3, min(2.9, roof))
    rows = [
        (-0.5, 0.65, half),
        (-0.5, roof, half),
        (0.28, roof, half),
        (0.29, cab, half * 0.95),
        (0.47, cab, half * 0.93),
        (0.5, 1.35, half * 0.95),
        (0.5, 0.4, half * 0.95),
    ]
    glass = _rows(length, 1.45, cab - 0.35, 0.34, 0.45, 1)
    wheels = ((-0.33 * length, 0.47), (-0.2 * length, 0.47), (0.38 * length, 0.47))
    return Body(TRUCK, length, np.array(rows) * (length, 1, 1), (4,), glass, wheels, 0.28 * length)


def bus_body(rng: np.random.Generator) -> Body:
    """City bus or coach."""
    length, half, roof = rng.uniform(9.5, 12.5), 1.25, rng.uniform(2.9, 3.4)
    rows = [
        (-0.5, 0.4, half),
        (-0.5, 1.4, half),
        (-0.495, roof - 0.35, half * 0.98),
        (-0.48, roof, half * 0.93),
        (0.48, roof, half * 0.93),
        (0.495, roof - 0.4, half * 0.98),
        (0.5, 1.1, half),
        (0.5, 0.32, half),
    ]
    glass = _rows(length, 1.25, roof - 0.55, -0.47, 0.47, int(rng.integers(5, 8)))
    return Body(
        BUS, length, np.array(rows) * (length, 1, 1), (1, 5), glass, ((-0.26 * length, 0.48), (0.32 * length, 0.48))
    )


def tram_body(rng: np.random.Generator) -> Body:
    """Tram car, longer and lower skirted than a bus."""
    length, half, roof = rng.uniform(14, 24), 1.2, rng.uniform(3.2, 3.6)
    rows = [
        (-0.5, 0.15, half * 0.8),
        (-0.5, 1.3, half * 0.85),
        (-0.47, roof - 0.3, half * 0.85),
        (-0.45, roof, half * 0.8),
        (0.45, roof, half * 0.8),
        (0.47, roof - 0.3, half * 0.85),
        (0.5, 1.3, half * 0.85),
        (0.5, 0.15, half * 0.8),
    ]
    profile = np.array(rows) * (length, 1, 1)
    profile[2:6, 2] = half
    glass = _rows(length, 1.2, roof - 0.6, -0.43, 0.43, int(rng.integers(7, 11)))
    return Body(TRAIN, length, profile, (1, 5), glass, ())
