"""Decoded pictures kept in memory, so that a sweep decodes each of them once and not once per point."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from fusionlib.contracts import Dataset, Sample
from fusionlib.data.files import WHOLE_PIXELS
from fusionlib.data.labels import LabelSpace
from fusionlib.data.selected import First
from fusionlib.errors import ChangedDataError, DataError


class DecodedCache:
    """A dataset in front of a dataset: the least recently used samples go when `limit_bytes` is exceeded.

    Threads may share it; a picture that several ask for at once is decoded once. Samples are handed out without a copy:
    do not write to them. The fingerprint is that of the files when this was made; `verify` says whether they are still
    the same. Very large pictures come reduced (`Sample.scale`); `tiles` says that they may be measured at full size,
    tile by tile.
    """

    def __init__(self, dataset: Dataset, limit_bytes: int, *, tiles: bool = False) -> None:
        self.dataset = dataset
        self.spec, self.title, self.labelled = dataset.spec, dataset.title, dataset.labelled
        self.label_space: LabelSpace = dataset.label_space
        self.limit_bytes, self.tiles = limit_bytes, tiles
        self.used_bytes = 0
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._sizes: dict[int, tuple[int, int]] = {}
        self._gates: dict[int, Lock] = {}
        self._lock = Lock()
        self._fingerprint = dataset.fingerprint()
        self._keys = [dataset.picture_key(index) for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """The dataset's."""
        return self.dataset.name(index)

    def load(self, index: int, whole: bool = False) -> Sample:
        """Picture `index`, from memory when it is there. Raises `DataError` that names the file."""
        sample = self._reduced(index)
        return self._as_opened(index, whole=True) if whole and sample.scale > 1 else sample

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of picture `index` as its file has it; it is read for that at most once."""
        if index not in self._sizes:
            self._sizes[index] = _shape(self.load(index, whole=True))
        return self._sizes[index]

    def _reduced(self, index: int) -> Sample:
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
        """Places of `count` pictures (all, where there are fewer), evenly spaced: the first ones of a video are one
        scene.
        """
        total, count = len(self), min(count, len(self))
        return [place * total // count for place in range(count)]

    def fingerprint(self) -> str:
        """The dataset's content key when this was made; asking again costs nothing."""
        return self._fingerprint

    def picture_key(self, index: int) -> str:
        """The dataset's key of picture `index` when this was made; asking again costs nothing."""
        return self._keys[index]

    def group(self, index: int) -> str:
        """The dataset's."""
        return self.dataset.group(index)

    def is_current(self) -> bool:
        """Whether the files are still those of the fingerprint."""
        return self.dataset.fingerprint() == self._fingerprint

    def verify(self) -> None:
        """Raises `DataError` where files have changed.

        Called after a pass and before its figures are kept: they would be of no content.
        """
        if not self.is_current():
            raise self._changed()

    def _changed(self) -> ChangedDataError:
        return ChangedDataError(
            f"The pictures of {self.title} were changed after they were opened",
            "files that stay as they are",
            "Look at the folders again, then measure anew",
        )

    def _find(self, index: int) -> Sample | None:
        sample = self._samples.get(index)
        if sample is not None:
            self._samples.move_to_end(index)
        return sample

    def _decode(self, index: int) -> Sample:
        try:
            sample = self._as_opened(index)
            if sample.scale == 1:
                self._sizes[index] = _shape(sample)
            with self._lock:
                self._keep(index, sample)
            return sample
        finally:
            with self._lock:
                self._gates.pop(index, None)

    def _as_opened(self, index: int, whole: bool = False) -> Sample:
        """Read from its file. Raises `ChangedDataError` where that is another picture by now."""
        sample = self.dataset.load(index, whole=True) if whole else self.dataset.load(index)
        if self.dataset.picture_key(index) != self._keys[index]:
            raise self._changed()
        return sample

    def _keep(self, index: int, sample: Sample) -> None:
        if _size(sample) > self.limit_bytes:
            return
        if (old := self._samples.pop(index, None)) is not None:
            self.used_bytes -= _size(old)
        self._samples[index] = sample
        self.used_bytes += _size(sample)
        while self.used_bytes > self.limit_bytes:
            self.used_bytes -= _size(self._samples.popitem(last=False)[1])


class FirstPictures(DecodedCache):
    """The first pictures of `whole`, decoded there: nothing is kept twice. Content keys as of `First`."""

    def __init__(self, whole: DecodedCache, count: int) -> None:
        super().__init__(First(whole.dataset, count), 0, tiles=whole.tiles)
        self._whole = whole

    def load(self, index: int, whole: bool = False) -> Sample:
        """The whole's. Raises `IndexError` beyond the first ones."""
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        return self._whole.load(index, whole)

    def size(self, index: int) -> tuple[int, int]:
        """The whole's."""
        return self._whole.size(index)


def unreduced(sample: Sample) -> Sample:
    """The sample, for what must see a picture as it is and as a whole.

    Raises `DataError` for one that is too large for that.
    """
    if sample.scale > 1:
        raise DataError(
            f"{sample.name} has more than {WHOLE_PIXELS / 1e6:.1f} million pixels",
            "pictures that pass through a network as a whole",
            "Scale them down, or choose other data",
        )
    return sample


def _shape(sample: Sample) -> tuple[int, int]:
    height, width = sample.image.shape[:2]
    return height, width


def _size(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.truth is None else sample.truth.nbytes)
