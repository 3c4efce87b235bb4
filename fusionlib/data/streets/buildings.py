"""Buildings, walls, fences and hedges: upright panels with procedural materials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .noise import sample
from .paint import Canvas, Colour, Sprite, Strip, panel, tint

BUILDING, WALL, FENCE, VEGETATION = 2, 3, 4, 8
_WALLCOL, _FRAME, _GLASS, _LIT, _DOOR, _SHOP, _SIGN, _AWNING, _BASE, _BLIND = range(10)
_GLOW = np.array([0, 0, 0, 215, 0, 150, 110, 20, 0, 0], np.uint8)


@dataclass(frozen=True)
class Facade:
    """The look of one building front; lengths in metres, colours 0..255."""

    height: float
    storey: float
    pitch: float
    window: tuple[float, float]
    shop: bool
    brick: bool
    band: bool
    colours: np.ndarray  # (10, 3) palette in the order of the material codes
    table: np.ndarray  # (32, 32) one random number per window
    offset: int


def random_facade(rng: np.random.Generator, height: float, wall: Colour, shop: bool) -> Facade:
    """Draw one building's style."""
    dark = rng.uniform(0.45, 0.95)
    accent = 0.5 * rng.uniform(30, 210, 3) + 0.5 * rng.uniform(40, 190)
    glass = np.array([70, 84, 96]) * rng.uniform(0.6, 1.5)
    frame = np.clip(np.array(wall) * rng.choice([0.55, 1.3, 0.8]), 0, 245)
    palette = np.stack(
        [
            wall,
            frame,
            glass,
            (250, 214, 150),
            np.array(wall) * dark * 0.6,
            glass * 0.8,
            accent,
            0.6 * rng.uniform(40, 225, 3) + 0.4 * rng.uniform(60, 200),
            np.array(wall) * dark,
            np.array([190, 184, 172]) * dark,
        ]
    ).astype(np.float32)
    pitch = float(rng.uniform(1.7, 3.4))
    modern = rng.random() < 0.25
    window = (0.86, 0.7) if modern else (float(rng.uniform(0.4, 0.62)), float(rng.uniform(0.45, 0.62)))
    return Facade(
        height,
        float(rng.uniform(2.9, 3.7)),
        pitch,
        window,
        shop,
        bool(rng.random() < 0.35),
        bool(rng.random() < 0.5),
        palette,
        rng.random((32, 32), dtype=np.float32),
        int(rng.integers(500)),
    )


def _upper_floors(style: Facade, s: np.ndarray, y: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Mark windows in `code`; returns each pixel's window number from the random table."""
    along = s / np.float32(style.pitch)
    column = along.astype(np.int32)
    fs = np.abs(along - column - np.float32(0.5)) * 2
    up = (y - np.float32(0.3)) / np.float32(style.storey)
    floor = np.maximum(up, 0).astype(np.int32)
    fy = np.abs(up - floor - np.float32(0.52)) * 2
    number = style.table[floor & 31, column & 31]
    wide, tall = (np.float32(value) for value in style.window)
    rim = np.float32(0.09)
    inside = (fs < wide + rim) & (fy < tall + rim) & (y < style.height - 0.6)
    pane = inside & (fs < wide) & (fy < tall)
    bar = pane & (fs < 0.04)
    code[inside] = _FRAME
    glass = np.where(number > 0.7, np.uint8(_LIT), np.where(number > 0.55, np.uint8(_BLIND), np.uint8(_GLASS)))
    np.copyto(code, glass, where=pane & ~bar)
    return number


def _street_floor(style: Facade, s: np.ndarray, y: np.ndarray, code: np.ndarray) -> None:
    """Shops with sign band and awnings, or a door in a plain ground floor."""
    storey = style.storey
    if style.shop:
        unit = s / np.float32(style.pitch * 2.2)
        column = unit.astype(np.int32)
        place = np.abs(unit - column - np.float32(0.5)) * 2
        ground = y < storey
        code[ground] = _BASE
        code[(y > 0.35) & (y < storey - 0.95) & (place < 0.86)] = _FRAME
        bars = np.abs(np.mod(place, np.float32(0.43)) - np.float32(0.2)) < 0.19
        code[(y > 0.42) & (y < storey - 1.05) & (place < 0.84) & bars] = _SHOP
        code[(y > storey - 0.8) & ground & (place < 0.93)] = _SIGN
        hung = style.table[column & 31, 5] > 0.55
        code[(y > storey - 1.35) & (y < storey - 0.75) & (place < 0.9) & hung] = _AWNING
    else:
        code[y < 0.55] = _BASE
    door = np.abs(np.mod(s, np.float32(style.pitch * 4)) - np.float32(style.pitch * 2)) < 0.55
    code[(y < 2.25) & door] = _DOOR


def facade_shader(style: Facade, light: float) -> Callable[[np.ndarray, np.ndarray, np.ndarray], Strip]:
    """Shader of a front in this style, lit by `light`."""

    def shade(s: np.ndarray, y: np.ndarray, pixels: np.ndarray) -> Strip:
        code = np.zeros(y.shape, np.uint8)
        number = _upper_floors(style, s, y, code)
        _street_floor(style, s, y, code)
        # Far fronts are too small to show plaster.
        rough = sample("rough", s * 22 + style.offset, y * 22) if pixels.max() > 30 else np.float32(0)
        stain = sample("cloud", s * 9 + style.offset, y * 5 + style.offset)
        value = np.float32(light) * (1 + 0.06 * rough + 0.09 * stain)
        if style.brick:
            course = np.mod(y, np.float32(0.3)) < 0.05
            value -= (0.16 * np.minimum(pixels / 60, 1)) * (course & (code == _WALLCOL))
        if style.band:
            value += 0.14 * ((np.mod(y - np.float32(0.3), np.float32(style.storey)) < 0.22) & (code == _WALLCOL))
        value += 0.15 * (y > style.height - 0.45)
        glass = (code == _GLASS) | (code == _SHOP) | (code == _LIT)
        reflect = 0.55 + 0.75 * number + 0.5 * (y / np.float32(style.height)) * stain
        np.copyto(value, reflect, where=glass)
        if style.shop:
            goods = 1.0 + 0.3 * sample("leaf", s * 30 + style.offset, y * 26) + 0.4 * stain
            np.copyto(value, goods, where=code == _SHOP)
        # By day a lit window is just another pane; the glow layer brings it up at night.
        palette = style.colours.copy()
        palette[_LIT] = palette[_GLASS] * 1.12
        rgb = palette.take(code, axis=0)
        rgb *= value[..., None]
        glow = _GLOW.take(code)
        everywhere = np.ones(y.shape, bool)
        return Strip(rgb, everywhere, everywhere, glow)

    return shade


def draw_building(
    canvas: Canvas,
    style: Facade,
    x: float,
    z0: float,
    z1: float,
    depth: float,
    roof: float,
    roof_colour: Colour,
    hidden: float,
) -> None:
    """A house along the street: front at x from z0 to z1, `depth` metres deep, roof > 0 for a pitched roof.

    `hidden`: height up to which the nearer neighbour covers the side wall, metres.
    """
    side = 1.0 if x > 0 else -1.0
    back = x + side * depth
    top = style.height
    if roof > 0:
        middle = x + side * depth / 2
        camera = canvas.camera
        slope = camera.project(
            np.array(
                [
                    (x - side * 0.3, top - 0.1, max(z0, 1.5)),
                    (x - side * 0.3, top - 0.1, z1),
                    (middle, top + roof, z1),
                    (middle, top + roof, max(z0, 1.5)),
                ]
            )
        )
        gable = camera.project(np.array([(x, top, z0), (middle, top + roof, z0), (back, top, z0)]))
        sprite = Sprite(canvas, np.concatenate([slope, gable]))
        if sprite.seen:
            sprite.polygon(slope, tint(roof_colour, canvas.side_light(-side)), BUILDING)
            if z0 > 1.5:
                sprite.polygon(gable, tint(tuple(style.colours[0]), 0.85), BUILDING)
            sprite.blit(z1, grain=0.12, offset=style.offset)
    if z0 > 1.5 and hidden < top:
        panel(canvas, (x, z0), (back, z0), hidden, top, facade_shader(style, 0.8), BUILDING)
    panel(canvas, (x, z0), (x, z1), 0, top, facade_shader(style, 0.98 * canvas.side_light(-side)), BUILDING)


def wall_shader(colour: Colour, height: float, brick: bool, light: float, offset: int) -> Callable[..., Strip]:
    """Concrete or brick garden wall with a coping."""

    def shade(s: np.ndarray, y: np.ndarray, pixels: np.ndarray) -> Strip:
        value = light * (
            1 + 0.09 * sample("rough", s * 25 + offset, y * 25) + 0.12 * sample("cloud", s * 12 + offset, y * 10)
        )
        fade = np.minimum(pixels / 50, 1)
        step = 0.3 if brick else height
        value -= 0.2 * fade * (np.mod(y, np.float32(step)) < 0.04)
        value -= 0.2 * fade * (np.mod(s, np.float32(2.5)) < 0.05)
        value += 0.16 * (y > height - 0.14)
        full = np.ones(y.shape, bool)
        return Strip(np.asarray(colour, np.float32) * value[..., None], full, full)

    return shade


def fence_shader(colour: Colour, height: float, kind: str, light: float, offset: int) -> Callable[..., Strip]:
    """Bars, boards, mesh or guard rail; holes keep the background's colour but carry the fence label."""

    def shade(s: np.ndarray, y: np.ndarray, pixels: np.ndarray) -> Strip:
        post = np.mod(s, np.float32(2.2)) < 0.1
        full = np.ones(y.shape, bool)
        if kind == "boards":
            value = light * (
                1 + 0.1 * sample("rough", s * 30 + offset, y * 6) - 0.28 * (np.mod(s, np.float32(0.22)) < 0.03)
            )
            cover = full
        else:
            value = light * (1 + 0.06 * sample("rough", s * 30 + offset, y * 30))
            rails = (np.abs(y - np.float32(height - 0.06)) < 0.05) | (np.abs(y - np.float32(0.15)) < 0.04)
            if kind == "rail":
                beam = np.abs(y - np.float32(height * 0.75)) < height * 0.25
                value = value + 0.12 * np.where(np.mod(y, np.float32(0.16)) < 0.08, 1, -1) * beam
                cover = beam | post
                full = cover
            else:
                step = 0.14 if kind == "bars" else 0.3
                cover = rails | post | (np.mod(s, np.float32(step)) < 0.045)
                if kind == "mesh":
                    cover = cover | (np.mod(y, np.float32(0.3)) < 0.045)
        rgb = np.asarray(colour, np.float32) * (value + np.zeros_like(y))[..., None]
        return Strip(rgb, cover & (y > 0), full)

    return shade


def hedge_shader(colour: Colour, height: float, ragged: float, light: float, offset: int) -> Callable[..., Strip]:
    """Clipped hedge (ragged small) or a line of bushes and distant trees (ragged large)."""

    def shade(s: np.ndarray, y: np.ndarray, pixels: np.ndarray) -> Strip:
        rate = 46 / max(height, 1.0) + 6
        leaf = sample("leaf", s * rate + offset, y * rate + offset)
        outline = height * (
            1 - ragged * (0.5 + 0.5 * sample("cloud", s * 60 / max(height, 2) + offset, np.float32(offset)))
        )
        cover = y < outline + leaf * np.float32(0.09 * height)
        value = light * (0.72 + 0.4 * leaf + 0.35 * y / np.float32(height))
        rgb = np.asarray(colour, np.float32) * np.maximum(value, 0.15)[..., None]
        return Strip(rgb, cover, cover)

    return shade
