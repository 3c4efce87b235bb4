"""Cars, vans, trucks, buses and trams as extruded bodies with windows, wheels and lights."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .paint import Canvas, Colour, Sprite, tint

CAR, TRUCK, BUS, TRAIN = 13, 14, 15, 16
GLASS: Colour = (44, 52, 60)
TYRE: Colour = (26, 26, 28)


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
    return tuple(np.array([(a + gap, low), (a + gap, high), (b - gap, high), (b - gap, low)])
                 for a, b in pairwise(edges))


def car_body(rng: np.random.Generator) -> Body:
    """Saloon, hatchback, estate or off-roader."""
    length, half = rng.uniform(3.8, 4.8), rng.uniform(0.84, 0.95)
    roof = rng.uniform(1.38, 1.78)
    deck = rng.choice([-0.33, -0.44, -0.47])
    top = deck + rng.uniform(0.06, 0.14)
    belt = 0.62 * roof
    rows = [(-0.5, 0.28, half), (-0.5, 0.52 * roof, half), (deck, belt, half * 0.97), (top, roof * 0.985, half * 0.78),
            (0.06, roof, half * 0.78), (0.24, belt, half * 0.96), (0.46, 0.5 * roof, half * 0.95), (0.5, 0.26, half * 0.95)]
    profile = np.array(rows) * (length, 1, 1)
    split = 0.5 * (top + 0.06) * length
    left, right = (deck + 0.05) * length, 0.2 * length
    glass = (np.array([(left, belt + 0.03), (top * length + 0.05, roof - 0.1), (split - 0.05, roof - 0.09),
                       (split - 0.05, belt + 0.03)]),
             np.array([(split + 0.05, belt + 0.03), (split + 0.05, roof - 0.09), (0.05 * length, roof - 0.09),
                       (right, belt + 0.03)]))
    return Body(CAR, length, profile, (2, 4), glass, ((-0.31 * length, 0.31), (0.31 * length, 0.31)))


def van_body(rng: np.random.Generator) -> Body:
    """Delivery van: counts as a car, and looks like a small truck or bus."""
    length, half, roof = rng.uniform(4.6, 5.8), 0.98, rng.uniform(1.9, 2.5)
    rows = [(-0.5, 0.32, half), (-0.5, roof, half * 0.93), (0.2, roof, half * 0.93), (0.36, 0.56 * roof, half * 0.97),
            (0.48, 0.46 * roof, half), (0.5, 0.3, half)]
    glass = _rows(length, 0.58 * roof, 0.86 * roof, 0.04, 0.24, 1)
    if rng.random() < 0.5:
        glass += _rows(length, 0.58 * roof, 0.86 * roof, -0.44, 0.02, 2)
    return Body(CAR, length, np.array(rows) * (length, 1, 1), (2,), glass, ((-0.3 * length, 0.34), (0.33 * length, 0.34)))


def truck_body(rng: np.random.Generator) -> Body:
    """Lorry: box behind, cab ahead."""
    length, half, roof = rng.uniform(6.5, 10.5), 1.22, rng.uniform(2.8, 3.7)
    cab = rng.uniform(2.3, min(2.9, roof))
    rows = [(-0.5, 0.65, half), (-0.5, roof, half), (0.28, roof, half), (0.29, cab, half * 0.95), (0.47, cab, half * 0.93),
            (0.5, 1.35, half * 0.95), (0.5, 0.4, half * 0.95)]
    glass = _rows(length, 1.45, cab - 0.35, 0.34, 0.45, 1)
    wheels = ((-0.33 * length, 0.47), (-0.2 * length, 0.47), (0.38 * length, 0.47))
    return Body(TRUCK, length, np.array(rows) * (length, 1, 1), (4,), glass, wheels, 0.28 * length)


def bus_body(rng: np.random.Generator) -> Body:
    """City bus or coach."""
    length, half, roof = rng.uniform(9.5, 12.5), 1.25, rng.uniform(2.9, 3.4)
    rows = [(-0.5, 0.4, half), (-0.5, 1.4, half), (-0.495, roof - 0.35, half * 0.98), (-0.48, roof, half * 0.93),
            (0.48, roof, half * 0.93), (0.495, roof - 0.4, half * 0.98), (0.5, 1.1, half), (0.5, 0.32, half)]
    glass = _rows(length, 1.25, roof - 0.55, -0.47, 0.47, int(rng.integers(5, 8)))
    return Body(BUS, length, np.array(rows) * (length, 1, 1), (1, 5), glass, ((-0.26 * length, 0.48), (0.32 * length, 0.48)))


def tram_body(rng: np.random.Generator) -> Body:
    """Tram car, longer and lower skirted than a bus."""
    length, half, roof = rng.uniform(14, 24), 1.2, rng.uniform(3.2, 3.6)
    rows = [(-0.5, 0.15, half * 0.8), (-0.5, 1.3, half * 0.85), (-0.47, roof - 0.3, half * 0.85), (-0.45, roof, half * 0.8),
            (0.45, roof, half * 0.8), (0.47, roof - 0.3, half * 0.85), (0.5, 1.3, half * 0.85), (0.5, 0.15, half * 0.8)]
    profile = np.array(rows) * (length, 1, 1)
    profile[2:6, 2] = half
    glass = _rows(length, 1.2, roof - 0.6, -0.43, 0.43, int(rng.integers(7, 11)))
    return Body(TRAIN, length, profile, (1, 5), glass, ())


class _Pose:
    """Vehicle coordinates to canvas pixels, and which faces look at the camera."""

    def __init__(self, canvas: Canvas, x: float, z: float, yaw: float) -> None:
        self.canvas, self.centre = canvas, np.array((x, z))
        self.cos, self.sin = float(np.cos(yaw)), float(np.sin(yaw))
        self.bend = 2 * canvas.camera.curve * z

    def world(self, points: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
        return np.stack([self.centre[0] + x * self.cos + z * self.sin, y, self.centre[1] - x * self.sin + z * self.cos], -1)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        return self.canvas.camera.project(self.world(points))

    def looks(self, face: np.ndarray, outward: tuple[float, float, float]) -> float:
        """Positive if a face with this outward normal (vehicle frame) is seen."""
        world = self.world(face).mean(axis=0)
        camera = self.canvas.camera
        nx = outward[0] * self.cos + outward[2] * self.sin
        nz = -outward[0] * self.sin + outward[2] * self.cos
        world[0] += camera.curve * world[2] ** 2
        nz -= nx * self.bend
        return float(-nx * world[0] + outward[1] * (camera.eye - world[1]) - nz * world[2])


def _circle(z: float, radius: float, x: float) -> np.ndarray:
    angle = np.arange(12) * np.pi / 6
    return np.stack([np.full(12, x), radius + radius * np.sin(angle), z + radius * np.cos(angle)], -1)


def _draw_side(sprite: Sprite, pose: _Pose, body: Body, side: float, colour: Colour, cargo: Colour, light: float) -> None:
    profile, label = body.profile, body.label
    flank = np.stack([side * profile[:, 2], profile[:, 1], profile[:, 0]], -1)
    sprite.polygon(pose.pixels(flank), tint(colour, light), label)
    widest = side * float(profile[:, 2].max())
    if body.cargo is not None:
        low, high, back = profile[0, 1], profile[1, 1], profile[0, 0]
        box = np.array([(widest, low + 0.3, back), (widest, high, back), (widest, high, body.cargo), (widest, low + 0.3, body.cargo)])
        sprite.polygon(pose.pixels(box), tint(cargo, light), label)
    lower = np.array([(widest, 0.3, -0.48 * body.length), (widest, 0.45, -0.48 * body.length),
                      (widest, 0.45, 0.48 * body.length), (widest, 0.3, 0.48 * body.length)])
    sprite.polygon(pose.pixels(lower), tint(colour, 0.6 * light), label)
    height = profile[:, 1].max()
    for pane in body.side_glass:
        # Flanks lean in above the belt line, so panes follow the body's width at their height.
        lean = np.interp(pane[:, 1], (0.6 * height, height), (1.0, profile[len(profile) // 2, 2] / abs(widest)))
        sprite.polygon(pose.pixels(np.stack([widest * lean, pane[:, 1], pane[:, 0]], -1)), tint(GLASS, 0.8 + 0.4 * light),
                       label, 90 if label in (BUS, TRAIN) else 0)
    for z, radius in body.wheels:
        sprite.polygon(pose.pixels(_circle(z, radius, widest)), TYRE, label)
        rim = _circle(z, 0.55 * radius, widest) + (0, 0.45 * radius, 0)
        sprite.polygon(pose.pixels(rim), (120, 122, 126), label)


def _draw_end(sprite: Sprite, pose: _Pose, body: Body, front: bool, braking: bool) -> None:
    """Lights, plate and tyres on the front or the rear."""
    profile, label = body.profile, body.label
    bottom, top = (profile[-1], profile[-2]) if front else (profile[0], profile[1])
    z, half = float(bottom[0]), float(bottom[2])
    rise = min(top[1] - bottom[1], 1.1)
    low = bottom[1] + (0.35 if front else 0.5) * rise
    hue, glow = ((236, 236, 220), 255) if front else ((205, 30, 28) if braking else (150, 26, 26), 200)
    if label == TRAIN:
        low = 0.6

    def quad(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
        return pose.pixels(np.array([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)]))

    sprite.polygon(quad(-half, half, bottom[1] - 0.14, bottom[1] + 0.1), (34, 34, 36), label)
    if body.wheels:
        for side in (-1, 1):
            sprite.polygon(quad(side * half * 0.95, side * half * 0.7, 0, bottom[1]), TYRE, label)
    for side in (-1, 1):
        sprite.polygon(quad(side * half * 0.95, side * half * 0.66, low, low + 0.22 * max(rise, 0.7)), hue, label, glow)
        world = pose.world(np.array((side * 0.8 * half, low + 0.1, z)))
        colour = (1.0, 0.97, 0.86) if front else (1.0, 0.16, 0.1)
        pose.canvas.add_light(tuple(world), 0.9 if front else 0.5, colour, 1.0 if front else 0.5)
    if front:
        sprite.polygon(quad(-half * 0.5, half * 0.5, bottom[1] + 0.12, low + 0.12), (40, 40, 44), label)
    sprite.polygon(quad(-0.24, 0.24, bottom[1] + 0.16, bottom[1] + 0.28), (215, 212, 200), label)


def draw_vehicle(canvas: Canvas, body: Body, x: float, z: float, yaw: float, colour: Colour, cargo: Colour,
                 braking: bool, offset: int, instance: int) -> None:
    """A vehicle centred at (x, z); yaw 0 drives away from the camera, pi towards it (radians)."""
    camera = canvas.camera
    pose = _Pose(canvas, x, z, yaw)
    profile = body.profile
    corners = np.array([(side * 1.02 * profile[:, 2].max(), y, end) for side in (-1, 1) for end in profile[[0, -1], 0]
                        for y in (0.0, profile[:, 1].max())])
    if pose.world(corners)[:, 2].min() < 2.2:
        return
    sprite = Sprite(canvas, pose.pixels(corners))
    if not sprite.seen or camera.scale(z) * profile[:, 1].max() < 4:
        return
    faces = []
    for index in range(len(profile) - 1):
        a, b = profile[index], profile[index + 1]
        quad = np.array([(-a[2], a[1], a[0]), (-b[2], b[1], b[0]), (b[2], b[1], b[0]), (a[2], a[1], a[0])])
        normal = (0.0, float(b[0] - a[0]), float(a[1] - b[1]))
        if pose.looks(quad, normal) > 0:
            faces.append((float(pose.world(quad)[:, 2].mean()), index, quad, normal))
    for _, index, quad, normal in sorted(faces, key=lambda face: -face[0]):
        upness = normal[1] / (abs(normal[1]) + abs(normal[2]) + 1e-9)
        glass = index in body.glazed
        base = GLASS if glass else (cargo if body.cargo is not None and index <= 1 else colour)
        sprite.polygon(pose.pixels(quad), tint(base, 0.86 + 0.32 * upness), body.label, 60 if glass and body.label > 14 else 0)
        if glass:
            inner = quad.mean(axis=0) + (quad - quad.mean(axis=0)) * (0.6, 0.5, 0.5)
            sprite.polygon(pose.pixels(inner), tint(GLASS, 1.35), body.label)
    for side in (-1.0, 1.0):
        if pose.looks(np.array([(side * profile[0, 2], 0.5, 0.0)]), (side, 0.0, 0.0)) > 0:
            _draw_side(sprite, pose, body, side, colour, cargo, canvas.side_light(side * pose.cos) - 0.05)
    for front in (False, True):
        end = float(profile[-1 if front else 0, 0])
        if pose.looks(np.array([(0.0, 0.5, end)]), (0.0, 0.0, 1.0 if front else -1.0)) > 0:
            _draw_end(sprite, pose, body, front, braking)
    sprite.blit(z, {body.label: instance}, grain=0.09, offset=offset)


def footprint(body: Body, x: float, z: float, yaw: float, grow: float) -> np.ndarray:
    """Ground polygon (4, 2) under a vehicle, grown by so many metres."""
    half, end = body.profile[:, 2].max() + grow, body.length / 2 + grow
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([(x + a * cos + b * sin, z - a * sin + b * cos)
                     for a, b in ((-half, -end), (-half, end), (half, end), (half, -end))])
