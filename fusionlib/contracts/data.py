"""What a dataset is: pictures of one split with their truth, and who opens them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fusionlib.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from fusionlib.data.labels import LabelSpace

IGNORE = 255
"""The one id of void pixels in every truth map handed out by a dataset, whatever the files call it."""


@dataclass(frozen=True)
class Sample:
    """One picture. `image` (H, W, 3) uint8 RGB; `truth` (H, W) uint8 ids of the label space, `IGNORE` for void, or
    None.

    With a `scale` of N > 1 both are reduced: N x N pixels of the file became one, the mean of the picture and the
    middle of the truth.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray | None
    scale: int = 1
    read_instances: Callable[[], np.ndarray] | None = field(default=None, repr=False, compare=False)
    """How to get at `instances`: most measures do not look at them, and decoding them takes as long as the truth."""

    @property
    def instances(self) -> np.ndarray | None:
        """(H, W) int32 at the size of the truth: a number for each instance, 0 outside of all; None where the data
        tells none apart. Read anew at each call. Raises `DataError` that names the file.
        """
        return None if self.read_instances is None else self.read_instances()


class Dataset(Protocol):
    """An ordered, finite set of pictures of one split. Opening one validates it; `load` reads a single picture."""

    spec: str
    """How the user names it, e.g. `camvid:DIR@val`."""
    title: str
    label_space: LabelSpace
    labelled: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must know of how its files were taken: what was skipped, which of two readings was chosen.

        No full stops.
        """
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """A short name of picture `index` for captions."""
        ...

    def load(self, index: int, whole: bool = False) -> Sample:
        """Read picture `index`, a very large one reduced unless `whole`. Raises `DataError` that names the file."""
        ...

    def fingerprint(self) -> str:
        """Content key: changes when any picture, mask or label changes."""
        ...

    def picture_key(self, index: int) -> str:
        """Content key of picture `index` with its mask and what the mask's ids mean: the same in any dataset, at any
        place, under any name.
        """
        ...

    def group(self, index: int) -> str:
        """Name of what picture `index` belongs to (a video sequence, a city): pictures of one group err together.

        Its own where it stands alone. A part of a dataset has the groups of the whole.
        """
        ...


class DatasetOpener(Protocol):
    """What a dataset file registers: `open(argument, split)` of the spec `name:argument@split`."""

    title: str
    usage: str

    def splits(self, argument: str) -> tuple[str, ...]:
        """Names of the splits found there."""
        ...

    def open(self, argument: str, split: str | None) -> Dataset:
        """The dataset, validated. Raises `DataError` before any work starts."""
        ...


DATASETS: Registry[DatasetOpener] = Registry("dataset", "fusionlib.data", "DATASETS")
