"""Answers as one compressed file: written out of a home folder, taken into another where nothing could be wrong of it.

The file is data. It says what answers (the versions of what computes, of methods and measures, device and precision),
and where one of these differs here, nothing of it is taken. Keys are made anew from what it says of networks and
pictures, and figures from the states of pictures where it has them. What is known already stays.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError

from fusionlib.contracts import MEASURES, METHODS, Dataset, Measure, State
from fusionlib.errors import DataError
from fusionlib.measures import states
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.answers import Answer, Answers, Remembered, Subject, short, software

SMALL = 512
"""Bytes a picture up to which states travel, from which any part of the figures and their intervals follow; of larger
ones the figures alone.
"""

MOST_BYTES = 32 << 20
"""Of what a file holds. A sweep over thousands of pictures takes less."""

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=1 << 31)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Build(_Part):
    """A row of what recipes were built into, see `Remembered`."""

    memo: Key
    build: Key
    notes: list[str]
    seconds: Annotated[float, Field(ge=0)]
    forwards: Annotated[int, Field(ge=1, le=64)]
    passes: Count


class Figures(_Part):
    """What a measure says of all pictures: its figures, or of each picture a packed state (base64), in their order."""

    measure: str
    version: Count
    figures: dict[str, Any] | None = None
    states: list[str] | None = None


class Measured(_Part):
    """Networks that were measured together, see `Subject`, by recipes that name them."""

    builds: Annotated[list[Key], Field(min_length=1, max_length=64)]
    labels: Annotated[str, Field(pattern=r"^[0-9a-f ]+$", max_length=64 * 17)]
    recipes: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=64)]
    answers: list[Figures]


class Shipment(_Part):
    """Answers about one dataset of `classes` classes, whose pictures have these keys."""

    format: Literal[1] = 1
    software: str
    device: str
    precision: str
    methods: dict[str, int]
    spec: str
    data: Key
    classes: Annotated[int, Field(ge=1, le=255)]
    pictures: Annotated[list[Key], Field(min_length=1)]
    builds: list[Build]
    measured: list[Measured]


class Shipments(_Part):
    """Answers about several datasets."""

    format: Literal[2] = 2
    parts: Annotated[list[Shipment], Field(min_length=1, max_length=64)]


_WHOLE: TypeAdapter[Shipment | Shipments] = TypeAdapter(Annotated[Shipment | Shipments, Discriminator("format")])


def shipment(
    answers: Answers, dataset: Dataset, device: str, precision: str, measures: Collection[str] = ()
) -> Shipment:
    """Everything that is known about a dataset on this device; with `measures` what these say alone. Raises `DataError`
    where that is nothing.
    """
    pictures = [dataset.picture_key(index) for index in range(len(dataset))]
    measured = list(_measured(answers, dataset, pictures, device, precision, measures))
    if not measured:
        raise DataError(
            f"No answers about {dataset.spec} in this home folder",
            f"figures of it, on {device} in {precision}, by this version of everything",
            "Measure first, as with `sweep`",
        )
    named = {build for one in measured for build in one.builds}
    rows = answers.database.read("SELECT memo, build, notes, seconds, forwards, passes FROM builds ORDER BY memo")
    builds = [
        Build(memo=memo, build=build, notes=json.loads(notes), seconds=round(s, 3), forwards=forwards, passes=passes)
        for memo, build, notes, s, forwards, passes in rows
        if build in named
    ]
    return Shipment(
        software=software(),
        device=device,
        precision=precision,
        methods={name: METHODS.get(name).version for name in sorted(_methods(measured))},
        spec=dataset.spec,
        data=dataset.fingerprint(),
        classes=dataset.label_space.count,
        pictures=pictures,
        builds=builds,
        measured=measured,
    )


def packed(*shipped: Shipment) -> bytes:
    """The file; the same answers give the same bytes."""
    whole = shipped[0] if len(shipped) == 1 else Shipments(parts=list(shipped))
    return gzip.compress(whole.model_dump_json(exclude_none=True).encode(), mtime=0)


def take(answers: Answers, data: bytes, device: str, precision: str) -> int:
    """Put the answers of a file into the tables; how many were new, 0 where it was made by other versions.

    Raises: `DataError` for a file that is none, or whose parts do not fit one another; nothing of it is taken.
    """
    parts = [part for part in _read(data) if _fits(part, device, precision)]
    ready = [(part, _ready(part, device, precision)) for part in parts]
    return sum(_taken(answers, part, rows) for part, rows in ready)


_Row = tuple[Measured, Subject, Figures, Answer]


def _ready(shipped: Shipment, device: str, precision: str) -> list[_Row]:
    """What a part says, checked."""
    return [
        (one, Subject(tuple(one.builds), one.labels, precision, device), figures, _checked(shipped, one, figures))
        for one in shipped.measured
        for figures in one.answers
    ]


def _taken(answers: Answers, shipped: Shipment, ready: list[_Row]) -> int:
    """Put a part into the tables; how many answers were new."""
    places = [short(key) for key in shipped.pictures]
    new = [row for row in ready if answers.find(row[1], row[2].measure, row[2].version, shipped.data) is None]
    for one, subject, figures, answer in new:
        kept = [base64.b64decode(state) for state in figures.states or ()]
        had = answers.states(subject, figures.measure, figures.version, places)
        answers.keep_states(
            (subject, figures.measure, figures.version, key, state, 0)
            for key, place, state in zip(shipped.pictures, places, kept, strict=bool(kept))
            if place not in had
        )
        question = Question(_recipes(one), shipped.data, figures.measure)
        answers.keep(subject, figures.measure, figures.version, question, shipped.spec, answer)
    known = answers.builds(one.memo for one in shipped.builds)
    for one in shipped.builds:
        if one.memo not in known:
            found = Remembered(one.build, tuple(one.notes), one.seconds, one.forwards, one.passes)
            answers.keep_build(one.memo, found)
    return len(new)


def _measured(
    answers: Answers,
    dataset: Dataset,
    pictures: list[str],
    device: str,
    precision: str,
    measures: Collection[str] = (),
) -> Iterator[Measured]:
    """Subjects with what current measures say of them, in an order that does not depend on when they were measured."""
    rows = answers.database.read(
        "SELECT DISTINCT s.builds, s.labels, s.recipes FROM subjects s JOIN answers a ON a.subject = s.key WHERE"
        " a.data = ? AND a.tiled = 0 AND s.device = ? AND s.precision = ? AND s.software = ? ORDER BY s.builds",
        (dataset.fingerprint(), device, precision, software()),
    )
    for builds, labels, recipes in rows:
        subject = Subject(tuple(builds.split()), labels, precision, device)
        found = [
            _figures(answers, subject, name, measure, dataset, pictures)
            for name, measure in sorted(MEASURES.items())
            if not measures or name in measures
        ]
        told = [one for one in found if one is not None]
        if told:
            yield Measured(builds=builds.split(), labels=labels, recipes=json.loads(recipes), answers=told)


def _figures(
    answers: Answers, subject: Subject, name: str, measure: Measure, dataset: Dataset, pictures: list[str]
) -> Figures | None:
    """What a measure says: states where they are small, else the figures, also those that nobody asked for yet."""
    keys = list(map(short, pictures))
    rows = answers.states(subject, name, measure.version, keys) if measure.grain == "picture" else {}
    packed = [rows[key][0] for key in keys if key in rows and rows[key][1] == 0]
    if len(packed) == len(keys):
        if sum(map(len, packed)) <= SMALL * len(packed):
            listed = [base64.b64encode(one).decode() for one in packed]
            return Figures(measure=name, version=measure.version, states=listed)
        figures = measure.compute(states.add(map(states.unpack, packed)))
        return Figures(measure=name, version=measure.version, figures=figures)
    answer = answers.find(subject, name, measure.version, dataset.fingerprint())
    return None if answer is None else Figures(measure=name, version=measure.version, figures=dict(answer.figures))


def _read(data: bytes) -> list[Shipment]:
    reader = zlib.decompressobj(wbits=31)
    try:
        text = reader.decompress(data, MOST_BYTES)
    except zlib.error:
        raise _damaged("that is not compressed") from None
    if not reader.eof or reader.unused_data:
        raise _damaged("that ends too early, goes on too long or is too large")
    try:
        whole = _WHOLE.validate_json(text)
        return whole.parts if isinstance(whole, Shipments) else [whole]
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(f"with {where or 'a text'} that is none: {first['msg']}") from None


def _fits(shipped: Shipment, device: str, precision: str) -> bool:
    """Whether the same question would be answered by the same code here."""
    here = (software(), device, precision)
    versions = {(one.measure, one.version) for measured in shipped.measured for one in measured.answers}
    return (
        here == (shipped.software, shipped.device, shipped.precision)
        and all(name in METHODS and METHODS.get(name).version == version for name, version in shipped.methods.items())
        and all(name in MEASURES and MEASURES.get(name).version == version for name, version in versions)
    )


def _checked(shipped: Shipment, one: Measured, figures: Figures) -> Answer:
    """Figures of a measure: those that follow from its states, or those that the file has. Raises `DataError`."""
    measure, count = MEASURES.get(figures.measure), len(shipped.pictures)
    if not _methods([one]) <= shipped.methods.keys():
        raise _damaged("with networks of a method whose version it does not say")
    if figures.states is None:
        known = set(measure.compute(_empty(measure, shipped, one)))
        if figures.figures is None or set(figures.figures) != known or not _plain(figures.figures):
            raise _damaged(f"with other figures of {figures.measure}", f"{', '.join(sorted(known))}")
        return Answer(figures.figures, count, 0)
    if measure.grain != "picture" or len(figures.states) != count:
        raise _damaged(f"with {len(figures.states)} states of {figures.measure}", f"one for each of {count} pictures")
    like = _empty(measure, shipped, one)
    try:
        unpacked = [states.unpack(base64.b64decode(state, validate=True), like) for state in figures.states]
    except ValueError:
        raise _damaged(f"with a state of {figures.measure} that is no base64") from None
    return Answer(measure.compute(states.add(unpacked)), count, 0)


def _plain(value: Any, depth: int = 6) -> bool:
    """Whether a value is a finite number, None, or lists and tables of those: what figures are."""
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(name, str) and _plain(one, depth - 1) for name, one in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_plain(one, depth - 1) for one in value)
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _empty(measure: Measure, shipped: Shipment, one: Measured) -> State:
    return measure.init(shipped.classes, torch.device("cpu"), len(one.builds))


def _recipes(one: Measured) -> tuple[Recipe, ...]:
    try:
        return tuple(Recipe.model_validate_json(json.dumps(recipe)).without_folders() for recipe in one.recipes)
    except ValidationError as problem:
        raise _damaged(f"with a recipe that is none: {problem.errors()[0]['msg']}") from None


def _methods(measured: Iterable[Measured]) -> set[str]:
    return {recipe.method for one in measured for recipe in _recipes(one)}


def _damaged(what: str, needs: str = "a file that `results export` has written") -> DataError:
    return DataError(f"A file of answers {what}", needs, "Make it again")
