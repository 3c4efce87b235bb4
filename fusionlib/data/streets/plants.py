"""Trees and bushes: trunks and clumpy crowns cut out by noise."""

from __future__ import annotations

import numpy as np

from .noise import sample
from .paint import Canvas, Colour, Sprite

VEGETATION = 8


def _crown(
    canvas: Canvas,
    centre: np.ndarray,
    radius: tuple[float, float],
    colour: Colour,
    z: float,
    lobes: np.ndarray,
    sparse: float,
    offset: int,
) -> None:
    """A crown of several lobes; `lobes` (n, 3): x, y offset and size in units of the radius."""
    camera = canvas.camera
    (u, v), (ru, rv) = centre, radius
    u0, u1 = int(max(0, u - 1.15 * ru)), int(min(camera.width, u + 1.15 * ru + 1))
    v0, v1 = int(max(0, v - 1.15 * rv)), int(min(camera.height, v + 1.15 * rv + 1))
    if u1 - u0 < 2 or v1 - v0 < 2:
        return
    x = (np.arange(u0, u1, dtype=np.float32) + np.float32(0.5 - u)) / np.float32(ru)
    y = (np.arange(v0, v1, dtype=np.float32)[:, None] + np.float32(0.5 - v)) / np.float32(rv)
    field = np.full((v1 - v0, u1 - u0), 9, np.float32)
    for lx, ly, size in lobes.astype(np.float32):
        part = ((x - lx) ** 2 + (y - ly) ** 2) / (size * size)
        np.minimum(field, part, out=field)
    leaf = sample("leaf", x * 110 + offset * 3, y * 110 + offset)
    fine = sample("leaf", x * 290 + offset, y * 290 + offset * 5)
    cover = field + np.float32(0.42) * leaf + np.float32(sparse) * fine < 0.98
    light = 0.78 - 0.26 * y + np.float32(0.2 * canvas.sun_x * canvas.sun_power) * x
    light = light + 0.38 * leaf + 0.26 * fine - 0.12 * field
    rgb = np.asarray(colour, np.float32) * np.clip(light, 0.12, 1.9)[..., None]
    canvas.write((u0, v0, u1, v1), np.minimum(rgb, 255), cover, VEGETATION, z)


def draw_tree(
    canvas: Canvas,
    x: float,
    z: float,
    height: float,
    spread: float,
    colour: Colour,
    bark: Colour,
    lobes: np.ndarray,
    sparse: float,
    offset: int,
) -> None:
    """A tree at (x, z): total height and crown half-width in metres."""
    camera = canvas.camera
    pixels = camera.scale(z)
    foot, fork, crown = camera.project(np.array([(x, 0, z), (x, 0.5 * height, z), (x, 0.66 * height, z)]))
    thick = max(0.09 * spread, 0.1) * pixels
    trunk = np.array(
        [
            (foot[0] - thick, foot[1]),
            (fork[0] - 0.6 * thick, fork[1]),
            (fork[0] + 0.6 * thick, fork[1]),
            (foot[0] + thick, foot[1]),
        ]
    )
    sprite = Sprite(canvas, trunk)
    if sprite.seen:
        sprite.polygon(trunk, bark, VEGETATION)
        shady = np.array([trunk[0], trunk[1], (fork[0], fork[1]), (foot[0], foot[1])])
        sprite.polygon(
            shady if canvas.sun_x > 0 else np.array([trunk[3], trunk[2], fork, foot]),
            tuple(0.7 * part for part in bark),
            VEGETATION,
        )
        sprite.blit(z, grain=0.2, offset=offset)
    _crown(canvas, crown, (spread * pixels, 0.38 * height * pixels), colour, z, lobes, sparse, offset)


def draw_bush(canvas: Canvas, x: float, z: float, size: float, colour: Colour, lobes: np.ndarray, offset: int) -> None:
    """A low bush of the given height in metres."""
    pixels = canvas.camera.scale(z)
    centre = canvas.camera.project(np.array((x, 0.42 * size, z)))
    _crown(canvas, centre, (0.75 * size * pixels, 0.5 * size * pixels), colour, z, lobes, 0.2, offset)
