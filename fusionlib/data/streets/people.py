"""Pedestrians, riders and two-wheelers as posed figures."""

from __future__ import annotations

import numpy as np

from .furniture import Stand
from .paint import Canvas, Colour

PERSON, RIDER, MOTORCYCLE, BICYCLE = 11, 12, 17, 18
_CLOTHES = np.array(
    [
        (38, 42, 56),
        (60, 62, 66),
        (96, 92, 88),
        (150, 38, 40),
        (52, 80, 130),
        (196, 190, 178),
        (88, 104, 72),
        (140, 110, 74),
        (28, 28, 30),
        (206, 160, 60),
        (110, 60, 96),
        (120, 140, 150),
    ],
    float,
)
_SKIN = np.array([(224, 182, 154), (190, 140, 108), (132, 92, 68), (86, 60, 46)], float)


def clothing(rng: np.random.Generator) -> Colour:
    """A garment colour."""
    return tuple(np.clip(_CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.7, 1.2) + rng.normal(0, 6, 3), 8, 245))


def draw_person(canvas: Canvas, x: float, z: float, rng: np.random.Generator, instance: int) -> None:
    """A walking or standing pedestrian, child to adult, perhaps with a bag."""
    size = float(rng.choice([1.0, 1.0, 1.0, 0.7]) * rng.uniform(0.93, 1.08))
    stride, lean = float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.03, 0.03))
    coat, legs, skin = clothing(rng), clothing(rng), tuple(_SKIN[rng.integers(4)])
    hair, skirt, bag = tuple(np.array((60, 44, 32)) * rng.uniform(0.4, 2.4)), rng.random() < 0.25, rng.random() < 0.4
    stand = Stand(canvas, x, z, (-0.6, 0.6, 1.95 * size))
    if not stand.seen:
        return
    # The figure is built for 1.75 m and scaled through the Stand's pixels per metre.
    stand.pixels *= size
    shade = tuple(0.75 * part for part in legs)
    for sign, paint in ((-1, shade), (1, legs)):
        knee, foot = (sign * stride * 0.45 + 0.03 * sign, 0.48), (sign * stride + 0.04 * sign, 0.04)
        stand.line([(sign * 0.06, 0.9), knee], paint, PERSON, 0.17)
        stand.line([knee, foot], paint, PERSON, 0.13)
        stand.line([foot, (foot[0] + 0.1, 0.03)], (30, 28, 28), PERSON, 0.08)
    if skirt:
        stand.polygon([(-0.15, 0.95), (0.15, 0.95), (0.22, 0.45), (-0.22, 0.45)], coat, PERSON)
    stand.line(
        [(-0.18, 1.38), (-0.2 - stride * 0.4, 1.08), (-0.12 - stride * 0.8, 0.84)],
        tuple(0.8 * c for c in coat),
        PERSON,
        0.1,
    )
    stand.polygon(
        [(-0.16, 0.84), (-0.21, 1.36), (-0.1 + lean, 1.48), (0.1 + lean, 1.48), (0.21, 1.36), (0.16, 0.84)],
        coat,
        PERSON,
    )
    stand.polygon(
        [(0.0, 0.84), (0.03, 1.47), (0.1 + lean, 1.48), (0.21, 1.36), (0.16, 0.84)],
        tuple(0.82 * c for c in coat),
        PERSON,
    )
    stand.line(
        [(0.18, 1.38), (0.2 + stride * 0.4, 1.08), (0.12 + stride * 0.8, 0.84)],
        tuple(0.9 * c for c in coat),
        PERSON,
        0.1,
    )
    stand.line([(lean, 1.46), (lean, 1.56)], skin, PERSON, 0.1)
    stand.ellipse((lean, 1.63), (0.095, 0.125), skin, PERSON)
    stand.ellipse((lean - 0.015, 1.68), (0.1, 0.085), hair, PERSON)
    if bag:
        stand.polygon([(0.16, 0.7), (0.16, 1.0), (0.36, 1.0), (0.36, 0.7)], shade, PERSON)
    stand.sprite.blit(z, {PERSON: instance}, grain=0.12, offset=int(rng.integers(500)))


def _wheel(stand: Stand, x: float, radius: float, squash: float, label: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 17)
    ring = np.stack([x + radius * squash * np.cos(angle), radius * (1 + np.sin(angle))], 1)
    if radius * stand.pixels > 7:
        stand.line(ring, (34, 34, 36), label, 0.07)
    else:
        stand.polygon(ring, (52, 52, 54), label)


def _bicycle(stand: Stand, squash: float, colour: Colour) -> None:
    k = max(squash, 0.06)
    for x in (-0.53, 0.53):
        _wheel(stand, x * k, 0.34, k, BICYCLE)
    frame = np.array(
        [
            (-0.53, 0.34),
            (-0.1, 0.34),
            (-0.18, 0.82),
            (0.35, 0.86),
            (-0.1, 0.34),
            (0.35, 0.86),
            (0.53, 0.34),
            (0.33, 1.0),
            (0.42, 1.02),
        ]
    ) * (k, 1)
    stand.line(frame, colour, BICYCLE, 0.075)
    stand.line([(-0.18 * k - 0.1, 0.92), (-0.18 * k + 0.1, 0.92)], (30, 30, 30), BICYCLE, 0.08)
    stand.line([(0.38 * k - 0.26 * (1 - k), 1.04), (0.38 * k + 0.26 * (1 - k), 1.04)], (60, 60, 62), BICYCLE, 0.05)


def _motorcycle(stand: Stand, squash: float, colour: Colour, front: bool) -> None:
    k = max(squash, 0.12)
    for x in (-0.62, 0.62):
        _wheel(stand, x * k, 0.31, k, MOTORCYCLE)
        stand.line([(x * k, 0.05), (x * k, 0.6)], (28, 28, 30), MOTORCYCLE, 0.13)
    engine = np.array([(-0.45, 0.62), (0.3, 0.62), (0.34, 0.24), (-0.34, 0.24)])
    stand.polygon(engine * (k, 1) + np.sign(engine) * (0.1 * (1 - k), 0), (58, 58, 62), MOTORCYCLE)
    body = np.array([(-0.78, 0.78), (-0.3, 0.82), (0.1, 0.86), (0.38, 1.02), (0.56, 0.78), (0.32, 0.56), (-0.4, 0.6)])
    stand.polygon(body * (k, 1) + np.sign(body) * (0.14 * (1 - k), 0), colour, MOTORCYCLE)
    stand.polygon(
        [(-0.5 * k - 0.1, 0.84), (-0.5 * k - 0.1, 0.94), (0.05 * k + 0.1, 0.94), (0.05 * k + 0.1, 0.84)],
        (34, 34, 36),
        MOTORCYCLE,
    )
    stand.line([(0.4 * k - 0.36 * (1 - k), 1.1), (0.4 * k + 0.36 * (1 - k), 1.1)], (50, 50, 52), MOTORCYCLE, 0.06)
    lamp = (240, 238, 220) if front else (190, 28, 26)
    stand.ellipse((0.66 * k if front else -0.74 * k, 0.82), (0.08, 0.08), lamp, MOTORCYCLE, 255)


def draw_two_wheeler(
    canvas: Canvas, x: float, z: float, kind: int, ridden: bool, rng: np.random.Generator, instances: dict[int, int]
) -> None:
    """Bicycle (18) or motorcycle (17), parked or with a rider, seen from behind to sideways."""
    squash = float(rng.uniform(0.04, 0.26) if ridden else rng.uniform(0.3, 0.9))
    paint, coat, legs = tuple(0.6 * rng.uniform(20, 200, 3) + 0.4 * rng.uniform(20, 160)), clothing(rng), clothing(rng)
    skin, helmet, front = tuple(_SKIN[rng.integers(4)]), tuple(rng.uniform(20, 230, 3)), rng.random() < 0.5
    covered = kind == MOTORCYCLE or rng.random() < 0.6
    stand = Stand(canvas, x, z, (-1.0, 1.0, 2.0))
    if not stand.seen:
        return
    if kind == BICYCLE:
        _bicycle(stand, squash, paint)
        seat, hip = -0.18 * squash, 0.95
    else:
        _motorcycle(stand, squash, paint, front)
        seat, hip = -0.2 * squash, 0.92
    if ridden:
        hand = 0.36 * squash
        for sign in (-1, 1):
            side = 0.13 * sign
            foot = 0.3 + (0.12 * sign if kind == BICYCLE else 0.0)
            stand.line(
                [(seat + side * 0.6, hip), (seat + side + 0.3 * squash, 0.66), (side - 0.1 * squash, foot)],
                legs,
                RIDER,
                0.14,
            )
        stand.polygon(
            [
                (seat - 0.16, hip - 0.06),
                (seat - 0.2 + 0.1 * squash, 1.42),
                (seat + 0.2 + 0.24 * squash, 1.42),
                (seat + 0.17, hip - 0.06),
            ],
            coat,
            RIDER,
        )
        for sign in (-1, 1):
            stand.line(
                [(seat + 0.19 * sign + 0.14 * squash, 1.36), (hand + 0.28 * sign * (1 - squash), 1.06)],
                tuple(0.85 * part for part in coat),
                RIDER,
                0.1,
            )
        head = (seat + 0.26 * squash, 1.58)
        stand.ellipse(head, (0.1, 0.13), skin, RIDER)
        if covered:
            stand.ellipse((head[0], 1.63), (0.125, 0.12), helmet, RIDER)
    stand.sprite.blit(z, instances, grain=0.1, offset=int(rng.integers(500)))
