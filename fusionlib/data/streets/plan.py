"""Street plans: cross-section, colours and light before any object is placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ground import Ground
from .paint import Colour

STYLES = ("city", "avenue", "suburb", "open")
CAR_COLOURS = np.array(
    [
        (28, 30, 34),
        (60, 62, 66),
        (102, 106, 110),
        (152, 156, 160),
        (210, 212, 212),
        (120, 24, 28),
        (34, 52, 96),
        (86, 100, 116),
        (40, 62, 50),
        (150, 134, 104),
        (190, 150, 40),
        (100, 104, 104),
    ],
    float,
)


@dataclass
class Plan:
    """Positions across the street in metres; index 0 = left, 1 = right where a pair is given."""

    style: str
    lanes: list[tuple[float, bool]]  # lane centre x, True = same direction as the camera
    edge: tuple[float, float]  # kerbs
    bay: tuple[float, float]  # parking lane centre, 0 if none
    walk: tuple[tuple[float, float], tuple[float, float]]  # pavement from, to
    front: tuple[float, float]  # building line
    crossing: float | None
    tram: float | None
    ground: Ground


def grey(rng: np.random.Generator, low: float, high: float, spread: float = 5) -> Colour:
    """A slightly tinted grey."""
    return tuple(np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 5, 250))


def _colours(rng: np.random.Generator) -> dict[str, Colour]:
    road = grey(rng, 62, 122, 4)
    walk = np.array([(140, 138, 132), (150, 128, 116), (158, 150, 136), (112, 112, 112)][rng.integers(4)], float)
    walk = np.clip(walk * rng.uniform(0.75, 1.15), 0, 225)
    grass = np.array([(92, 106, 52), (116, 112, 62), (74, 96, 48), (124, 106, 76)][rng.integers(4)]) * rng.uniform(
        0.75, 1.2
    )
    return {
        "road": road,
        "bay": tuple(np.array(road) * rng.uniform(0.85, 1.2)),
        "kerb": tuple(walk * rng.uniform(0.8, 1.2)),
        "walk": tuple(walk),
        "grass": tuple(grass),
        "yard": tuple(walk * 0.9),
        "mark": grey(rng, 170, 222),
        "rail": grey(rng, 120, 150),
        "track": tuple(np.array(road) * 1.1),
    }


def make_plan(rng: np.random.Generator) -> Plan:
    """Draw the cross-section of a street and the ground that goes with it."""
    style = str(rng.choice(STYLES, p=(0.42, 0.25, 0.2, 0.13)))
    own, other = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    lane = float(rng.uniform(3.0, 3.6))
    tram = -lane if rng.random() < 0.24 and style in ("city", "avenue") else None
    lanes = [(index * lane, True) for index in range(own)] + [(-(index + 1) * lane, False) for index in range(other)]
    left, right = -(other + 0.5) * lane, (own - 0.5) * lane
    lines: list[tuple[float, float, float]] = [(-lane / 2, 0.0 if rng.random() < 0.35 else 9.0, 4.0)]
    lines += [
        (x + lane / 2, 9.0, 3.0) for x, _ in lanes if x + lane / 2 < right - 1 and abs(x + lane / 2 + lane / 2) > 0.1
    ]
    bands = [(left, right, "road")]
    sides = [_side(rng, style, start, side, bands, lines) for start, side in ((left, -1.0), (right, 1.0))]
    crossing = float(rng.uniform(16, 55)) if rng.random() < (0.42 if style == "city" else 0.25) else None
    zebra = (
        crossing - 9.5
        if crossing and rng.random() < 0.7
        else (float(rng.uniform(9, 35)) if rng.random() < 0.15 else None)
    )
    rails = [] if tram is None else [tram - 0.72, tram + 0.72]
    ground = Ground(
        bands,
        lines,
        crossing,
        zebra,
        rails,
        _colours(rng),
        float(rng.choice([0.6, 1.0, 1.5])),
        float(rng.uniform(0, 1)),
        int(rng.integers(500)),
    )
    edge, bay, walk, front = zip(*sides, strict=True)
    return Plan(style, lanes, edge, bay, walk, front, crossing, tram, ground)


def _side(
    rng: np.random.Generator,
    style: str,
    start: float,
    side: float,
    bands: list[tuple[float, float, str]],
    lines: list[tuple[float, float, float]],
) -> tuple[float, float, tuple[float, float], float]:
    """One side of the street outwards from `start`, added to `bands` and `lines`: kerb, middle of the parking bay,
    walk, house front.
    """
    x, bay = start, 0.0

    def take(width: float, kind: str) -> None:
        nonlocal x
        bands.append((min(x, x + side * width), max(x, x + side * width), kind))
        x += side * width

    if style != "open" and rng.random() < 0.62:
        bay = x + side * 1.1
        lines.append((x, 0.0, 0.0))
        take(2.3, "bay")
    edge = x
    take(0.22, "kerb")
    if rng.random() < {"city": 0.06, "avenue": 0.5, "suburb": 0.5, "open": 0.7}[style]:
        take(float(rng.uniform(0.8, 2.6)), "grass")
    inner = x
    if style != "open" or rng.random() < 0.5:
        take(float(rng.uniform(1.8, 4.5)), "walk")
    walk = (inner, x)
    if style in ("suburb", "open") or (style == "avenue" and rng.random() < 0.3):
        take(float(rng.uniform(2.5, 7.0)) if style != "open" else 60.0, "grass")
    return edge, bay, walk, x
