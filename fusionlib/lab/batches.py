"""Augmented batches: random crops and flips, in an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fusionlib.contracts import IGNORE, Dataset, Preprocessing
from fusionlib.engine.inputs import Inputs
from fusionlib.errors import UsageError


class CropSampler:
    """Batches of one epoch: every picture once, one random crop of each, flipped half of the time.

    Seeded by (seed, epoch), so that a resumed run sees the batches that an unbroken run would have seen. Decoded
    pictures stay in memory as uint8: drawing or decoding a scene costs more than training on it.
    """

    def __init__(
        self, dataset: Dataset, crop: tuple[int, int], batch: int, seed: int, preprocessing: Preprocessing
    ) -> None:
        self.dataset, self.crop, self.batch, self.seed = dataset, crop, batch, seed
        self.inputs = Inputs(preprocessing, torch.device("cpu"))
        self._pictures: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        # The ragged last batch is dropped: batch statistics of a few crops would disturb the running ones.
        return max(1, len(self.dataset) // self.batch)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of crops as the network sees them (N, 3, h', w') float32 and truths (N, h, w) int64."""
        for images, truths in self.crops(number):
            yield self.inputs.prepare(images), torch.from_numpy(truths).long()

    def crops(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same as they are in the files: crops (N, h, w, 3) and truths (N, h, w), uint8."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.dataset))
        for start in range(0, len(self) * self.batch, self.batch):
            crops = [self._crop(int(index), rng) for index in order[start : start + self.batch]]
            yield np.stack([image for image, _ in crops]), np.stack([truth for _, truth in crops])

    def class_frequencies(self, classes: int, sample: int = 100) -> Tensor:
        """Share of labelled pixels of every class over the first `sample` pictures, float64 (classes,)."""
        counts = np.zeros(classes, dtype=np.int64)
        for index in range(min(sample, len(self.dataset))):
            truth = self._picture(index)[1]
            counts += np.bincount(truth[truth != IGNORE], minlength=classes)[:classes]
        return torch.from_numpy(counts / max(1, counts.sum()))

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._pictures:
            sample = self.dataset.load(index, whole=True)
            if sample.truth is None:
                raise UsageError(f"{sample.name} has no mask", "labelled pictures", "Train on a dataset with masks")
            self._pictures[index] = (sample.image, sample.truth)
        return self._pictures[index]

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, truth = self._picture(index)
        height, width = (min(self.crop[0], truth.shape[0]), min(self.crop[1], truth.shape[1]))
        top, left = rng.integers(truth.shape[0] - height + 1), rng.integers(truth.shape[1] - width + 1)
        window = np.s_[top : top + height, left : left + width]
        flip = np.s_[:, ::-1] if rng.random() < 0.5 else np.s_[:, :]
        return np.ascontiguousarray(image[window][flip]), np.ascontiguousarray(truth[window][flip])
