"""Decoded pictures kept in memory, so that a sweep decodes each of them once and not once per point."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from fusionlib.contracts import Dataset, Sample
from fusionlib.data.labels import LabelSpace


class DecodedCache:
    """A dataset in front of a dataset: the least recently used samples go when `limit_bytes` is exceeded.

    Threads may share it; a picture that several ask for at once is decoded once. Samples are handed out without a
    copy: do not write to them. When the fingerprint is asked for and the files have changed, the cache starts anew.
    """

    def __init__(self, dataset: Dataset, limit_bytes: int) -> None:
        self.dataset = dataset
        self.spec, self.title, self.labelled = dataset.spec, dataset.title, dataset.labelled
        self.label_space: LabelSpace = dataset.label_space
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._gates: dict[int, Lock] = {}
        self._lock = Lock()
        self._fingerprint = dataset.fingerprint()

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """The dataset's."""
        return self.dataset.name(index)

    def load(self, index: int) -> Sample:
        """Picture `index`, from memory when it is there. Raises `DataError` that names the file."""
        with self._lock:
            sample = self._find(index)
            if sample is not None:
                return sample
            gate = self._gates.setdefault(index, Lock())
        with gate:
            with self._lock:
                sample = self._find(index)
            if sample is None:
                sample = self._decode(index)
        return sample

    @property
    def notes(self) -> tuple[str, ...]:
        """The dataset's."""
        return self.dataset.notes

    def spread(self, count: int) -> list[int]:
        """Places of `count` pictures (all, where there are fewer), evenly spaced: the first ones of a video are one scene."""
        total, count = len(self), min(count, len(self))
        return [place * total // count for place in range(count)]

    def fingerprint(self) -> str:
        """The dataset's, read anew; what was decoded from other contents is forgotten."""
        present = self.dataset.fingerprint()
        with self._lock:
            if present != self._fingerprint:
                self._samples.clear()
                self.used_bytes, self._fingerprint = 0, present
        return present

    def _find(self, index: int) -> Sample | None:
        sample = self._samples.get(index)
        if sample is not None:
            self._samples.move_to_end(index)
        return sample

    def _decode(self, index: int) -> Sample:
        try:
            sample = self.dataset.load(index)
            with self._lock:
                self._keep(index, sample)
            return sample
        finally:
            with self._lock:
                self._gates.pop(index, None)

    def _keep(self, index: int, sample: Sample) -> None:
        if _size(sample) > self.limit_bytes:
            return
        if (old := self._samples.pop(index, None)) is not None:
            self.used_bytes -= _size(old)
        self._samples[index] = sample
        self.used_bytes += _size(sample)
        while self.used_bytes > self.limit_bytes:
            self.used_bytes -= _size(self._samples.popitem(last=False)[1])


def _size(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.truth is None else sample.truth.nbytes)
