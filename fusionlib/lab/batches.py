"""Batches of random crops and flips, in an order that follows from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlib.contracts import IGNORE, Batch, Dataset
from fusionlib.errors import UsageError

KEPT_BYTES = 2 << 30


class CropSampler:
    """Batches of one epoch: every picture once, one random crop of each, flipped half of the time.

    Seeded by (seed, epoch), so that a resumed run sees the batches that an unbroken run would have seen. `crop` is
    height and width, None for whole pictures. Without `labelled` truths are void, whatever the dataset has. Decoded
    pictures stay in memory as uint8 as far as `KEPT_BYTES` go: decoding a scene costs more than training on it.
    """

    def __init__(
        self, dataset: Dataset, crop: tuple[int, int] | None, batch: int, seed: int, labelled: bool = True
    ) -> None:
        self.dataset, self.crop, self.batch, self.seed, self.labelled = dataset, crop, batch, seed, labelled
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        # The ragged last batch is dropped: batch statistics of a few crops would disturb the running ones.
        return max(1, len(self.dataset) // self.batch)

    def epoch(self, number: int, further: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Batches of that epoch from batch `skip` on; `further` is added to the seed."""
        rng = np.random.default_rng((self.seed + further, number))
        order = rng.permutation(len(self.dataset))
        for batch in range(len(self)):
            drawn = order[batch * self.batch : (batch + 1) * self.batch]
            crops = [self._crop(int(index), rng) for index in drawn]  # those skipped too: each draws random numbers
            if batch >= skip:
                yield _stacked(crops)

    def whole(self, number: int) -> Iterator[Batch]:
        """All pictures once, the rest too, in batches as equal as can be: one picture alone has no batch statistics."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.dataset))
        for drawn in np.array_split(order, -(-len(order) // self.batch)):
            yield _stacked([self._crop(int(index), rng) for index in drawn])

    def class_frequencies(self, classes: int, sample: int = 100) -> Tensor:
        """Share of labelled pixels of every class over the first `sample` pictures, float64 (classes,)."""
        counts = np.zeros(classes, dtype=np.int64)
        for index in range(min(sample, len(self.dataset))):
            truth = self._picture(index)[1]
            counts += np.bincount(truth[truth != IGNORE], minlength=classes)[:classes]
        return torch.from_numpy(counts / max(1, counts.sum()))

    def _picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._kept:
            pair = self._decoded(index)
            size = sum(part.nbytes for part in pair)
            if size > self._room:
                return pair
            self._kept[index] = pair
            self._room -= size
        return self._kept[index]

    def _decoded(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        sample = self.dataset.load(index, whole=True)
        if not self.labelled:
            return sample.image, np.full(sample.image.shape[:2], IGNORE, np.uint8)
        if sample.truth is None:
            raise UsageError(f"{sample.name} has no mask", "labelled pictures", "Train on a dataset with masks")
        return sample.image, sample.truth

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, truth = self._picture(index)
        most = self.crop or truth.shape
        height, width = (min(most[0], truth.shape[0]), min(most[1], truth.shape[1]))
        top, left = rng.integers(truth.shape[0] - height + 1), rng.integers(truth.shape[1] - width + 1)
        window = np.s_[top : top + height, left : left + width]
        flip = np.s_[:, ::-1] if rng.random() < 0.5 else np.s_[:, :]
        return image[window][flip], truth[window][flip]


class Stream:
    """Batch by batch of a sampler, in any order of asking; cheap where one follows the other."""

    def __init__(self, sampler: CropSampler) -> None:
        self.sampler = sampler
        self._next: tuple[int, int, int] | None = None
        self._open: Iterator[Batch] = iter(())

    def batch(self, further: int, epoch: int, number: int) -> Batch:
        """Batch `number` of an epoch; `further` is added to the seed."""
        if self._next != (further, epoch, number):
            self._open = self.sampler.epoch(epoch, further, number)
        self._next = further, epoch, number + 1
        return next(self._open)


def _stacked(crops: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Crops as one batch. Those of smaller pictures are continued to the right and below: by their edge, and void."""
    height = max(truth.shape[0] for _, truth in crops)
    width = max(truth.shape[1] for _, truth in crops)
    images, truths = [], []
    for image, truth in crops:
        missing = (0, height - truth.shape[0]), (0, width - truth.shape[1])
        if any(end for _, end in missing):
            image = np.pad(image, (*missing, (0, 0)), mode="edge")
            truth = np.pad(truth, missing, constant_values=IGNORE)
        images.append(image)
        truths.append(truth)
    return Batch(np.stack(images), np.stack(truths))
