"""Data specs, `kind:argument` with an optional `@split` at the end, as `camvid:DIR@val`; every dataset says its own
(`usages`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from fusionlib.contracts import DATASETS, Dataset, DatasetOpener, Progress, Sample
from fusionlib.data.labels import LabelSpace
from fusionlib.errors import UsageError, shown

_SPLIT = re.compile(r"@([\w.-]+)\Z")


@dataclass(frozen=True)
class Spec:
    """The parts of `kind:argument@split`."""

    kind: str
    argument: str
    split: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" + (f"@{self.split}" if self.split else "")


def parse_spec(text: str) -> Spec:
    """Split a spec into its parts; nothing is opened.

    The kind ends at the first colon. A trailing `@word` without a path separator is the split, so a path may hold `:`
    and `@` (a folder called `a@b` is written `a@b/`). Raises `UsageError` that lists the known kinds.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in DATASETS:
        got = (
            f"Unknown kind of data {shown(kind)} in {shown(text, 200)}"
            if colon
            else f"Data spec {shown(text, 200)} without a kind"
        )
        raise UsageError(got, f"one of {'; '.join(usages())}", "Put the kind and a colon in front")
    found = _SPLIT.search(rest)
    argument = rest[: found.start()] if found else rest
    if not argument:
        raise UsageError(f"Data spec {shown(text, 200)} names nothing", DATASETS.get(kind).usage, "Complete it")
    return Spec(kind, argument, found.group(1) if found else None)


def usages() -> tuple[str, ...]:
    """How to write a spec of each kind."""
    return tuple(opener.usage for _, opener in DATASETS.items())


def open_dataset(spec: str, split: str | None = None, limit: int | None = None) -> Dataset:
    """The dataset that `spec` names, validated; `split` is another way to give `@split`, `limit` keeps the first N.

    Raises `UsageError` for a malformed spec, two different splits or a limit below 1, and `DataError` that names the
    file for data that is missing or inconsistent.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"Limit {limit}", "a number of pictures from 1", "Raise it or leave it out")
    opener, parsed = _resolve(spec, split)
    dataset = opener.open(parsed.argument, parsed.split)
    return dataset if limit is None or limit >= len(dataset) else First(dataset, limit)


def splits_of(spec: str) -> tuple[str, ...]:
    """Names of the splits that the data of `spec` has."""
    opener, parsed = _resolve(spec, None)
    return opener.splits(parsed.argument)


def check(dataset: Dataset, progress: Progress | None = None) -> np.ndarray:
    """Read every picture and mask once; opening has read only headers. Pixels of each label, (256,) int64, void at
    `IGNORE`.

    Raises the `DataError` of the first one that is wrong, which names the file (and the ids a mask must not have).
    """
    counts = np.zeros(256, np.int64)
    for index in range(len(dataset)):
        truth = dataset.load(index).truth
        if truth is not None:
            counts += np.bincount(truth.reshape(-1), minlength=256)
        if progress:
            progress(index + 1, len(dataset))
    return counts


def _resolve(text: str, split: str | None) -> tuple[DatasetOpener, Spec]:
    parsed = parse_spec(text)
    if split and parsed.split and split != parsed.split:
        raise UsageError(
            f"Two splits, {shown(parsed.split)} in {shown(text, 200)} and {shown(split)}",
            "one split",
            "Drop one of them",
        )
    return DATASETS.get(parsed.kind), Spec(parsed.kind, parsed.argument, parsed.split or split or None)


class First:
    """The first `limit` pictures of a dataset."""

    def __init__(self, dataset: Dataset, limit: int) -> None:
        self.dataset = dataset
        self.limit = limit
        self.spec = dataset.spec
        self.title = f"{dataset.title}, first {limit}"
        self.labelled, self.notes = dataset.labelled, dataset.notes
        self.label_space: LabelSpace = dataset.label_space

    def __len__(self) -> int:
        return self.limit

    def name(self, index: int) -> str:
        """The dataset's name of it."""
        return self.dataset.name(self._checked(index))

    def load(self, index: int, whole: bool = False) -> Sample:
        """The dataset's picture `index`. Raises `DataError` that names the file."""
        return self.dataset.load(self._checked(index), whole)

    def fingerprint(self) -> str:
        """Of the whole dataset and the limit."""
        return hashlib.sha256(f"{self.dataset.fingerprint()} first {self.limit}".encode()).hexdigest()

    def picture_key(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.picture_key(self._checked(index))

    def group(self, index: int) -> str:
        """The dataset's own."""
        return self.dataset.group(self._checked(index))

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.limit:
            raise IndexError(f"picture {index} of {self.limit}")
        return index
