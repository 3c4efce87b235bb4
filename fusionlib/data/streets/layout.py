"""What stands where: fills a street plan with objects and paints them far to near."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import buildings as B
from . import furniture as F
from . import plants as T
from .ground import ego_hood, paint_ground, paint_sky
from .paint import Canvas, Colour, panel
from .plan import CAR_COLOURS, Plan, grey, make_plan
from .traffic import add_people, add_traffic

_WALLS = np.array(
    [
        (178, 168, 150),
        (196, 184, 156),
        (150, 92, 74),
        (128, 78, 66),
        (140, 138, 134),
        (206, 202, 194),
        (112, 112, 116),
        (186, 150, 112),
        (164, 176, 180),
        (204, 178, 140),
        (92, 88, 86),
        (150, 158, 140),
    ],
    float,
)


SIGN_COLOURS = {"blue": (30, 80, 160), "diamond": (226, 190, 50), "square": (34, 90, 160), "octagon": (170, 30, 36)}
"""By shape; all others are red."""


class Scenery:
    """Collects drawing orders with their depth, then carries them out from far to near."""

    def __init__(self, canvas: Canvas, plan: Plan, rng: np.random.Generator) -> None:
        self.canvas, self.plan, self.rng = canvas, plan, rng
        self._orders: list[tuple[float, Callable[[], None]]] = []
        self.taken: list[tuple[float, float, float]] = []  # x, z, reach of things on the ground
        green = np.array([(84, 112, 50), (104, 120, 56), (66, 92, 52), (136, 120, 54), (150, 98, 50)], float)
        self.leaves = green[rng.choice(5, p=(0.35, 0.25, 0.25, 0.1, 0.05))] * rng.uniform(0.75, 1.2)
        self.bark: Colour = grey(rng, 52, 92, 6)
        self.metal: Colour = grey(rng, 60, 150, 4)
        self.light = 1 + 0.15 * canvas.sun_power

    def add(self, z: float, order: Callable[..., None], *args: object) -> None:
        """Draw order(canvas, *args) when its depth comes."""
        self._orders.append((z, lambda: order(self.canvas, *args)))

    def paint(self) -> None:
        """Carry out all orders."""
        for _, order in sorted(self._orders, key=lambda item: -item[0]):
            order()

    def shadow(self, x: float, z: float, half: float, height: float, dark: float = 0.5) -> None:
        """Cast shadow of an upright thing, thrown sideways by the sun; vanishes under an overcast sky."""
        if self.canvas.sun_power <= 0:
            return
        throw = -self.canvas.sun_x * height * 1.1
        back = 0.45 * height
        polygon = np.array(
            [(x - half, z - half), (x + half, z - half), (x + half + throw, z + back), (x - half + throw, z + back)]
        )
        self.plan.ground.shadows.append((polygon, dark * self.canvas.sun_power))

    def free(self, x: float, z: float, reach: float) -> bool:
        """True, and the place is taken, if nothing else stands within reach."""
        for other_x, other_z, other in self.taken:
            if abs(other_x - x) < 1.6 and abs(other_z - z) < reach + other:
                return False
        self.taken.append((x, z, reach))
        return True


def _blob(rng: np.random.Generator, count: int = 5) -> np.ndarray:
    around = rng.uniform(-0.45, 0.45, (count, 2))
    return np.column_stack([around, rng.uniform(0.42, 0.62, count)])


def _wall_colour(rng: np.random.Generator) -> Colour:
    return tuple(np.clip(_WALLS[rng.integers(len(_WALLS))] * rng.uniform(0.75, 1.12) + rng.normal(0, 6, 3), 20, 240))


def add_buildings(scene: Scenery) -> None:
    """Rows of houses on both sides, with gaps at the side street."""
    rng, plan = scene.rng, scene.plan
    if plan.style == "open":
        _add_backdrop(scene)
        return
    for index, side in enumerate((-1.0, 1.0)):
        line = plan.front[index]
        z = float(rng.uniform(-6, 2))
        hidden = 0.0
        level = float(rng.uniform(9, 19)) if plan.style != "suburb" else 5.5
        while z < 130:
            width = float(rng.uniform(8, 24)) if plan.style != "suburb" else float(rng.uniform(8, 14))
            if plan.crossing and z < plan.crossing + 7 and z + width > plan.crossing - 7:
                z = plan.crossing + 7.5
                width, hidden = max(width, 9.0), 0.0
            height = max(3.2, level + float(rng.normal(0, 2.5 if plan.style != "suburb" else 0.7)))
            pitched = plan.style == "suburb" or rng.random() < 0.35
            style = B.random_facade(rng, height, _wall_colour(rng), plan.style != "suburb" and rng.random() < 0.55)
            roof = float(rng.uniform(2, 4)) if pitched else 0.0
            tiles = tuple(
                np.array([(120, 66, 52), (74, 70, 70), (96, 88, 84)][rng.integers(3)]) * rng.uniform(0.7, 1.15)
            )
            setback = float(rng.uniform(0, 1.2)) if rng.random() < 0.3 else 0.0
            scene.add(
                z + width,
                B.draw_building,
                style,
                line + side * setback,
                z,
                z + width,
                float(rng.uniform(9, 14)),
                roof,
                tiles,
                hidden,
            )
            if scene.canvas.sun_power > 0 and side * scene.canvas.sun_x > 0.1:
                reach = line - side * min(height * 0.75 * abs(scene.canvas.sun_x), 14)
                polygon = np.array([(line, z), (line, z + width), (reach, z + width + 3), (reach, z + 3)])
                plan.ground.shadows.append((polygon, 0.42 * scene.canvas.sun_power))
            gap = rng.random() < {"city": 0.08, "avenue": 0.2, "suburb": 0.95}[plan.style]
            z += width + (float(rng.uniform(3, 10)) if gap else 0.0)
            hidden = 0.0 if gap or setback else height
    _add_backdrop(scene)


def _add_backdrop(scene: Scenery) -> None:
    """Closes the view: a far block or a line of trees."""
    rng, far = scene.rng, 170.0
    if scene.plan.style in ("city", "avenue") and rng.random() < 0.6:
        for x in np.arange(-70, 70, 18.0):
            style = B.random_facade(rng, float(rng.uniform(9, 24)), _wall_colour(rng), False)
            shader = B.facade_shader(style, 0.85)
            scene.add(far, panel, (x, far), (x + 18.0, far), 0, style.height, shader, B.BUILDING)
    for x0, x1, height in (
        (-150, 150, rng.uniform(5, 13)),
        (-130, -20, rng.uniform(4, 12)),
        (20, 130, rng.uniform(4, 12)),
    ):
        z = far - 8 if x0 == -150 else float(rng.uniform(70, 130))
        if x0 != -150 and scene.plan.style in ("city",):
            continue
        shader = B.hedge_shader(tuple(scene.leaves * 0.85), float(height), 0.45, 0.9, int(rng.integers(500)))
        scene.add(z, panel, (x0, z), (x1, z), 0, float(height) * 1.1, shader, B.VEGETATION)
    if scene.plan.style == "open" and rng.random() < 0.7:
        for _ in range(int(rng.integers(1, 5))):
            x, z = float(rng.choice([-1, 1]) * rng.uniform(16, 45)), float(rng.uniform(45, 120))
            style = B.random_facade(rng, float(rng.uniform(4, 9)), _wall_colour(rng), False)
            scene.add(z + 12, B.draw_building, style, x, z, z + 12, 10.0, 3.0, (110, 72, 60), 0.0)


def add_boundaries(scene: Scenery) -> None:
    """Walls, fences and hedges along the outer edge of the pavements."""
    rng, plan = scene.rng, scene.plan
    for index, side in enumerate((-1.0, 1.0)):
        line = plan.walk[index][1] + side * 0.25
        chance = {"city": 0.1, "avenue": 0.35, "suburb": 0.9, "open": 0.75}[plan.style]
        if rng.random() > chance:
            continue
        if plan.style == "city":
            line = plan.edge[index] + side * 0.4
        kind = str(
            rng.choice(["wall", "bars", "mesh", "boards", "rail", "hedge"], p=(0.32, 0.16, 0.13, 0.11, 0.11, 0.17))
        )
        z = float(rng.uniform(0, 12))
        light = 0.95 * scene.canvas.side_light(-side)
        while z < 80:
            end = z + float(rng.uniform(8, 26))
            if plan.crossing and end > plan.crossing - 6 and z < plan.crossing + 6:
                z = plan.crossing + 6.5
                continue
            offset = int(rng.integers(500))
            if kind == "wall":
                height = float(rng.uniform(1.2, 2.8)) if plan.style != "city" else 0.9
                shader, label = B.wall_shader(_wall_colour(rng), height, rng.random() < 0.4, light, offset), B.WALL
            elif kind == "hedge":
                height = float(rng.uniform(0.8, 2.0))
                shader, label = B.hedge_shader(tuple(scene.leaves), height, 0.1, light, offset), B.VEGETATION
            else:
                height = float(rng.uniform(0.8, 1.9)) if kind != "rail" else 0.85
                colour = tuple(np.array((118, 88, 62)) * rng.uniform(0.6, 1.4)) if kind == "boards" else scene.metal
                shader, label = B.fence_shader(colour, height, kind, light, offset), B.FENCE
            # A boundary is cut into bays so that things beside it sort correctly by depth.
            scene.add(end, panel, (line, z), (line, end), 0, height, shader, label)
            z = end + (float(rng.uniform(2, 6)) if rng.random() < 0.5 else 0)


def add_furniture(scene: Scenery) -> None:
    """Trees, lamps, signs, posts and signals along both kerbs."""
    for index, side in enumerate((-1.0, 1.0)):
        kerb = scene.plan.edge[index] + side * 0.75
        _add_trees(scene, index, side, kerb)
        _add_lamps(scene, side, kerb)
        _add_signs(scene, side, kerb)
        for _ in range(int(scene.rng.integers(0, 5))):
            z = float(scene.rng.uniform(5, 50))
            scene.add(z, F.draw_pole, kerb - side * 0.3, z, float(scene.rng.choice([0.9, 1.0, 6.5])), 0.13, scene.metal)
        _add_signals(scene, index, side)


def _add_trees(scene: Scenery, index: int, side: float, kerb: float) -> None:
    rng, plan = scene.rng, scene.plan
    density = {"city": 0.35, "avenue": 0.95, "suburb": 0.6, "open": 0.6}[plan.style]
    step, first = float(rng.uniform(7, 13)), float(rng.uniform(3, 11))
    for z in np.arange(first, 95, step):
        if (plan.crossing and abs(z - plan.crossing) < 8) or rng.random() > density:
            continue
        away = kerb if plan.style in ("city", "avenue") else plan.walk[index][1] + side * float(rng.uniform(0.8, 9))
        _add_tree(scene, away, float(z + rng.normal(0, 0.8)))


def _add_lamps(scene: Scenery, side: float, kerb: float) -> None:
    rng = scene.rng
    for z in np.arange(float(rng.uniform(6, 24)), 110, float(rng.uniform(17, 30))):
        height, arm = float(rng.uniform(5, 8.5)), -side * float(rng.uniform(0.8, 2.2))
        scene.add(float(z), F.draw_lamp, kerb - side * 0.2, float(z), height, arm, scene.metal)
        scene.shadow(kerb, float(z), 0.1, 7.0, 0.3)


def _add_signs(scene: Scenery, side: float, kerb: float) -> None:
    rng = scene.rng
    for _ in range(int(rng.integers(1, 6))):
        z = float(rng.uniform(6, 60))
        shape = str(rng.choice(F.SHAPES))
        colour = SIGN_COLOURS.get(shape, (186, 34, 40))
        accent = ((26, 84, 60), (32, 70, 140), (200, 170, 40))[int(rng.integers(3))]
        height, radius = float(rng.uniform(2.0, 3.0)), float(rng.uniform(0.3, 0.45))
        scene.add(z, F.draw_sign, kerb - side * 0.25, z, height, shape, radius, colour, accent)


def _add_signals(scene: Scenery, index: int, side: float) -> None:
    """One before the crossing, perhaps on an arm over the road, and one behind it."""
    rng, plan = scene.rng, scene.plan
    if not (plan.crossing or (plan.ground.zebra and rng.random() < 0.6)):
        return
    stop = plan.crossing - 6 if plan.crossing else float(plan.ground.zebra or 0.0)
    reach = -side * float(rng.uniform(2.5, 4.5)) if rng.random() < 0.4 else 0.0
    state, x = int(rng.integers(3)), plan.edge[index] + side * 0.5
    scene.add(stop, F.draw_traffic_light, x, stop, float(rng.uniform(2.6, 3.4)), state, scene.metal, reach)
    scene.add(stop + 13, F.draw_traffic_light, x, stop + 13, 2.9, state, scene.metal, 0.0)


def _add_tree(scene: Scenery, x: float, z: float) -> None:
    rng = scene.rng
    height = float(rng.uniform(4.5, 10))
    spread = height * float(rng.uniform(0.24, 0.4))
    colour = tuple(np.clip(scene.leaves * rng.uniform(0.8, 1.2) + rng.normal(0, 4, 3), 10, 230))
    if rng.random() < 0.15:
        scene.add(z, T.draw_bush, x, z, float(rng.uniform(0.8, 2.0)), colour, _blob(rng, 3), int(rng.integers(500)))
    elif z > 4.5:
        scene.add(
            z,
            T.draw_tree,
            x,
            z,
            height,
            spread,
            colour,
            scene.bark,
            _blob(rng),
            float(rng.uniform(0.1, 0.5)),
            int(rng.integers(500)),
        )
        scene.shadow(x, z, 0.45 * spread, height, 0.4)


def build_scene(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a whole scene on an empty canvas; consumes rng the same way whatever the weather."""
    plan = make_plan(rng)
    tone = rng.uniform(0.95, 1.2)
    top = np.array([(92, 132, 190), (120, 150, 186), (150, 158, 168), (110, 140, 200)][rng.integers(4)]) * tone
    low = np.array([(196, 206, 214), (214, 208, 196), (206, 208, 210), (224, 204, 180)][rng.integers(4)]) * min(
        tone, 1.1
    )
    cover = float(rng.uniform(0.0, 0.7))
    if canvas.sun_power == 0:
        cover = 0.9
    paint_sky(canvas, tuple(top), tuple(low), cover, int(rng.integers(500)))
    scene = Scenery(canvas, plan, rng)
    add_buildings(scene)
    add_boundaries(scene)
    add_traffic(scene)
    add_furniture(scene)
    add_people(scene)
    paint_ground(canvas, plan.ground)
    scene.paint()
    if rng.random() < 0.3:
        ego_hood(canvas, tuple(CAR_COLOURS[rng.integers(len(CAR_COLOURS))]), float(rng.uniform(0.04, 0.1)))
