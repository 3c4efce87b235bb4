"""Meters over a dataset, one batch at a time, so that frames can go between the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import IGNORE, METERS, Progress, Sample
from fusionlib.data.cache import DecodedCache
from fusionlib.data.files import WHOLE_PIXELS
from fusionlib.data.labels import LabelSpace, mapping
from fusionlib.engine.network import Network
from fusionlib.engine.worker import JOB, Worker
from fusionlib.errors import DataError
from fusionlib.measures.observation import Observation

DEFAULT_METERS = ("confusion", "cross_entropy")

TILE, MARGIN = 1024, 128
"""Sides of the squares that a very large picture is measured in, and how much of the picture around it each is seen
with. Both are multiples of 32, so that strides fall as in the whole picture. Where a network sees no farther than the
margin, tiles give what the whole gives; one that sees farther has less context near seams, and global pooling sees a
tile in place of the picture.
"""


def target_mapping(source: LabelSpace, target: LabelSpace, device: torch.device) -> torch.Tensor | None:
    """The mapping between two label spaces as `Observation` takes it: None where they are the same."""
    if source == target or (source.names == target.names and not source.counts_as):
        return None
    return torch.from_numpy(mapping(source, target)).to(device)


class Measurement:
    """What the meters give for one network on one labelled dataset.

    Pictures of one size are batched; a picture of another size starts a new batch. Raises `DataError` without masks.
    """

    def __init__(
        self,
        network: Network,
        source: LabelSpace,
        pictures: DecodedCache,
        *,
        meters: Sequence[str] = DEFAULT_METERS,
        batch: int | None = None,
    ) -> None:
        self.network, self.pictures = network, pictures
        target = pictures.dataset.label_space
        if not pictures.dataset.labelled:
            raise DataError(
                f"{pictures.dataset.title} has no masks",
                "labelled pictures to measure on",
                "Choose data with masks; pictures without them can still be looked at",
            )
        self.classes = target.count
        self.mapping = target_mapping(source, target, network.device)
        self.meters = {name: METERS.get(name) for name in meters}
        self.batch = batch or (8 if network.device.type == "cuda" else 1)
        self.states, self.tiled = self._zeros(), 0

    def run(self, worker: Worker, progress: Progress | None = None) -> dict[str, Any]:
        """Measure all pictures from zero and return the figures. May raise `Cancelled` from `progress`."""
        self.states = self._zeros()
        self.tiled = look_through(self.pictures)
        done = 0
        for batch in batches(self.pictures, self.batch):
            worker.run(lambda batch=batch: self.add(batch), JOB)
            done += batch.finished
            if progress is not None:
                progress(done, len(self.pictures))
        self.pictures.verify()
        return worker.run(self.figures)

    def _zeros(self) -> dict[str, dict[str, torch.Tensor]]:
        return {name: meter.init(self.classes, self.network.device) for name, meter in self.meters.items()}

    def add(self, batch: Batch) -> Observation:
        """Measure one batch; what it showed. Runs on the calling thread."""
        with torch.inference_mode():
            truths = torch.from_numpy(batch.truths).to(self.network.device)
            observation = Observation(batch.logits_of(self.network), truths, self.mapping, self.classes)
            for name, meter in self.meters.items():
                meter.update(self.states[name], observation)
        return observation

    def figures(self) -> dict[str, Any]:
        """What the meters give for the batches so far."""
        figures: dict[str, Any] = {"images": len(self.pictures), "tiled": self.tiled}
        for name, meter in self.meters.items():
            figures |= meter.compute(self.states[name])
        figures["loss"] = figures.pop("cross_entropy", None)
        return figures


@dataclass(frozen=True)
class Batch:
    """Pictures (N, H, W, 3) uint8 and the truth (N, h, w) uint8 of the part of them that begins `at` (row, column):
    all, but for tiles.

    `finished` says how many pictures are complete with it.
    """

    images: np.ndarray
    truths: np.ndarray
    finished: int
    at: tuple[int, int] = (0, 0)

    def logits_of(self, network: Network) -> torch.Tensor:
        """Logits (N, C, h, w) of the part."""
        (top, left), (height, width) = self.at, self.truths.shape[1:]
        return network.logits(self.images, self.images.shape[1:3])[..., top : top + height, left : left + width]


def look_through(pictures: DecodedCache) -> int:
    """Read every picture, so that a wrong mask is found before the first forward pass; how many will be measured in
    tiles.

    Raises `DataError` for a very large one where tiles were not asked for.
    """
    tiled = 0
    for index in range(len(pictures)):
        sample = pictures.load(index)
        if sample.scale > 1:
            _need_tiles(sample, pictures)
            tiled += 1
    return tiled


def batches(pictures: DecodedCache, size: int) -> Iterator[Batch]:
    """All pictures, up to `size` of equal shape at a time, very large ones tile by tile; all void where there are no
    masks.

    Raises `DataError` for a very large one where tiles were not asked for.
    """
    held: list[Sample] = []
    for index in range(len(pictures)):
        sample = pictures.load(index)
        if held and (sample.scale > 1 or len(held) == size or held[0].image.shape != sample.image.shape):
            yield _stack(held)
            held = []
        if sample.scale > 1:
            _need_tiles(sample, pictures)
            yield from _tiles(pictures.load(index, whole=True))
        else:
            held.append(sample)
    if held:
        yield _stack(held)


def _need_tiles(sample: Sample, pictures: DecodedCache) -> None:
    if not pictures.tiles:
        raise DataError(
            f"{sample.name} has more than {WHOLE_PIXELS / 1e6:.1f} million pixels",
            "pictures that pass a network as a whole",
            f"Give --tiles to measure larger ones at full size in tiles of {TILE} pixels, or scale them down",
        )


def _tiles(sample: Sample) -> Iterator[Batch]:
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
            np.ascontiguousarray(seen)[None],
            truth[top : top + TILE, left : left + TILE][None],
            int(number == len(corners)),
            (top - first, left - begin),
        )


def _truth(sample: Sample) -> np.ndarray:
    return np.full(sample.image.shape[:2], IGNORE, dtype=np.uint8) if sample.truth is None else sample.truth


def _stack(samples: Sequence[Sample]) -> Batch:
    if len(samples) == 1:  # a view, not a copy: batches of one are the rule on a CPU
        return Batch(samples[0].image[None], _truth(samples[0])[None], 1)
    return Batch(np.stack([one.image for one in samples]), np.stack([_truth(one) for one in samples]), len(samples))
