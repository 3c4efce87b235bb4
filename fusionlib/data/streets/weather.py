"""Weather and light: turn the plain picture of a scene into clear, fog, night, rain or snow."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .noise import patch
from .paint import Light

SKY = 10


def _blur(values: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of a float plane or picture in 0..255, through 8 bits."""
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def _small_light_map(shape: tuple[int, int], lights: list[Light], spread: float) -> np.ndarray:
    """Sum of lamp pools, (h/4, w/4, 3) enlarged to full shape; lights are in supersampled pixels."""
    height, width = shape[0] // 4, shape[1] // 4
    total = np.zeros((height, width, 3), np.float32)
    for light in lights:
        u, v = light.u / 8, light.v / 8
        radius = min(max(light.radius * spread / 8, 0.6), 24.0)
        reach = int(4 * radius) + 1
        u0, u1 = max(0, int(u) - reach), min(width, int(u) + reach + 1)
        v0, v1 = max(0, int(v) - reach), min(height, int(v) + reach + 1)
        if u1 <= u0 or v1 <= v0:
            continue
        du = (np.arange(u0, u1, dtype=np.float32) + 0.5 - u) / radius
        dv = (np.arange(v0, v1, dtype=np.float32)[:, None] + 0.5 - v) / radius
        square = du * du + dv * dv
        edge = np.clip(1 - square / 16, 0, 1)
        pool = edge * edge / (1 + square)
        total[v0:v1, u0:u1] += pool[..., None] * np.asarray(light.colour, np.float32) * np.float32(light.strength)
    picture = np.clip(total * 120, 0, 255).astype(np.uint8)
    return (
        np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32) / 120
    )


def fog(rgb: np.ndarray, depth: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Haze that thickens with depth, and hides the sky altogether."""
    reach = np.float32(rng.uniform(22, 60))
    colour = (np.array([196, 200, 204]) * rng.uniform(0.78, 1.08) + rng.normal(0, 4, 3)).astype(np.float32)
    ratio = depth / reach
    # A rational stand-in for exp(-ratio): same bytes on every processor.
    keep = 1 / (1 + ratio + 0.5 * ratio * ratio + 0.1667 * ratio * ratio * ratio)
    keep = np.where(labels == SKY, np.float32(0.04), keep) * (
        0.95 + 0.06 * patch("soft", *labels.shape, int(rng.integers(500)))  # pyright: ignore[reportCallIssue]
    )
    grey = rgb.mean(axis=2, keepdims=True)
    rgb = 0.72 * rgb + 0.28 * grey
    return rgb * keep[..., None] + colour * (1 - keep[..., None])


def night(
    rgb: np.ndarray,
    depth: np.ndarray,
    labels: np.ndarray,
    glow: np.ndarray,
    lights: list[Light],
    horizon: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Dim blue ambient, pools of lamp light, own headlights, lit windows and halos."""
    height, width = labels.shape
    grey = rgb.mean(axis=2, keepdims=True)
    base = 0.6 * rgb + 0.4 * grey
    ambient = np.array([0.105, 0.12, 0.165], np.float32) * np.float32(rng.uniform(0.75, 1.6))
    pool = _small_light_map(labels.shape, lights, 1.0)
    across = (np.arange(width, dtype=np.float32) - width / 2) / np.float32(0.26 * width)
    down = np.clip((np.arange(height, dtype=np.float32) - horizon) / (0.25 * height), 0, 1)[:, None]
    beam = (1 / (1 + across**4)) * down * 9 / (depth + 6)
    warm = np.array([1.0, 0.94, 0.8], np.float32)
    lit = base * (ambient + 0.75 * pool + 0.9 * beam[..., None] * warm)
    lit = np.where(
        (labels == SKY)[..., None],
        base * ambient * 0.45 + np.array([10, 11, 17], np.float32) * np.float32(rng.uniform(0.6, 1.8)),
        lit,
    )
    strength = glow.astype(np.float32)[..., None] / 255
    lit = lit + strength * rgb * np.array([0.80, 0.70, 0.50], np.float32)
    halo = _blur(np.clip(strength[..., 0] * 255, 0, 255), 5)[..., None] / 255
    lit = lit + halo * np.array([70, 56, 36], np.float32) + 46 * _small_light_map(labels.shape, lights, 0.5)
    # Film-like shoulder: lamps and headlit paint bleach softly instead of clipping.
    return lit * 1.25 / (1 + np.maximum(lit - 40, 0) / 420)


def rain(
    rgb: np.ndarray, depth: np.ndarray, labels: np.ndarray, horizon: float, rng: np.random.Generator
) -> np.ndarray:
    """Grey light, wet ground that mirrors what stands above it, mist and streaks."""
    height, width = labels.shape
    grey = rgb.mean(axis=2, keepdims=True)
    rgb = (0.7 * rgb + 0.3 * grey) * np.array([0.86, 0.90, 0.96], np.float32)
    sky = labels == SKY
    overcast = np.array([164, 170, 178], np.float32) * np.float32(rng.uniform(0.75, 1.15))
    rgb[sky] = 0.35 * rgb[sky] + 0.65 * overcast
    rows = np.clip(2 * horizon - np.arange(height), 0, height - 1).astype(np.int64)
    # Only uprights and sky are mirrored; smear runs along the columns, as ripples do it.
    mirror = Image.fromarray(np.clip(rgb[rows], 0, 255).astype(np.uint8))
    mirror = mirror.resize((width, max(height // 10, 1)), Image.Resampling.BOX).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    puddle = np.clip(
        0.62 + 0.75 * patch("cloud", height, width, int(rng.integers(500))).repeat(2, axis=1)[:, :width], 0.3, 0.92
    )
    ground = (labels == 0) + np.float32(0.55) * (labels == 1)
    wet = puddle * np.float32(rng.uniform(0.6, 1.0)) * ground
    wet *= 0.35 + 0.65 * np.minimum(depth / 22, 1)
    wet = wet[..., None]
    rgb = rgb * (1 - wet * 0.95) * (1 - 0.3 * (wet > 0)) + np.asarray(mirror, np.float32) * wet * 0.9
    mist = np.minimum(depth / np.float32(rng.uniform(120, 320)), 0.55)[..., None]
    rgb = rgb * (1 - mist) + overcast * mist
    drops = (patch("grain", height // 6 + 1, width, int(rng.integers(500))) > 0.72).astype(np.float32) * 255
    streak = np.asarray(
        Image.fromarray(drops.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR), np.float32
    )
    return rgb + streak[..., None] * np.float32(rng.uniform(0.04, 0.12))


def _lying(labels: np.ndarray, depth: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """0..1 snow on upper edges: pixels with something farther or different a little above."""
    lying = np.zeros(labels.shape, np.float32)
    holds = np.isin(labels, (2, 3, 4, 7, 8, 13, 14, 15, 16))
    for step, weight in ((1, 1.0), (2, 0.8), (3, 0.5), (4, 0.3)):
        edge = np.zeros(labels.shape, bool)
        edge[step:] = (depth[:-step] > depth[step:] * 1.12) | (instances[:-step] != instances[step:])
        np.maximum(lying, np.float32(weight) * (edge & holds), out=lying)
    return lying * np.where(depth > 60, np.float32(0.4), np.float32(1))


def snow(
    rgb: np.ndarray,
    depth: np.ndarray,
    labels: np.ndarray,
    instances: np.ndarray,
    street_x: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """White verges, dusted trees and roofs, wheel tracks on the road, haze and flakes; street_x (h, w) metres."""
    height, width = labels.shape
    grey = rgb.mean(axis=2, keepdims=True)
    rgb = (0.7 * rgb + 0.3 * grey) * np.array([0.96, 1.0, 1.05], np.float32)
    white = np.array([222, 227, 236], np.float32) * np.float32(rng.uniform(0.82, 1.06))
    texture = patch("cloud", height, width, int(rng.integers(500)))
    depth_of_snow = np.float32(rng.uniform(0.55, 1.0))
    track = np.abs(np.mod(street_x + np.float32(0.1), np.float32(1.75)) - np.float32(0.87))
    amount = np.zeros(labels.shape, np.float32)
    amount = np.where(
        labels == 0,
        np.clip(0.12 + 1.1 * np.clip((track - 0.28) * 4, 0, 1) * (0.5 + 0.6 * texture) + 0.3 * texture, 0, 0.9)
        * depth_of_snow,
        amount,
    )
    amount = np.where(labels == 1, np.clip(0.78 + 0.3 * texture, 0, 0.95) * depth_of_snow, amount)
    amount = np.where(labels == 9, np.clip(0.9 + 0.25 * texture, 0, 0.98) * np.maximum(depth_of_snow, 0.8), amount)
    leaf = patch("leaf", height, width, int(rng.integers(500)))
    amount = np.where(
        labels == 8,
        np.clip(0.25 + 0.7 * leaf, 0, 0.85) * depth_of_snow * np.clip((rgb[..., 1] - rgb[..., 2]) / 14, 0.15, 1),
        amount,
    )
    amount = np.maximum(amount, _lying(labels, depth, instances) * 0.92)[..., None]
    light = (0.72 + 0.3 * np.minimum(grey / 110, 1.2)) * (1 + 0.05 * leaf[..., None])
    rgb = rgb * (1 - amount) + white * light * amount
    sky = np.array([196, 202, 210], np.float32)
    veil = np.where(labels == SKY, np.float32(0.7), np.minimum(depth / np.float32(rng.uniform(90, 220)), 0.6))[
        ..., None
    ]
    rgb = rgb * (1 - veil) + sky * veil
    flakes = np.zeros(labels.shape, np.uint8)
    for count, size in ((int(rng.integers(300, 1200)), 1), (int(rng.integers(40, 160)), 2)):
        rows, columns = rng.integers(0, height - size, count), rng.integers(0, width - size, count)
        for down in range(size):
            for across in range(size):
                flakes[rows + down, columns + across] = 255
    fall = _blur(flakes, 0.7)[..., None] / 255
    return rgb + (240 - rgb) * np.minimum(fall * 0.9, 0.8)
