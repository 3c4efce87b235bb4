"""Poles, lamps, traffic lights and signs."""

from __future__ import annotations

import numpy as np

from .paint import Canvas, Colour, Sprite

POLE, LIGHT, SIGN = 5, 6, 7
SHAPES = ("round", "triangle", "yield", "square", "diamond", "octagon", "board", "blue")


def _ring(centre: tuple[float, float], radius: float, corners: int, turn: float) -> np.ndarray:
    angle = (np.arange(corners) + turn) * 2 * np.pi / corners
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


class Stand:
    """A sprite measured in metres from a foot point: x right, y up."""

    def __init__(
        self, canvas: Canvas, x: float, z: float, box: tuple[float, float, float], bottom: float = 0.0
    ) -> None:
        """`box`: left, right and top in metres around the foot; bottom > 0 leaves the lower part out."""
        self.canvas, self.z = canvas, z
        self.pixels = canvas.camera.scale(z)
        self.foot = canvas.camera.project(np.array((x, 0.0, z)))
        self.sprite = Sprite(canvas, self.at([(box[0], bottom), (box[1], box[2])]))
        self.seen = self.sprite.seen and self.pixels * box[2] > 3

    def at(self, points: object) -> np.ndarray:
        """Metres to canvas pixels, (n, 2)."""
        return self.foot + np.asarray(points, float) * (self.pixels, -self.pixels)

    def polygon(self, points: object, colour: Colour, label: int, glow: int = 0) -> None:
        """Polygon in metres."""
        self.sprite.polygon(self.at(points), colour, label, glow)

    def line(self, points: object, colour: Colour, label: int, width: float) -> None:
        """Polyline in metres with a width in metres."""
        self.sprite.line(self.at(points), colour, label, width * self.pixels)

    def ellipse(
        self, centre: tuple[float, float], radius: tuple[float, float], colour: Colour, label: int, glow: int = 0
    ) -> None:
        """Ellipse in metres."""
        self.sprite.ellipse(self.at(centre), (radius[0] * self.pixels, radius[1] * self.pixels), colour, label, glow)

    def post(self, x: float, top: float, width: float, colour: Colour, label: int = POLE) -> None:
        """A post with a shaded side."""
        half = max(width / 2, 0.7 / self.pixels)
        self.polygon([(x - half, 0), (x - half, top), (x + half, top), (x + half, 0)], colour, label)
        dark = tuple(0.65 * part for part in colour)
        self.polygon([(x, 0), (x, top), (x + half, top), (x + half, 0)], dark, label)


def draw_lamp(canvas: Canvas, x: float, z: float, height: float, reach: float, colour: Colour) -> None:
    """Street lamp with an arm of `reach` metres (signed, towards the road)."""
    stand = Stand(canvas, x, z, (min(reach, 0) - 0.5, max(reach, 0) + 0.5, height + 0.4), height - 0.3)
    canvas.add_light((x + reach, height, z), 1.3, (1.0, 0.82, 0.55), 1.0)
    canvas.add_light((x + reach * 1.5, 0.3, z), 4.5, (1.0, 0.80, 0.52), 0.55)
    draw_pole(canvas, x, z, height, 0.16, colour)
    if not stand.seen:
        return
    stand.line([(0, height), (reach, height + 0.15)], colour, POLE, 0.09)
    stand.polygon(
        [
            (reach - 0.35, height + 0.05),
            (reach - 0.25, height + 0.24),
            (reach + 0.3, height + 0.24),
            (reach + 0.38, height + 0.05),
        ],
        tuple(0.8 * part for part in colour),
        POLE,
    )
    stand.polygon(
        [
            (reach - 0.25, height - 0.02),
            (reach - 0.25, height + 0.06),
            (reach + 0.28, height + 0.06),
            (reach + 0.28, height - 0.02),
        ],
        (225, 222, 205),
        POLE,
        255,
    )
    stand.sprite.blit(z)


def draw_traffic_light(
    canvas: Canvas, x: float, z: float, height: float, state: int, colour: Colour, reach: float
) -> None:
    """Signal head on a post; state 0 red, 1 amber, 2 green; reach > 0 adds an overhanging second head."""
    draw_pole(canvas, x, z, height + (1.2 if reach else 0.0), 0.15, colour)
    stand = Stand(canvas, x, z, (min(reach, 0) - 0.5, max(reach, 0) + 0.5, height + 1.6), height - 0.6)
    if not stand.seen:
        return
    heads = [(0.0, height)]
    if reach:
        stand.line([(0, height + 1.2), (reach, height + 1.35)], colour, POLE, 0.1)
        heads.append((reach, height + 0.6))
    on = ((235, 50, 40), (245, 170, 40), (60, 220, 120))
    for hx, hy in heads:
        stand.polygon(
            [(hx - 0.2, hy - 0.5), (hx - 0.2, hy + 0.5), (hx + 0.2, hy + 0.5), (hx + 0.2, hy - 0.5)],
            (32, 34, 34),
            LIGHT,
        )
        for lamp in range(3):
            lit = lamp == state
            hue = on[lamp] if lit else tuple(0.22 * part for part in on[lamp])
            stand.ellipse((hx, hy + 0.3 - 0.3 * lamp), (0.12, 0.12), hue, LIGHT, 255 if lit else 0)
        glow = tuple(part / 255 for part in on[state])
        canvas.add_light((x + hx, hy + 0.3 - 0.3 * state, z), 0.6, glow, 0.8)
    stand.sprite.blit(z)


def draw_sign(
    canvas: Canvas, x: float, z: float, height: float, shape: str, size: float, colour: Colour, accent: Colour
) -> None:
    """Traffic sign of one of SHAPES on its post; size is the half-width in metres."""
    draw_pole(canvas, x, z, height, 0.08, (128, 130, 132))
    stand = Stand(canvas, x, z, (-2.2 * size, 2.2 * size, height + 1.6 * size), height - 1.4 * size)
    if not stand.seen:
        return
    corners, turn = {
        "triangle": (3, 0.0),
        "yield": (3, 0.5),
        "square": (4, 0.5),
        "diamond": (4, 0.0),
        "octagon": (8, 0.5),
        "round": (14, 0.0),
        "blue": (14, 0.0),
    }.get(shape, (4, 0.5))
    centre = (0.0, height)
    if shape == "board":
        for grow, paint in ((1.0, (235, 235, 230)), (0.9, accent)):
            stand.polygon(np.array([(-2, -0.7), (-2, 0.7), (2, 0.7), (2, -0.7)]) * size * grow + centre, paint, SIGN)
        for row in (0.25, -0.25):
            stand.line(
                [(-1.4 * size, height + row * size), (0.9 * size, height + row * size)], (235, 235, 230), SIGN, 0.06
            )
    else:
        outer, inner = (colour, (238, 236, 228)) if shape in ("round", "triangle", "yield") else (colour, colour)
        stand.polygon(_ring(centre, 1.12 * size, corners, turn), (225, 225, 222), SIGN)
        stand.polygon(_ring(centre, size, corners, turn), outer, SIGN)
        stand.polygon(_ring(centre, 0.66 * size, corners, turn), inner, SIGN)
        mark = (240, 240, 238) if inner == colour else (40, 40, 44)
        stand.polygon(np.array([(-0.12, -0.3), (-0.12, 0.35), (0.12, 0.35), (0.12, -0.3)]) * size + centre, mark, SIGN)
    stand.sprite.blit(z, grain=0.05)


def draw_pole(canvas: Canvas, x: float, z: float, height: float, width: float, colour: Colour) -> None:
    """A bare post or bollard; also the post of everything else here, since a narrow sprite is cheap."""
    stand = Stand(canvas, x, z, (-width, width, height))
    if stand.seen:
        stand.post(0, height, width, colour)
        stand.sprite.blit(z)
