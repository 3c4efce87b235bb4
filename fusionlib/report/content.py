"""What stands in a report, as plain values: pages and Markdown are made of it, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LAYERS = ("picture", "truth", "reference", "merge", "transitions")
"""What is shown of a picture, in this order."""


@dataclass(frozen=True)
class Network:
    """A network of the report: `role` is `merge`, `best` (what it is held against) or `other`; `scores` by name, None
    where undefined. `about` has what is known of a file.
    """

    name: str
    role: str
    scores: Mapping[str, float | None]
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A picture that is shown: `layers` by name, each its media type and its bytes; gains are fractions."""

    name: str
    domain: str
    gain: float
    miou: Mapping[str, float | None]
    fixed: int
    broken: int
    size: tuple[int, int]
    layers: Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Mark:
    """A region that somebody has marked in a picture, and what they wrote of it.

    `shape` (`rectangle`, `ellipse`) fills the `box` (x, y, width, height) in fractions of the picture; where nobody
    knows it, nothing is drawn.
    """

    picture: str
    note: str
    pixels: int | None = None
    shape: str = "rectangle"
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class LeftOut:
    """What is not in the report, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Content:
    """A whole report. Fractions and nats throughout; what is None or empty is left out, and `left_out` says why.

    `sentence` is the one that matters and `level` its colour: `gain`, `same`, `loss` or `unknown`. `curve` are points
    by alpha with `miou` and `loss`, `ends` the names at alpha 1 and 0, `here` the alpha of the merge. `facts` name what
    made the figures; `command` makes the report again.
    """

    title: str
    sentence: str
    level: str
    data: str
    images: int
    networks: Sequence[Network]
    reference: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    curve: Sequence[Mapping[str, Any]] = ()
    ends: tuple[str, str] = ("", "")
    here: float | None = None
    classes: Sequence[Mapping[str, Any]] = ()
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()
    pictures: Sequence[Shown] = ()
    marks: Sequence[Mark] = ()
    recipe: str = ""
    facts: Sequence[tuple[str, str]] = ()
    command: str = ""
    notes: Sequence[str] = ()
    left_out: Sequence[LeftOut] = ()
