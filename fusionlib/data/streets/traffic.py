"""Who uses the street: parked and moving vehicles, riders, parked bicycles and pedestrians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import bodies as D
from . import people as P
from . import vehicles as V
from .paint import Colour
from .plan import CAR_COLOURS

if TYPE_CHECKING:
    from .layout import Scenery


def _paint_colour(rng: np.random.Generator) -> Colour:
    return tuple(
        np.clip(CAR_COLOURS[rng.integers(len(CAR_COLOURS))] * rng.uniform(0.8, 1.2) + rng.normal(0, 4, 3), 8, 240)
    )


def _place(scene: Scenery, body: D.Body, x: float, z: float, yaw: float) -> None:
    rng = scene.rng
    bright = (
        tuple(0.6 * rng.uniform(40, 220, 3) + 0.4 * rng.uniform(60, 210))
        if rng.random() < 0.5
        else tuple(rng.uniform(120, 225) + rng.normal(0, 8, 3))
    )
    colour = _paint_colour(rng) if body.label == D.CAR else bright
    cargo = tuple(np.clip(rng.uniform(90, 225) + rng.normal(0, 12, 3), 20, 240))
    near = z - (body.length / 2 if abs(np.sin(yaw)) < 0.5 else 1.0)
    braking, offset = bool(rng.random() < 0.5), int(rng.integers(500))
    if near < 4.5:
        return
    scene.add(near + 0.5, V.draw_vehicle, body, x, z, yaw, colour, cargo, braking, offset, scene.canvas.new_instance())
    shadows = scene.plan.ground.shadows
    for grow, dark in ((0.35, 0.28), (0.15, 0.5), (-0.05, 0.78)):
        shadows.append((V.footprint(body, x, z, yaw, grow), dark))
    if scene.canvas.sun_power > 0:
        throw = -scene.canvas.sun_x * body.profile[:, 1].max() * 1.1
        shadows.append((V.footprint(body, x + throw / 2, z + 0.3, yaw, abs(throw) / 3), 0.45 * scene.canvas.sun_power))


def _random_body(rng: np.random.Generator) -> D.Body:
    pick = rng.random()
    if pick < 0.80:
        return D.car_body(rng)
    if pick < 0.91:
        return D.van_body(rng)
    return D.truck_body(rng) if pick < 0.965 else D.bus_body(rng)


def _add_moving(scene: Scenery) -> None:
    rng, plan = scene.rng, scene.plan
    busy = float(rng.uniform(0.15, 0.9))
    for x, same in plan.lanes:
        z = float(rng.uniform(7, 26))
        while z < 110:
            body = _random_body(rng)
            rider = rng.random() < 0.14
            on_track = plan.tram is not None and abs(x - plan.tram) < 0.5
            if rng.random() < busy:
                yaw = (0.0 if same else np.pi) + float(rng.normal(0, 0.02))
                at = x + float(rng.normal(0, 0.2))
                if rider:
                    kind = P.MOTORCYCLE if rng.random() < 0.45 else P.BICYCLE
                    _add_rider(scene, at + float(rng.uniform(-1, 1)), z, kind)
                elif on_track and rng.random() < 0.6:
                    body = D.tram_body(rng)
                    _place(scene, body, x, z + body.length / 2, yaw)
                    z += body.length
                else:
                    _place(scene, body, at, z + body.length / 2, yaw)
            z += body.length + float(rng.exponential(9) + 3)
    if plan.crossing and rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            body = D.car_body(rng) if rng.random() < 0.8 else D.truck_body(rng)
            lane = float(rng.choice([-1.8, 1.8]))
            at = float(rng.uniform(-18, 18))
            if scene.free(at, plan.crossing + lane, 2.5):
                _place(scene, body, at, plan.crossing + lane, np.pi / 2 * np.sign(-lane))


def _add_rider(scene: Scenery, x: float, z: float, kind: int) -> None:
    canvas = scene.canvas
    ids = {kind: canvas.new_instance(), P.RIDER: canvas.new_instance()}
    scene.add(z, P.draw_two_wheeler, x, z, kind, True, _branch(scene), ids)
    scene.plan.ground.shadows.append(
        (np.array([(x - 0.35, z - 0.7), (x - 0.35, z + 0.7), (x + 0.35, z + 0.7), (x + 0.35, z - 0.7)]), 0.5)
    )
    scene.shadow(x, z, 0.3, 1.7)


def _branch(scene: Scenery) -> np.random.Generator:
    # Figures are drawn later, far to near; their own stream keeps that order out of the layout's stream.
    return np.random.default_rng(int(scene.rng.integers(1 << 62)))


def _add_parked(scene: Scenery) -> None:
    rng, plan = scene.rng, scene.plan
    for index, bay in enumerate(plan.bay):
        if bay == 0:
            continue
        full = float(rng.uniform(0.25, 0.95))
        z = float(rng.uniform(3, 10))
        while z < 90:
            body = D.van_body(rng) if rng.random() < 0.13 else D.car_body(rng)
            if rng.random() < 0.04:
                body = D.truck_body(rng)
            blocked = plan.crossing is not None and abs(z + body.length / 2 - plan.crossing) < 10
            if rng.random() < full and not blocked:
                yaw = (np.pi if index == 0 and rng.random() < 0.8 else 0.0) + float(rng.normal(0, 0.02))
                _place(scene, body, bay + float(rng.normal(0, 0.1)), z + body.length / 2, yaw)
            z += body.length + float(rng.uniform(0.6, 2.2))


def add_traffic(scene: Scenery) -> None:
    """Vehicles in lanes, bays and the side street."""
    _add_moving(scene)
    _add_parked(scene)


def add_people(scene: Scenery) -> None:
    """Pedestrians on pavements and crossings; parked two-wheelers; cyclists at the kerb."""
    rng, plan = scene.rng, scene.plan
    crowd = float(rng.choice([1.0, 3.0, 7.0])) * {"city": 1.0, "avenue": 0.7, "suburb": 0.4, "open": 0.15}[plan.style]
    for index in range(2):
        inner, outer = sorted(plan.walk[index])
        for _ in range(int(rng.poisson(crowd))):
            x, z = float(rng.uniform(inner, max(outer, inner + 0.5))), float(4.5 + rng.exponential(18))
            pair = rng.random() < 0.3
            for extra in (0.0, 0.6) if pair else (0.0,):
                _add_person(scene, x + extra, z + 0.2 * extra)
        for _ in range(int(rng.poisson(0.5))):
            kind = P.MOTORCYCLE if rng.random() < 0.35 else P.BICYCLE
            side = -1.0 if index == 0 else 1.0
            for number in range(int(rng.integers(1, 4))):
                z = float(rng.uniform(6, 30)) + number
                at = plan.edge[index] + side * float(rng.uniform(0.6, 1.6))
                scene.add(
                    z, P.draw_two_wheeler, at, z, kind, False, _branch(scene), {kind: scene.canvas.new_instance()}
                )
    if plan.ground.zebra is not None:
        for _ in range(int(rng.integers(0, 6))):
            _add_person(
                scene, float(rng.uniform(plan.edge[0], plan.edge[1])), plan.ground.zebra + float(rng.uniform(0.4, 3))
            )
    if rng.random() < 0.22:
        side = int(rng.integers(2))
        z = float(rng.uniform(7, 30))
        _add_rider(scene, plan.edge[side] * 0.8, z, P.BICYCLE)


def _add_person(scene: Scenery, x: float, z: float) -> None:
    if z < 3.5:
        return
    scene.add(z, P.draw_person, x, z, _branch(scene), scene.canvas.new_instance())
    around = np.array([(x - 0.3, z - 0.25), (x - 0.3, z + 0.25), (x + 0.3, z + 0.25), (x + 0.3, z - 0.25)])
    scene.plan.ground.shadows.append((around, 0.35))
    scene.shadow(x, z, 0.22, 1.7)
