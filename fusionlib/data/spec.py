"""Data specs, `kind:argument` with an optional `@split` at the end, as `camvid:DIR@val`; every dataset says its own
(`usages`).

Behind it may stand what is to be done with any dataset, in turn: `@part:1/3:SEED` takes a part of a seeded split,
`@where:weather=rainy` the pictures of which that is known, `@classes:road,car` keeps some classes, `@as:cityscapes`
reads the masks in the classes of another label space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from fusionlib.contracts import DATASETS, Dataset, DatasetOpener, Progress
from fusionlib.data.attributes import where
from fusionlib.data.relabelled import in_space, with_classes
from fusionlib.data.selected import First, Part
from fusionlib.errors import DataError, UsageError, clipped, shown

_SPLIT = re.compile(r"@([\w.-]+)\Z")
_CHANGE = re.compile(r"@((?:part:[^@]*)|(?:as:[\w.-]+)|(?:classes:[^@/\\]+)|(?:where:[^@]+))\Z")
_PART = re.compile(r"part:(\d{1,6})(?:-(\d{1,6}))?/(\d{1,6})(?::(\d{1,9}))?")
CHANGES = "@part:1/3:SEED, @part:1-5/6:SEED, @where:COLUMN=VALUE, @classes:NAME,NAME, @as:SPACE"
"""What may stand behind the spec of any dataset."""


@dataclass(frozen=True)
class Spec:
    """The parts of `kind:argument@split@change`."""

    kind: str
    argument: str
    split: str | None = None
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        split = f"@{self.split}" if self.split else ""
        return f"{self.kind}:{self.argument}{split}{''.join(f'@{change}' for change in self.changes)}"


def parse_spec(text: str) -> Spec:
    """Split a spec into its parts; nothing is opened.

    The kind ends at the first colon. A trailing `@word` without a path separator is the split, so a path may hold `:`
    and `@` (a folder called `a@b` is written `a@b/`). Raises `UsageError` that lists the known kinds, for a change that
    is none, and for names that are no text.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):  # it could neither be kept nor be in an address
        raise UsageError(
            f"Data spec {shown(text, 200)} is not in UTF-8",
            "a path in UTF-8",
            "Rename the folder, or make a link to it",
        )
    kind, colon, rest = text.partition(":")
    if not colon or kind not in DATASETS:
        got = (
            f"Unknown kind of data {shown(kind)} in {shown(text, 200)}"
            if colon
            else f"Data spec {shown(text, 200)} without a kind"
        )
        raise UsageError(got, f"one of {'; '.join(usages())}", "Put the kind and a colon in front")
    changes: list[str] = []
    while change := _CHANGE.search(rest):
        rest, changes = rest[: change.start()], [_checked(change.group(1)), *changes]
    found = _SPLIT.search(rest)
    _no_change(rest[: found.start()] if found else rest)
    argument = rest[: found.start()] if found else rest
    if not argument:
        raise UsageError(f"Data spec {shown(text, 200)} names nothing", DATASETS.get(kind).usage, "Complete it")
    return Spec(kind, argument, found.group(1) if found else None, tuple(changes))


def _no_change(argument: str) -> None:
    """Raises `UsageError` for what looks like a change and is none: misspelt, empty, or in front of the split."""
    _, behind, change = argument.rpartition("@")
    word, colon, value = change.partition(":")
    near = get_close_matches(word, ("part", "where", "classes", "as"), 1, 0.7) if behind and colon else []
    if near and (near == ["part"] or not {"/", "\\"} & set(value)):  # else it is a folder in a path
        raise UsageError(
            f"@{clipped(change, 80)}",
            f"behind the split, where there is one: {CHANGES}",
            "Correct the data spec (/ behind a folder that is called so)",
        )


def _checked(change: str) -> str:
    """The change. Raises `UsageError` for a part that is none."""
    part = _PART.fullmatch(change)
    if change.startswith("part:") and not (
        part and 1 <= int(part[1]) <= int(part[2] or part[1]) <= int(part[3]) and int(part[3]) > 1
    ):
        raise UsageError(f"@{clipped(change, 80)}", "@part:NUMBER/OF:SEED, as @part:1/3:0", "Correct the data spec")
    return change


def _changed(dataset: Dataset, change: str) -> Dataset:
    """A dataset after a change. Raises `DataError` where it has not the classes, or too few pictures."""
    kind, _, value = change.partition(":")
    if kind == "as":
        return in_space(dataset, value)
    if kind == "classes":
        return with_classes(dataset, value)
    if kind == "where":
        return where(dataset, value)
    first, last, of, seed = (int(number) if number else None for number in _PART.fullmatch(change).groups())  # type: ignore[union-attr]
    if len(dataset) < (of or 1):
        raise DataError(f"{of} parts of {len(dataset)} pictures", "a picture or more in each", "Ask for fewer parts")
    return Part(dataset, first or 1, last or first or 1, of or 1, seed or 0)


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
    with _folders_told():
        dataset = opener.open(parsed.argument, parsed.split)
    for change in parsed.changes:
        dataset = _changed(dataset, change)
    return dataset if limit is None or limit >= len(dataset) else First(dataset, limit)


def splits_of(spec: str) -> tuple[str, ...]:
    """Names of the splits that the data of `spec` has."""
    opener, parsed = _resolve(spec, None)
    with _folders_told():
        return opener.splits(parsed.argument)


@contextmanager
def _folders_told() -> Iterator[None]:
    """Raises `DataError` that names a folder or a file that may not be read."""
    try:
        yield
    except OSError as problem:
        got = f"{problem.filename or 'A folder'} cannot be read ({problem.strerror or type(problem).__name__})"
        raise DataError(got, "a folder that may be read", "Change its permissions, or the data spec") from problem


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
    return DATASETS.get(parsed.kind), replace(parsed, split=parsed.split or split or None)
