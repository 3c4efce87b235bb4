"""What Git Re-Basin does to the barriers: the path from the anchor to every other checkpoint, before and after its
units are matched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.permuting import Moves
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.recipe import Recipe
from fusionlib.contracts import Architecture, MergeMethod, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import label_space
from fusionlib.diagnostics.barrier import MODES, barrier
from fusionlib.engine.blend import CALIBRATION_PICTURES, Blend
from fusionlib.engine.identity import runs_of
from fusionlib.engine.jobs import Job
from fusionlib.engine.measure import DEFAULT_METERS, Measurement
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.statistics import find
from fusionlib.engine.worker import Worker
from fusionlib.errors import DataError, UsageError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.merging.linear import Linear
from fusionlib.runs.keys import content_key, mixture_key
from fusionlib.runs.store import Store
from fusionlib.studio.calibrate import CALIBRATION_METERS

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where the paths are measured, alpha being the anchor's weight; the ends are the networks themselves, with their own
statistics.
"""

Pair = tuple[Arena, Arena]
"""The anchor and another checkpoint, as it is and with its units in the anchor's order."""


@dataclass(frozen=True)
class Ground:
    """What paths are measured with: labelled pictures, the network, a buffer policy (`count` pictures for
    `recalibrate`), the device.
    """

    pictures: DecodedCache
    architecture: tuple[Architecture, int]
    buffers: str
    worker: Worker
    store: Store
    device: torch.device
    precision: str = "float32"
    count: int = CALIBRATION_PICTURES

    @cached_property
    def data(self) -> str:
        """Content key of the pictures, which takes a look at every file."""
        return self.pictures.fingerprint()

    @cached_property
    def runs(self) -> dict[str, Any]:
        """What runs, for content keys."""
        return runs_of([self.architecture], self.pictures.label_space, self.precision, self.device)

    def key(self, pair: Pair, after: bool, alpha: float, meters: Sequence[str] = DEFAULT_METERS) -> str:
        """Content key of a point, the very one that sweeps, diagnoses and `evaluate` ask for; the ends are the same
        before and after.
        """
        if alpha in (0.0, 1.0):
            mixture: Mapping[str, Any] = {"single": pair[0].fingerprints[0 if alpha else 1]}
        else:
            more: dict[str, Any] = {"dtypes": pair[after].widened} if pair[after].widened else {}
            more |= {"calibration": self.data, "count": self.count} if self.buffers == "recalibrate" else {}
            mixture = mixture_key(pair[after].fingerprints, Linear(alpha).shares(2), self.buffers, **more)
        return content_key("evaluation", self.runs, mixture=mixture, data=self.data, meters=tuple(meters))

    def known(self, pair: Pair, after: bool, alpha: float) -> dict[str, Any] | None:
        """The figures of a point where they are stored, whichever meters came with them."""
        found = (
            self.store.get(self.key(pair, after, alpha, meters)) for meters in (DEFAULT_METERS, CALIBRATION_METERS)
        )
        return next((figures for figures in found if figures is not None), None)


def moves_units(method: MergeMethod) -> bool:
    """Whether a method brings the units of all checkpoints into the anchor's order."""
    return "permutation" in method.statistics


def rebasin_barriers(
    method: MergeMethod, arena: Arena, ground: Ground, progress: Progress | None = None, *, fresh: bool = False
) -> list[dict[str, Any]]:
    """One entry for every checkpoint that was matched to the anchor: what moved, and its path `before` and `after` the
    match.

    A path has `loss` (nats) and `miou` at `alphas`, and under `barriers` how high each is by both definitions (see
    `fusionlib.diagnostics.barrier`). Where no unit moved both are None: the path is the same one. Points are stored as
    they are measured. Progress is in forward passes; it may raise `Cancelled`. Raises `DataError` without masks.
    """
    if not ground.pictures.labelled:
        raise DataError(
            f"{ground.pictures.title} has no masks", "labelled pictures to measure barriers on", "Name data with masks"
        )

    method = find(method, arena, ground.architecture, worker=ground.worker, progress=progress)
    aligned, anchor = method.aligned(arena), anchor_of(method, len(arena))
    moves = {
        want.members[1]: Moves.of(method.table(want.statistic, *want.members).values())
        for want in method.wanted(len(arena))
    }
    pairs = {
        number: (arena.only([anchor, number]), aligned.only([anchor, number]))
        for number, item in moves.items()
        if item.units
    }
    points = _measure(list(pairs.values()), ground, progress, fresh)

    def path(number: int, after: bool) -> dict[str, Any] | None:
        return _path([points[ground.key(pairs[number], after, alpha)] for alpha in ALPHAS]) if number in pairs else None

    return [
        {
            "name": arena.names[number],
            "anchor": arena.names[anchor],
            "moved": item.units,
            "units": item.of_units,
            "groups": item.groups,
            "of_groups": item.of_groups,
            "buffers": ground.buffers,
            "images": len(ground.pictures),
            "alphas": list(ALPHAS),
            "before": path(number, False),
            "after": path(number, True),
        }
        for number, item in moves.items()
    ]


def recipe_barriers(
    recipe: Recipe,
    checkpoints: Sequence[Checkpoint],
    architecture: tuple[Architecture, int],
    pictures: DecodedCache,
    *,
    worker: Worker,
    store: Store,
    device: torch.device,
    precision: str = "float32",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The same for a recipe of Re-Basin, and wait; an interrupt cancels. Raises `UsageError` for any other method."""
    method = build_method(recipe.method, recipe.parameters)
    if not moves_units(method):
        raise UsageError(
            f"Barriers before and after {recipe.method}",
            "the method rebasin",
            "Use sweep or diagnose for the path itself",
        )
    arena = Arena.pack(checkpoints, head=architecture[0].head, device=device)
    arena.require_finite()
    count = recipe.calibration.count if recipe.calibration else CALIBRATION_PICTURES
    ground = Ground(pictures, architecture, recipe.buffers, worker, store, device, precision, count)
    job = Job("barriers").start(lambda job: rebasin_barriers(method, arena, ground, job.progress))
    job.follow(progress, "barriers that can be measured")
    return job.result


def barrier_text(entry: Mapping[str, Any]) -> str:
    """The heights of one entry in words, the buffer policy with them; nothing where no unit moved."""
    before, after = entry["before"], entry["after"]
    if before is None or after is None:
        return ""
    heights: dict[str, list[str]] = {mode: [] for mode in MODES}
    for meter, scale, unit in (("loss", 1, "nats"), ("mIoU", 100, "points")):
        old, new = before["barriers"][meter.lower()], after["barriers"][meter.lower()]
        for mode in MODES if old and new else ():
            heights[mode].append(f"{meter} barrier {scale * old[mode]:.4g} -> {scale * new[mode]:.4g} {unit}")
    line, mean = (", ".join(texts) for texts in heights.values())
    mean = mean.replace(" barrier", "")
    return (
        f"{line} (over the mean of the ends: {mean}); {len(entry['alphas'])} alphas, {entry['images']} pictures, "
        f"statistics: {entry['buffers']}"
    )


def _measure(
    pairs: Sequence[Pair], ground: Ground, progress: Progress | None, fresh: bool
) -> dict[str, dict[str, Any]]:
    """The figures of all points of these paths by content key; those that the store has cost nothing, unless
    `fresh`.
    """
    wanted = {
        ground.key(pair, after, alpha): (pair, after, alpha)
        for pair in pairs
        for after in (True, False)
        for alpha in ALPHAS
    }
    points = (
        {} if fresh else {key: known for key, point in wanted.items() if (known := ground.known(*point)) is not None}
    )
    left = [point for key, point in wanted.items() if key not in points]
    images = len(ground.pictures)
    for number, (pair, after, alpha) in enumerate(left):

        def advance(done: int, _: int, before: int = number * images) -> None:
            if progress is not None:
                progress(before + done, len(left) * images)

        key = ground.key(pair, after, alpha)
        points[key] = _point(pair[after], alpha, ground, advance)
        ground.store.put(key, points[key])
    return points


def _point(pair: Arena, alpha: float, ground: Ground, advance: Progress) -> dict[str, Any]:
    architecture, classes = ground.architecture
    network = BoundNetwork(
        architecture, classes, pair.layout, pair.integers[0], device=pair.weights.device, precision=ground.precision
    )
    blend = Blend(pair, network, ground.buffers, calibration=ground.pictures, count=ground.count)

    def run(call: Callable[[], Any]) -> Any:
        advance(0, 1)  # a cancel is seen between the pictures of a recalibration too
        return ground.worker.run(call)

    if alpha in (0.0, 1.0):
        blend.set_alone(0 if alpha else 1, run)
    else:
        blend.set(Linear(alpha), run)
    return Measurement(network, label_space(architecture.label_space(classes)), ground.pictures).run(
        ground.worker, advance
    )


def _path(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = {name: [point[name] for point in points] for name in ("loss", "miou")}
    heights = {
        name: (
            None
            if None in row
            else {mode: barrier(ALPHAS, row, mode, higher_is_better=name == "miou") for mode in MODES}
        )
        for name, row in values.items()
    }
    return {**values, "barriers": heights}
