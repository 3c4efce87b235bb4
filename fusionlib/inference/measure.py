"""Meters over a dataset, one batch at a time, so that frames can go between the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import IGNORE, METERS, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, mapping
from fusionlib.errors import DataError
from fusionlib.inference.network import Network
from fusionlib.inference.worker import JOB, Worker
from fusionlib.metrics.observation import Observation

DEFAULT_METERS = ("confusion", "cross_entropy")


def target_mapping(source: LabelSpace, target: LabelSpace, device: torch.device) -> torch.Tensor | None:
    """The mapping between two label spaces as `Observation` takes it: None where they are the same."""
    if source.names == target.names:
        return None
    return torch.from_numpy(mapping(source, target)).to(device)


class Measurement:
    """What the meters give for one network on one labelled dataset.

    Pictures of one size are batched; a picture of another size starts a new batch. Raises `DataError` without masks.
    """

    def __init__(self, network: Network, source: LabelSpace, pictures: DecodedCache, *,
                 meters: Sequence[str] = DEFAULT_METERS, batch: int | None = None) -> None:
        self.network, self.pictures = network, pictures
        target = pictures.dataset.label_space
        if not pictures.dataset.labelled:
            raise DataError(f"{pictures.dataset.title} has no masks", "labelled pictures to measure on",
                            "Choose data with masks; pictures without them can still be looked at")
        self.classes = target.count
        self.mapping = target_mapping(source, target, network.device)
        self.meters = {name: METERS.get(name) for name in meters}
        self.batch = batch or (8 if network.device.type == "cuda" else 1)
        self.states = self._zeros()

    def run(self, worker: Worker, progress: Progress | None = None) -> dict[str, Any]:
        """Measure all pictures from zero and return the figures. May raise `Cancelled` from `progress`."""
        self.states = self._zeros()
        for index in range(len(self.pictures)):  # a mask that is wrong is found before the first forward pass
            self.pictures.load(index)
        done = 0
        for images, truths in batches(self.pictures, self.batch):
            worker.run(lambda images=images, truths=truths: self.add(images, truths), JOB)
            done += len(images)
            if progress is not None:
                progress(done, len(self.pictures))
        self.pictures.verify()
        return worker.run(self.figures)

    def _zeros(self) -> dict[str, dict[str, torch.Tensor]]:
        return {name: meter.init(self.classes, self.network.device) for name, meter in self.meters.items()}

    def add(self, images: np.ndarray, truths: np.ndarray) -> Observation:
        """Measure one batch, pictures (N, H, W, 3) and truth (N, H, W) uint8; what it showed. Runs on the calling thread."""
        device = self.network.device
        with torch.inference_mode():
            logits = self.network.logits(images, truths.shape[1:3])
            observation = Observation(logits, torch.from_numpy(truths).to(device), self.mapping, self.classes)
            for name, meter in self.meters.items():
                meter.update(self.states[name], observation)
        return observation

    def figures(self) -> dict[str, Any]:
        """What the meters give for the batches so far."""
        figures: dict[str, Any] = {"images": len(self.pictures)}
        for name, meter in self.meters.items():
            figures |= meter.compute(self.states[name])
        figures["loss"] = figures.pop("cross_entropy", None)
        return figures


def batches(pictures: DecodedCache, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures (N, H, W, 3) and truth (N, H, W) uint8, up to `size` of equal shape at a time; all void where there are no masks."""
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for index in range(len(pictures)):
        sample = pictures.load(index)
        truth = np.full(sample.image.shape[:2], IGNORE, dtype=np.uint8) if sample.truth is None else sample.truth
        if held and (len(held) == size or held[0][0].shape != sample.image.shape):
            yield _stack(held)
            held = []
        held.append((sample.image, truth))
    if held:
        yield _stack(held)


def _stack(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if len(pairs) == 1:  # a view, not a copy: batches of one are the rule on a CPU
        return pairs[0][0][None], pairs[0][1][None]
    return np.stack([image for image, _ in pairs]), np.stack([truth for _, truth in pairs])
