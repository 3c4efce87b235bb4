"""Drawing on one canvas that keeps colour, label, instance, depth and glow in step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .camera import FAR, NEAR, Camera
from .noise import patch

EMPTY = 254
Colour = tuple[float, ...]


class Light(NamedTuple):
    """A lamp for the night pictures: pixel position, radius in pixels, colour 0..1, strength."""

    u: float
    v: float
    radius: float
    colour: Colour
    strength: float


class Strip(NamedTuple):
    """What a panel shader answers: colour (r, c, 3), where it covers, where it is labelled, glow or None."""

    rgb: np.ndarray
    cover: np.ndarray
    labelled: np.ndarray
    glow: np.ndarray | None = None


def tint(colour: Colour, factor: float) -> tuple[int, int, int]:
    """Colour times factor as 8-bit integers."""
    return tuple(int(min(255, max(0, part * factor))) for part in colour)  # type: ignore[return-value]


class Canvas:
    """All layers of one picture, at the supersampled size of the camera."""

    def __init__(self, camera: Camera, sun: tuple[float, float]) -> None:
        shape = (camera.height, camera.width)
        self.camera = camera
        self.sun_x, self.sun_power = sun
        self.exposure = np.float32(1.0 + 0.22 * self.sun_power)  # sunlit ground outshines its own shadows
        self.rgbx = np.zeros((*shape, 4), np.uint8)  # a fourth byte lets masked copies move whole pixels
        self.rgb = self.rgbx[..., :3]
        self.label = np.full(shape, 10, np.uint8)
        self.instance = np.zeros(shape, np.uint16)
        self.depth = np.full(shape, FAR, np.float32)
        self.glow = np.zeros(shape, np.uint8)
        self.lights: list[Light] = []
        self._instances = 0

    def new_instance(self) -> int:
        """The next free instance id, from 1."""
        self._instances += 1
        return self._instances

    def add_light(self, point: tuple[float, float, float], size: float, colour: Colour, strength: float) -> None:
        """Register a lamp at a world point; size in metres."""
        u, v = self.camera.project(np.array(point))
        self.lights.append(Light(float(u), float(v), size * self.camera.scale(point[2]), colour, strength))

    def side_light(self, normal_x: float) -> float:
        """Brightness of a wall whose outward normal has this x part, from the sun's side."""
        return 1.0 + 0.22 * self.sun_power * normal_x * self.sun_x

    def write(
        self,
        box: tuple[int, int, int, int],
        rgb: np.ndarray,
        cover: np.ndarray,
        label: np.ndarray | int,
        depth: np.ndarray | float,
        labelled: np.ndarray | None = None,
        glow: np.ndarray | None = None,
        instance: np.ndarray | int = 0,
    ) -> None:
        """Copy a crop (u0, v0, u1, v1) through its masks into every layer."""
        u0, v0, u1, v1 = box
        cut = (slice(v0, v1), slice(u0, u1))
        labelled = cover if labelled is None else labelled
        pixels = np.empty((*cover.shape, 4), np.uint8)
        pixels[..., :3] = rgb
        np.copyto(self.rgbx[cut].view(np.uint32)[..., 0], pixels.view(np.uint32)[..., 0], where=cover)
        for layer, value, mask in (
            (self.label, label, labelled),
            (self.instance, instance, labelled),
            (self.depth, depth, labelled),
            (self.glow, 0 if glow is None else glow, cover),
        ):
            np.copyto(layer[cut], value, where=mask, casting="unsafe")


class Sprite:
    """A small picture of one object, drawn with polygons and copied to the canvas once."""

    def __init__(self, canvas: Canvas, points: np.ndarray, pad: float = 2) -> None:
        """`points`: (n, 2) canvas pixels whose bounding box, padded, holds the object."""
        low, high = points.min(axis=0) - pad, points.max(axis=0) + pad
        camera = canvas.camera
        self.canvas = canvas
        self.u0, self.v0 = (
            int(min(max(value, 0), limit)) for value, limit in zip(low, (camera.width, camera.height), strict=False)
        )
        self.u1, self.v1 = (
            int(min(max(value + 1, 0), limit))
            for value, limit in zip(high, (camera.width, camera.height), strict=False)
        )
        self.seen = self.u1 - self.u0 > 1 and self.v1 - self.v0 > 1
        if not self.seen:
            return
        size = (self.u1 - self.u0, self.v1 - self.v0)
        self._images = [Image.new("RGB", size), Image.new("L", size, EMPTY), Image.new("L", size)]
        self._draws = [ImageDraw.Draw(image) for image in self._images]

    def _local(self, points: np.ndarray) -> list[tuple[float, float]]:
        clipped = np.clip(np.asarray(points) - (self.u0, self.v0), -4000, 4000)
        return [(float(u), float(v)) for u, v in clipped]

    def polygon(self, points: np.ndarray, colour: Colour, label: int, glow: int = 0) -> None:
        """Fill the polygon given in canvas pixels."""
        local = self._local(points)
        for draw, fill in zip(self._draws, (tint(colour, 1), label, glow), strict=False):
            draw.polygon(local, fill=fill)

    def line(self, points: np.ndarray, colour: Colour, label: int, width: float) -> None:
        """Stroke a polyline of the given pixel width."""
        local = self._local(points)
        for draw, fill in zip(self._draws, (tint(colour, 1), label, 0), strict=False):
            draw.line(local, fill=fill, width=max(1, round(width)), joint="curve" if width > 5 else None)

    def ellipse(
        self, centre: np.ndarray, radius: tuple[float, float], colour: Colour, label: int, glow: int = 0
    ) -> None:
        """Fill an upright ellipse."""
        ((u, v),) = self._local(np.asarray(centre)[None])
        box = (u - radius[0], v - radius[1], u + radius[0], v + radius[1])
        for draw, fill in zip(self._draws, (tint(colour, 1), label, glow), strict=False):
            draw.ellipse(box, fill=fill)

    def blit(self, depth: float, instances: dict[int, int] | None = None, grain: float = 0.07, offset: int = 0) -> None:
        """Shade with noise and a fall-off towards the ground, then copy to the canvas."""
        colour, label, glow = (np.asarray(image) for image in self._images)
        height, width = label.shape
        shade = 1 + np.float32(grain) * patch("cloud", height, width, offset)
        shade *= np.linspace(1.07, 0.88, height, dtype=np.float32)[:, None]
        table = np.zeros(256, np.uint16)
        for key, value in (instances or {}).items():
            table[key] = value
        rgb = np.multiply(colour, shade[..., None], dtype=np.float32)
        np.minimum(rgb, 255, out=rgb)
        self.canvas.write(
            (self.u0, self.v0, self.u1, self.v1), rgb, label != EMPTY, label, depth, glow=glow, instance=table[label]
        )


def panel(
    canvas: Canvas,
    start: tuple[float, float],
    end: tuple[float, float],
    bottom: float,
    top: float,
    shader: Callable[[np.ndarray, np.ndarray, np.ndarray], Strip],
    label: int,
) -> None:
    """Draw an upright plane over the ground line start -> end ((x, z) metres) between two heights.

    The shader gets s (c,) metres along the line, y (r, c) height in metres, and pixels per metre (c,).
    """
    camera = canvas.camera
    (xa, za), (xb, zb) = [(x + camera.curve * z * z, z) for x, z in (start, end)]
    length = float(np.hypot(xb - xa, zb - za))
    cut_a = cut_b = 0.0
    if max(za, zb) <= NEAR or length == 0:
        return
    if za < NEAR:
        cut_a = (NEAR - za) / (zb - za)
    if zb < NEAR:
        cut_b = (NEAR - zb) / (za - zb)
    (xa, za), (xb, zb), s0, s1 = (
        (xa + cut_a * (xb - xa), za + cut_a * (zb - za)),
        (xb + cut_b * (xa - xb), zb + cut_b * (za - zb)),
        length * cut_a,
        length * (1 - cut_b),
    )
    ua, ub = camera.cx + camera.focal * xa / za, camera.cx + camera.focal * xb / zb
    u0, u1 = int(max(0, np.ceil(min(ua, ub) - 0.5))), int(min(camera.width, np.ceil(max(ua, ub) - 0.5)))
    if u1 <= u0:
        return
    columns = np.arange(u0, u1, dtype=np.float32) + np.float32(0.5)
    t = (columns - np.float32(ua)) / np.float32(ub - ua)
    inverse = np.float32(1 / za) + t * np.float32(1 / zb - 1 / za)
    s = (np.float32(s0 / za) + t * np.float32(s1 / zb - s0 / za)) / inverse
    pixels = np.float32(camera.focal) * inverse
    horizon = np.float32(camera.cy) + np.float32(camera.roll) * (columns - np.float32(camera.cx))
    v0 = int(max(0, np.floor((horizon + (camera.eye - top) * pixels).min())))
    v1 = int(min(camera.height, np.ceil((horizon + (camera.eye - bottom) * pixels).max()) + 1))
    if v1 <= v0:
        return
    rows = np.arange(v0, v1, dtype=np.float32)[:, None] + np.float32(0.5)
    y = np.float32(camera.eye) - (rows - horizon) / pixels
    strip = shader(s, y, pixels)
    inside = (y >= np.float32(bottom)) & (y < np.float32(top))
    canvas.write(
        (u0, v0, u1, v1),
        np.clip(strip.rgb, 0, 255, out=strip.rgb),
        strip.cover & inside,
        label,
        np.broadcast_to(1 / inverse, y.shape),
        strip.labelled & inside,
        strip.glow,
    )
