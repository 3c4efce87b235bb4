"""Streets: generated street scenes in five kinds of weather, the same on every machine for the same seed."""

from __future__ import annotations

import hashlib

from fusionlib.contracts import DATASETS, Sample
from fusionlib.data.labels import CITYSCAPES, LabelSpace
from fusionlib.data.streets import DOMAINS, VERSION, render_scene
from fusionlib.errors import UsageError

ALL = "all"
"""Pseudo domain: the domains take turns."""

_FIRST_SEED = {"train": 0, "val": 1_000_000, "test": 2_000_000}
_DEFAULT_COUNT = {"train": 400, "val": 64, "test": 64}
_MOST = 1_000_000  # more would run into the next split's seeds


class Streets:
    """Scene `index` of a split has the seed `first seed of the split + index`, so splits never share a scene."""

    def __init__(self, domain: str, split: str, count: int) -> None:
        self.domain, self.split, self.count = domain, split, count
        self.spec = f"streets:{domain}:{count}@{split}"
        self.title = f"Streets {domain}, {split}"
        self.label_space: LabelSpace = CITYSCAPES
        self.labelled = True
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Domain and seed."""
        domain, seed = self._scene(index)
        return f"{domain}-{seed}"

    def load(self, index: int, whole: bool = False) -> Sample:
        """Render scene `index`; none is large."""
        domain, seed = self._scene(index)
        scene = render_scene(seed, domain)
        return Sample(self.name(index), scene.image, scene.labels)

    def fingerprint(self) -> str:
        """SHA-256 of the generator's version and what is asked of it."""
        return hashlib.sha256(f"streets {VERSION} {self.domain} {self.split} {self.count}".encode()).hexdigest()

    def picture_key(self, index: int) -> str:
        """SHA-256 of the generator's version and the scene: the same in every split and count that has it."""
        domain, seed = self._scene(index)
        return hashlib.sha256(f"streets {VERSION} {domain} {seed}".encode()).hexdigest()

    def group(self, index: int) -> str:
        """Its own: scenes are drawn one by one."""
        return self.name(index)

    def _scene(self, index: int) -> tuple[str, int]:
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        domain = DOMAINS[index % len(DOMAINS)] if self.domain == ALL else self.domain
        return domain, _FIRST_SEED[self.split] + index


class StreetsOpener:
    """Domains and counts of the generator."""

    title = "Streets (generated scenes)"
    usage = "streets:DOMAIN[:COUNT][@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """train, val and test, whatever the domain."""
        _parse(argument)
        return tuple(_FIRST_SEED)

    def open(self, argument: str, split: str | None) -> Streets:
        """`argument` is `DOMAIN` or `DOMAIN:COUNT`; the split is val by default. Raises `UsageError`."""
        domain, count = _parse(argument)
        split = split or "val"
        if split not in _FIRST_SEED:
            raise UsageError(
                f"Unknown Streets split {split!r}", f"one of {', '.join(_FIRST_SEED)}", "Correct the split"
            )
        return Streets(domain, split, count or _DEFAULT_COUNT[split])


def _parse(argument: str) -> tuple[str, int | None]:
    domain, colon, digits = argument.partition(":")
    if domain not in (*DOMAINS, ALL):
        raise UsageError(
            f"Unknown Streets domain {domain!r}", f"one of {', '.join((*DOMAINS, ALL))}", "Correct the domain"
        )
    if not colon:
        return domain, None
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:9]) <= _MOST and len(digits) < 9):
        raise UsageError(f"Streets count {digits!r}", f"a whole number from 1 to {_MOST}", "Correct the count")
    return domain, int(digits)


DATASETS.register("streets")(StreetsOpener())
