"""Sky and ground plane: everything that lies behind or under the objects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .noise import patch, sample
from .paint import Canvas, Colour

ROAD, WALK, TERRAIN = 0, 1, 9
LUT_REACH, LUT_STEP = 60.0, 0.05


@dataclass
class Ground:
    """Cross-section of the street: bands (from_x, to_x, kind) plus markings and crossings, metres."""

    bands: list[tuple[float, float, str]]
    lines: list[tuple[float, float, float]]  # x, dash period (0 = solid), dash length
    crossing: float | None  # z of the side street's middle
    zebra: float | None  # z where the zebra begins
    rails: list[float]
    colours: dict[str, Colour]
    slab: float
    wear: float
    offset: int
    shadows: list[tuple[np.ndarray, float]] = field(default_factory=list)  # ground polygons (n, 2), darkness 0..1


KINDS = ("road", "bay", "kerb", "walk", "grass", "yard", "mark", "rail", "track")
LABEL_OF = np.array([ROAD, ROAD, WALK, WALK, TERRAIN, WALK, ROAD, ROAD, ROAD], np.uint8)


def paint_sky(canvas: Canvas, top: Colour, low: Colour, cover: float, offset: int) -> None:
    """Gradient and clouds down to just below the horizon; cover 0..1 is how much cloud."""
    camera = canvas.camera
    columns = camera.width // 2
    horizon = max(camera.cy / 2, 20)
    rows = min(camera.height // 2, int(horizon + abs(camera.roll) * columns) + 12)
    up = np.clip((horizon - np.arange(rows, dtype=np.float32)) / np.float32(horizon), 0, 1)
    mix = (up * (2 - up))[:, None, None]
    sky = np.asarray(low, np.float32) * (1 - mix) + np.asarray(top, np.float32) * mix
    # Clouds lie on a plane overhead, so that they flatten and crowd towards the horizon.
    lift = 1 / (up + np.float32(0.18))
    across = (np.arange(columns, dtype=np.float32) - columns / 2) * 512 / columns
    cloud = sample("cloud", across * lift[:, None] * 0.35 + offset * 11, (lift * 55 + offset * 5)[:, None])
    amount = np.clip((cloud - 0.75 + 1.6 * np.float32(cover)) * 0.9, 0, 1) * np.float32(0.85)
    light = 0.93 + 0.12 * sample("soft", across * lift[:, None] * 0.35 + 40, (lift * 55)[:, None])
    white = (np.asarray(low, np.float32) * 0.35 + 172)[None, None] * light[..., None]
    sky = sky + (np.minimum(white, 250) - sky) * amount[..., None]
    picture = np.clip(sky, 0, 255).astype(np.uint8)
    canvas.rgb[: 2 * rows] = picture.repeat(2, axis=0).repeat(2, axis=1)


def _band_table(ground: Ground) -> np.ndarray:
    table = np.full(int(2 * LUT_REACH / LUT_STEP), KINDS.index("yard"), np.uint8)
    for start, stop, kind in ground.bands:
        low, high = (int((np.clip(x, -LUT_REACH, LUT_REACH) + LUT_REACH) / LUT_STEP) for x in (start, stop))
        table[low:high] = KINDS.index(kind)
    return table


def _markings(ground: Ground, kind: np.ndarray, x: np.ndarray, z: np.ndarray) -> None:
    free = kind <= 1
    mark, rail = KINDS.index("mark"), KINDS.index("rail")
    for at, period, dash in ground.lines:
        hit = np.flatnonzero((np.abs(x - np.float32(at)) < 0.075) & free)
        if period:
            hit = hit[np.mod(z.take(hit), np.float32(period)) < dash]
        kind.reshape(-1)[hit] = mark
    for at in ground.rails:
        kind[(np.abs(x - np.float32(at)) < 0.06) & free] = rail
    if ground.zebra is not None:
        stripe = np.flatnonzero((z > ground.zebra) & (z < ground.zebra + 3.2) & free)
        kind.reshape(-1)[stripe[np.mod(x.take(stripe), np.float32(1.0)) < 0.5]] = mark
        kind[(z > ground.zebra - 1.6) & (z < ground.zebra - 1.2) & free & (x > -1.7)] = mark


def _texture(ground: Ground, kind: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Brightness factor of every ground pixel; fine detail fades with distance, where it would only alias."""
    near = 9 / (z + 9)
    shift = ground.offset * 17
    shade = 1 + (0.04 + 0.11 * near) * sample("rough", x * 40 + shift, z * 18 + shift)
    shade += 0.10 * sample("cloud", x * 14 + shift, z * 5 + shift)
    old = sample("soft", x * 20 + 200, z * 7 + shift)
    shade -= (0.12 * np.float32(ground.wear)) * ((old > 0.35) & (kind <= 1))
    track = np.abs(np.mod(x + np.float32(0.1), np.float32(1.75)) - np.float32(0.87))
    shade -= (np.float32(0.05) * (track < 0.25)) * (kind == 0)
    slabs = (np.mod(x, np.float32(ground.slab)) < 0.035) | (np.mod(z, np.float32(ground.slab)) < 0.05)
    shade -= (0.35 * near) * (slabs & ((kind == 3) | (kind == 5)))
    shade += (0.5 * near + 0.05) * (kind == 4) * sample("leaf", x * 60, z * 30)
    # Worn paint: markings break up where the noise is low.
    shade -= (0.45 * np.float32(ground.wear)) * ((kind == 6) & (sample("leaf", x * 50, z * 25) < -0.1))
    return shade


def _shadow_map(canvas: Canvas, ground: Ground) -> np.ndarray:
    """Soft shadow factor at half the canvas size: it is blurred anyway."""
    camera = canvas.camera
    image = Image.new("L", (camera.width // 2, camera.height // 2), 0)
    draw = ImageDraw.Draw(image)
    for polygon, dark in sorted(ground.shadows, key=lambda item: item[1]):
        points = camera.project(np.insert(polygon, 1, 0.0, axis=1)) / 2
        points = np.clip(points, -3000, 3000)
        draw.polygon([(float(u), float(v)) for u, v in points], fill=int(255 * min(dark, 1)))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.6)), np.float32)
    return 1 - soft / np.float32(255)


def paint_ground(canvas: Canvas, ground: Ground) -> None:
    """Road, pavements, verges, markings and all shadows on them."""
    camera = canvas.camera
    first = int(max(0, camera.cy - abs(camera.roll) * camera.width / 2 - 2)) // 2 * 2
    x, z, below = camera.ground(first)
    slot = (np.clip(x, -LUT_REACH + 0.1, LUT_REACH - 0.1) + np.float32(LUT_REACH)) * np.float32(1 / LUT_STEP)
    kind = _band_table(ground)[slot.astype(np.int32)]
    if ground.crossing is not None:
        kind[np.abs(z - np.float32(ground.crossing)) < 4.5] = 0
    _markings(ground, kind, x, z)
    palette = np.array([ground.colours[name] for name in KINDS], np.float32)
    # Texture is finer than a final pixel anyway, so one sample per final pixel will do.
    shade = _texture(ground, kind[::2, ::2], x[::2, ::2], z[::2, ::2])
    shade = np.minimum(shade * _shadow_map(canvas, ground)[first // 2 :], 1.6) * canvas.exposure
    shade = shade.repeat(2, axis=0).repeat(2, axis=1)
    rgb = palette.take(kind, axis=0)
    rgb *= shade[..., None]
    np.minimum(rgb, 255, out=rgb)
    box = (0, first, camera.width, camera.height)
    canvas.write(box, rgb, below, LABEL_OF[kind], z)


def ego_hood(canvas: Canvas, colour: Colour, height: float) -> None:
    """The bonnet of the own car at the lower edge, labelled void."""
    rows, columns = canvas.camera.height, canvas.camera.width
    start = int(rows * (1 - height))
    across = (np.arange(columns, dtype=np.float32) / columns - 0.5) * 2
    edge = start + (rows - start) * np.float32(0.75) * across * across
    row = np.arange(start, rows, dtype=np.float32)[:, None]
    shade = 1.25 - 0.5 * (row - edge) / (rows - start) + 0.04 * patch("soft", rows - start, columns)
    rgb = np.clip(np.asarray(colour, np.float32) * shade[..., None], 0, 255)
    canvas.write((0, start, columns, rows), rgb, row > edge, 255, 1.0)
