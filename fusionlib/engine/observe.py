"""One pass over pictures: what networks say of each, batch by batch, for whatever is measured of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from fusionlib.contracts import IGNORE, MapMeasure, Measure, Progress, Sample, State
from fusionlib.data.cache import DecodedCache
from fusionlib.data.files import WHOLE_PIXELS
from fusionlib.data.labels import LabelSpace, counterparts
from fusionlib.engine.activations import recorded
from fusionlib.engine.build import Built
from fusionlib.engine.network import Network
from fusionlib.engine.said import Said
from fusionlib.engine.worker import JOB, Worker
from fusionlib.errors import DataError
from fusionlib.measures.observation import Observation
from fusionlib.measures.states import MAP

TILE, MARGIN = 1024, 128
"""Sides of the squares that a very large picture is measured in, and how much of the picture around it each is seen
with. Both are multiples of 32, so that strides fall as in the whole picture. Where a network sees no farther than the
margin, tiles give what the whole gives; one that sees farther has less context near seams, and global pooling sees a
tile in place of the picture.
"""


def target_mapping(source: LabelSpace, target: LabelSpace, device: torch.device) -> torch.Tensor | None:
    """The mapping between two label spaces as `Observation` takes it: None where they are the same."""
    found = counterparts(source, target)
    return None if found is None else torch.from_numpy(found).to(device)


@dataclass
class Task:
    """A measure of some of a pass's networks: `members` are their numbers, in the order in which it takes them.

    `wanted` are the numbers of the pictures that it lacks. `keep` is told the state of each picture (with its `MAP`, on
    the CPU, where the measure has one) and how many tiles it was measured in (0: as a whole); a measure of grain
    `split` has one `state` instead.
    """

    measure: Measure
    members: tuple[int, ...]
    wanted: frozenset[int]
    keep: Callable[[int, State, int], None]
    state: State | None = None


class Pass:
    """Forward passes of some networks over pictures, every task fed from the same ones.

    Labels count in `target`. One forward pass a network and picture, however many tasks there are.
    """

    def __init__(
        self,
        networks: Sequence[Built],
        target: LabelSpace,
        pictures: DecodedCache,
        tasks: Sequence[Task],
        worker: Worker,
    ) -> None:
        self.networks, self.target, self.pictures, self.worker = networks, target, pictures, worker
        self.tasks = list(tasks)
        self.device = networks[0].device
        self.batch = 8 if self.device.type == "cuda" else 1
        self._mappings = [target_mapping(one.space, target, self.device) for one in networks]
        self._tiles = 0

    @property
    def total(self) -> int:
        """Forward passes that it takes; a tile is a part of one."""
        return self.forwards(self.indices)

    def forwards(self, indices: Iterable[int]) -> int:
        """Forward passes that the pictures with these numbers take."""
        return sum(self.networks[number].forwards for index in indices for number in self._needed({index}))

    def run(self, progress: Progress | None = None) -> None:
        """Work it off. Progress is in forward passes; it may raise `Cancelled` before any of them."""
        total, done = self.total, 0
        open_states: dict[int, State] = {}
        with torch.inference_mode():
            for task in self.tasks:
                if task.measure.grain == "split" and task.state is None:
                    task.state = self._zeros(task)
        for batch in batches(self.pictures, self.batch, self.indices):
            needed = self._needed(set(batch.indices))
            seen: dict[int, list[Observation]] = {}
            self._tiles += batch.tile
            for number in needed:
                if progress is not None:
                    progress(done, total)
                seen[number] = self.worker.run(lambda n=number, b=batch: self._observe(n, b), JOB)
                done += self.networks[number].forwards * batch.finished
                self._share(batch, seen, number, open_states)
            if batch.finished:
                self._tiles = 0
        if progress is not None:
            progress(done, total)

    @property
    def indices(self) -> list[int]:
        """Numbers of the pictures that it looks at."""
        return sorted(frozenset().union(*(task.wanted for task in self.tasks)))

    def _needed(self, indices: set[int]) -> list[int]:
        return sorted({number for task in self.tasks if task.wanted & indices for number in task.members})

    def _zeros(self, task: Task) -> State:
        return task.measure.init(self.target.count, self.device, len(task.members))

    def _observe(self, number: int, batch: Batch) -> list[Observation]:
        """What a network says of each picture of a batch. Runs on the worker's thread."""
        network, looked_into = self.networks[number], frozenset(batch.indices)
        tasks = [task for task in self.tasks if number in task.members and task.wanted & looked_into]
        read = frozenset().union(*(task.measure.reads for task in tasks)) if network.forwards == 1 else frozenset()
        with torch.inference_mode(), ExitStack() as hooks:
            table: Mapping[str, torch.Tensor] = {}
            if "activations" in read:
                table = hooks.enter_context(recorded(network.members[0].network.module))
            said = Said.by(network, batch.images, batch.cut) if "learners" in read else None
            logits = batch.logits_of(network) if said is None else said.logits()
            truths = torch.from_numpy(batch.truths).to(self.device) if self.pictures.labelled else None
            found = []
            for place, index in enumerate(batch.indices):
                rows = slice(place, place + 1)
                truth = None if truths is None else truths[rows]
                found.append(
                    Observation(
                        logits[rows],
                        truth,
                        self._mappings[number],
                        self.target.count,
                        activations={
                            name: _of_picture(values, place, len(batch.indices)) for name, values in table.items()
                        },
                        learners=said and said.inside(rows, truth, self._mappings[number], self.target.count),
                        picture=index,
                    )
                )
            return found

    def _share(
        self, batch: Batch, seen: Mapping[int, list[Observation]], last: int, open_states: dict[int, State]
    ) -> None:
        """Feed the tasks of which network `last` is the last: others need not wait for theirs, or be lost with them."""
        ready = [number for number, task in enumerate(self.tasks) if max(task.members) == last]
        for place, index in enumerate(batch.indices):
            shown = {number: observations[place] for number, observations in seen.items()}
            self.worker.run(lambda i=index, s=shown: self._add(i, s, batch, ready, open_states), JOB)
            if batch.finished:
                self._finish(index, ready, open_states)

    def _add(
        self,
        index: int,
        seen: Mapping[int, Observation],
        batch: Batch,
        ready: Sequence[int],
        open_states: dict[int, State],
    ) -> None:
        with torch.inference_mode():
            for number in ready:
                task = self.tasks[number]
                if index not in task.wanted:
                    continue
                if task.measure.grain == "split":
                    state = task.state
                else:
                    state = open_states[number] if number in open_states else self._zeros(task)
                    open_states[number] = state
                assert state is not None
                shown = [seen[member] for member in task.members]
                task.measure.update(state, *shown)
                if isinstance(task.measure, MapMeasure):
                    _put_in(state, task.measure.map(*shown)[0], batch)

    def _finish(self, index: int, ready: Sequence[int], open_states: dict[int, State]) -> None:
        for number in ready:
            if number in open_states and index in self.tasks[number].wanted:
                self.tasks[number].keep(index, open_states.pop(number), self._tiles)


def _of_picture(values: torch.Tensor, place: int, pictures: int) -> torch.Tensor:
    """The rows of one of several pictures: one, or as many as it has windows."""
    each = max(1, len(values) // pictures)
    return values[place * each : (place + 1) * each]


def _put_in(state: State, part: torch.Tensor, batch: Batch) -> None:
    """Put a part (h, w) of a map where it belongs in the map of the state's picture."""
    (top, left), (height, width) = batch.corner, part.shape
    if MAP not in state:
        state[MAP] = torch.zeros(batch.whole or (height, width), dtype=torch.uint8)
    state[MAP][top : top + height, left : left + width] = part


@dataclass(frozen=True)
class Batch:
    """Pictures (N, H, W, 3) uint8 of these numbers, and the truth (N, h, w) uint8 of the part of them that begins `at`
    (row, column): all, but for tiles.

    `finished` says how many pictures are complete with it. The part begins at `corner` of the picture, whose truth is
    of the size `whole` (None: the part's).
    """

    indices: tuple[int, ...]
    images: np.ndarray
    truths: np.ndarray
    finished: int
    at: tuple[int, int] = (0, 0)
    tile: int = 0
    corner: tuple[int, int] = (0, 0)
    whole: tuple[int, int] | None = None

    def logits_of(self, network: Network) -> torch.Tensor:
        """Logits (N, C, h, w) of the part."""
        return self.cut(network.logits(self.images, self.images.shape[1:3]))

    def cut(self, logits: torch.Tensor) -> torch.Tensor:
        """Those (N, C, H, W) of the whole images as those of the part."""
        (top, left), (height, width) = self.at, self.truths.shape[1:]
        return logits[..., top : top + height, left : left + width]


def look_through(pictures: DecodedCache, indices: Sequence[int] | None = None, progress: Progress | None = None) -> int:
    """Read pictures, so that a wrong mask is found before the first forward pass; how many need tiles.

    Progress is in pictures, told before each. Raises `DataError` for a very large one where tiles were not asked for.
    """
    tiled, wanted = 0, range(len(pictures)) if indices is None else indices
    for number, index in enumerate(wanted):
        if progress is not None:
            progress(number, len(wanted))
        sample = pictures.load(index)
        if sample.scale > 1:
            _need_tiles(sample, pictures)
            tiled += 1
    return tiled


def batches(pictures: DecodedCache, size: int, indices: Iterable[int] | None = None) -> Iterator[Batch]:
    """Pictures, up to `size` of equal shape at a time, very large ones tile by tile; all void where there are no masks.

    Raises `DataError` for a very large one where tiles were not asked for.
    """
    held: list[tuple[int, Sample]] = []
    for index in range(len(pictures)) if indices is None else indices:
        sample = pictures.load(index)
        if held and (sample.scale > 1 or len(held) == size or held[0][1].image.shape != sample.image.shape):
            yield _stack(held)
            held = []
        if sample.scale > 1:
            _need_tiles(sample, pictures)
            yield from _tiles(index, pictures.load(index, whole=True))
        else:
            held.append((index, sample))
    if held:
        yield _stack(held)


def _need_tiles(sample: Sample, pictures: DecodedCache) -> None:
    if not pictures.tiles:
        raise DataError(
            f"{sample.name} has more than {WHOLE_PIXELS / 1e6:.1f} million pixels",
            "pictures that pass a network as a whole",
            f"Give --tiles to measure larger ones at full size in tiles of {TILE} pixels, or scale them down",
        )


def _tiles(index: int, sample: Sample) -> Iterator[Batch]:
    """Squares that cover the picture, each with up to `MARGIN` of what lies around it; at the picture's edges with
    less, as the whole.
    """
    truth = _truth(sample)
    height, width = truth.shape
    corners = [(top, left) for top in range(0, height, TILE) for left in range(0, width, TILE)]
    for number, (top, left) in enumerate(corners, 1):
        first, begin = max(0, top - MARGIN), max(0, left - MARGIN)
        seen = sample.image[first : top + TILE + MARGIN, begin : left + TILE + MARGIN]
        yield Batch(
            (index,),
            np.ascontiguousarray(seen)[None],
            truth[top : top + TILE, left : left + TILE][None],
            int(number == len(corners)),
            (top - first, left - begin),
            1,
            (top, left),
            (height, width),
        )


def _truth(sample: Sample) -> np.ndarray:
    return np.full(sample.image.shape[:2], IGNORE, dtype=np.uint8) if sample.truth is None else sample.truth


def _stack(held: Sequence[tuple[int, Sample]]) -> Batch:
    indices, samples = zip(*held, strict=True)
    if len(samples) == 1:  # a view, not a copy: batches of one are the rule on a CPU
        return Batch(indices, samples[0].image[None], _truth(samples[0])[None], 1)
    return Batch(
        indices, np.stack([one.image for one in samples]), np.stack([_truth(one) for one in samples]), len(samples)
    )
