"""Seed in, street scene out: picture, labels and instances of one synthetic photograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from . import weather
from .camera import Camera
from .layout import build_scene
from .paint import Canvas

VERSION = 3  # raise it when pixels change: it is part of content keys
_STREAM = 1  # first word of every seed; not VERSION, so that a retouch keeps the layouts
DOMAINS = ("clear", "fog", "night", "rain", "snow")
VOID = 255


@dataclass(frozen=True)
class Scene:
    """image (h, w, 3) uint8 RGB; labels (h, w) uint8 train ids 0..18 or 255 = ignored; instances (h, w) uint16,
    0 = none, else unique per person, rider and vehicle."""

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


def _camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    curve = float(rng.choice([0, 0, 1, -1]) * rng.uniform(0.0004, 0.0022))
    wide, tall = 2 * width, 2 * height
    return Camera(
        wide,
        tall,
        float(rng.uniform(0.72, 1.0)) * wide,
        (0.5 + float(rng.uniform(-0.07, 0.07))) * wide,
        float(rng.uniform(0.39, 0.5)) * tall,
        float(rng.normal(0, 0.012)),
        float(rng.uniform(1.25, 1.75)),
        curve,
    )


def _develop(rgb: np.ndarray, rng: np.random.Generator, domain: str, cast: np.ndarray, gain: float) -> np.ndarray:
    """Camera effects: cast, exposure, vignette, softness and sensor noise; float in, uint8 out."""
    height, width, _ = rgb.shape
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    vignette = 1 - np.float32(rng.uniform(0.06, 0.17)) * (across * across + down * down)
    rgb = rgb * (cast * np.float32(gain)).astype(np.float32) * vignette[..., None]
    lift = np.float32(rng.uniform(2, 14))
    contrast = np.float32(rng.uniform(0.86, 1.08))
    rgb = (rgb - 110) * contrast + 110 + lift if domain != "night" else rgb
    level = rng.uniform(2.0, 5.0) * (1.7 if domain == "night" else 1.0)
    fine = rng.integers(-128, 128, (height, width, 3), dtype=np.int8).astype(np.float32)
    rgb = rgb + fine * np.float32(level / 74) + np.float32(0.5)
    image = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
    return np.array(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.25, 0.6)))))


def render_scene(seed: int, domain: str = "clear", *, height: int = 256, width: int = 512) -> Scene:
    """Render the scene of a seed under one of DOMAINS.

    Layout, labels and instances depend on the seed (and size) only; the domain changes appearance.
    The same arguments give the same bytes. Raises ValueError for an unknown domain.
    """
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; valid domains: {', '.join(DOMAINS)}")
    rng = np.random.default_rng(np.random.SeedSequence([int(seed), _STREAM, 7]))
    camera = _camera(rng, height, width)
    sun_x, power = float(rng.uniform(-1, 1)), float(rng.choice([0.0, 0.35, 0.8, 1.0]))
    cast = np.clip(rng.normal(1, 0.03, 3), 0.92, 1.08)
    gain = float(rng.uniform(0.95, 1.32))
    canvas = Canvas(camera, (sun_x, power if domain == "clear" else 0.0))
    build_scene(canvas, rng)
    if domain != "clear":
        gain = 1 + 0.5 * (gain - 1.1)
    air = np.random.default_rng(np.random.SeedSequence([int(seed), _STREAM, 100 + DOMAINS.index(domain)]))
    # Instances and labels keep one of the four samples of a pixel: averaging would invent classes.
    labels, instances = canvas.label[1::2, ::2].copy(), canvas.instance[1::2, ::2].copy()
    depth, glow = canvas.depth[1::2, ::2], canvas.glow[1::2, ::2]
    rgb = np.asarray(Image.fromarray(np.ascontiguousarray(canvas.rgb)).reduce(2), np.float32)
    horizon = camera.cy / 2
    if domain == "fog":
        rgb = weather.fog(rgb, depth, labels, air)
    elif domain == "night":
        rgb = weather.night(rgb, depth, labels, glow, canvas.lights, horizon, air)
    elif domain == "rain":
        rgb = weather.rain(rgb, depth, labels, horizon, air)
    elif domain == "snow":
        street_x = np.zeros(labels.shape, np.float32)
        first = int(max(0, horizon - 2)) * 2
        street_x[first // 2 :] = camera.ground(first)[0][1::2, ::2]
        rgb = weather.snow(rgb, depth, labels, instances, street_x, air)
    return Scene(_develop(rgb, air, domain, cast, gain), labels, instances)
