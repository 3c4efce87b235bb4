"""Draws vehicles: extruded bodies with windows, wheels and lights in perspective."""

from __future__ import annotations

import numpy as np

from .bodies import BUS, CAR, TRAIN, Body
from .paint import Canvas, Colour, Sprite, tint

GLASS: Colour = (44, 52, 60)
TYRE: Colour = (26, 26, 28)


class _Pose:
    """Vehicle coordinates to canvas pixels, and which faces look at the camera."""

    def __init__(self, canvas: Canvas, x: float, z: float, yaw: float) -> None:
        self.canvas, self.centre = canvas, np.array((x, z))
        self.cos, self.sin = float(np.cos(yaw)), float(np.sin(yaw))
        self.fine = canvas.camera.scale(z) > 22  # small details show from here on
        self.bend = 2 * canvas.camera.curve * z

    def world(self, points: np.ndarray) -> np.ndarray:
        world = np.array(points, float)
        x, z = world[..., 0].copy(), world[..., 2].copy()
        world[..., 0] = self.centre[0] + x * self.cos + z * self.sin
        world[..., 2] = self.centre[1] - x * self.sin + z * self.cos
        return world

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


def _draw_side(
    sprite: Sprite, pose: _Pose, body: Body, side: float, colour: Colour, cargo: Colour, light: float
) -> None:
    profile, label = body.profile, body.label
    flank = np.stack([side * profile[:, 2], profile[:, 1], profile[:, 0]], -1)
    sprite.polygon(pose.pixels(flank), tint(colour, light), label)
    widest = side * float(profile[:, 2].max())
    if body.cargo is not None:
        low, high, back = profile[0, 1], profile[1, 1], profile[0, 0]
        box = np.array(
            [
                (widest, low + 0.3, back),
                (widest, high, back),
                (widest, high, body.cargo),
                (widest, low + 0.3, body.cargo),
            ]
        )
        sprite.polygon(pose.pixels(box), tint(cargo, light), label)
    lower = np.array(
        [
            (widest, 0.3, -0.48 * body.length),
            (widest, 0.45, -0.48 * body.length),
            (widest, 0.45, 0.48 * body.length),
            (widest, 0.3, 0.48 * body.length),
        ]
    )
    sprite.polygon(pose.pixels(lower), tint(colour, 0.6 * light), label)
    height = profile[:, 1].max()
    if label == CAR and pose.fine:
        # Door seams, and a crease that catches less light below the belt line.
        for z in (-0.2, 0.02, 0.2):
            seam = np.array([(widest, 0.42, z * body.length), (widest, 0.6 * height, z * body.length)])
            sprite.line(
                pose.pixels(seam), tint(colour, 0.55 * light), label, 0.02 * pose.canvas.camera.scale(pose.centre[1])
            )
    for pane in body.side_glass:
        # Flanks lean in above the belt line, so panes follow the body's width at their height.
        lean = np.interp(pane[:, 1], (0.6 * height, height), (1.0, profile[len(profile) // 2, 2] / abs(widest)))
        sprite.polygon(
            pose.pixels(np.stack([widest * lean, pane[:, 1], pane[:, 0]], -1)),
            tint(GLASS, 0.8 + 0.4 * light),
            label,
            90 if label in (BUS, TRAIN) else 0,
        )
    for z, radius in body.wheels:
        sprite.polygon(pose.pixels(_circle(z, radius, widest)), TYRE, label)
        if not pose.fine:
            continue
        rim = _circle(z, 0.55 * radius, widest) + (0, 0.45 * radius, 0)
        sprite.polygon(pose.pixels(rim), (120, 122, 126), label)


def _draw_end(sprite: Sprite, pose: _Pose, body: Body, front: bool, braking: bool) -> None:
    """Lights, plate and tyres on the front or the rear."""
    profile, label = body.profile, body.label
    bottom, top = (profile[-1], profile[-2]) if front else (profile[0], profile[1])
    z, half = float(bottom[0]), float(bottom[2])
    rise = min(top[1] - bottom[1], 1.1)
    low = bottom[1] + (0.35 if front else 0.5) * rise
    hue, glow = ((214, 214, 204), 255) if front else ((205, 30, 28) if braking else (150, 26, 26), 200)
    if label == TRAIN:
        low = 0.6

    def quad(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
        return pose.pixels(np.array([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)]))

    sprite.polygon(quad(-half, half, bottom[1] - 0.14, bottom[1] + 0.1), (34, 34, 36), label)
    if body.wheels:
        for side in (-1, 1):
            sprite.polygon(quad(side * half * 0.95, side * half * 0.7, 0, bottom[1]), TYRE, label)
    if label == CAR and pose.fine:
        # Bumper top and lid seam break up the flat end.
        for height, thick in ((bottom[1] + 0.3 * rise, 0.03), (bottom[1] + 0.97 * rise, 0.05)):
            sprite.polygon(quad(-half * 0.97, half * 0.97, height, height + thick), (48, 48, 50), label)
    for side in (-1, 1):
        sprite.polygon(quad(side * half * 0.95, side * half * 0.66, low, low + 0.22 * max(rise, 0.7)), hue, label, glow)
        world = pose.world(np.array((side * 0.8 * half, low + 0.1, z)))
        colour = (1.0, 0.97, 0.86) if front else (1.0, 0.16, 0.1)
        pose.canvas.add_light(tuple(world), 0.9 if front else 0.5, colour, 1.0 if front else 0.5)
    if not pose.fine:
        return
    if front:
        sprite.polygon(quad(-half * 0.5, half * 0.5, bottom[1] + 0.12, low + 0.12), (40, 40, 44), label)
    sprite.polygon(quad(-0.24, 0.24, bottom[1] + 0.16, bottom[1] + 0.28), (215, 212, 200), label)


def draw_vehicle(
    canvas: Canvas,
    body: Body,
    x: float,
    z: float,
    yaw: float,
    colour: Colour,
    cargo: Colour,
    braking: bool,
    offset: int,
    instance: int,
) -> None:
    """A vehicle centred at (x, z); yaw 0 drives away from the camera, pi towards it (radians)."""
    camera = canvas.camera
    pose = _Pose(canvas, x, z, yaw)
    profile = body.profile
    corners = np.array(
        [
            (side * 1.02 * profile[:, 2].max(), y, end)
            for side in (-1, 1)
            for end in profile[[0, -1], 0]
            for y in (0.0, profile[:, 1].max())
        ]
    )
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
        sprite.polygon(
            pose.pixels(quad), tint(base, 0.86 + 0.32 * upness), body.label, 60 if glass and body.label > 14 else 0
        )
        if glass and pose.fine:
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
    return np.array(
        [
            (x + a * cos + b * sin, z - a * sin + b * cos)
            for a, b in ((-half, -end), (-half, end), (half, end), (half, -end))
        ]
    )
