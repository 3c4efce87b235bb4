"""Label spaces: class names and colours, and which class of one space a class of another counts as."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from fusionlib.contracts import OwnClasses
from fusionlib.data.tables import Table, known_pairs, table_of
from fusionlib.errors import DataError, clipped, shown

Colour = tuple[int, int, int]

NO_COUNTERPART = -1
"""Target id of a source class that the target space does not have."""


@dataclass(frozen=True)
class LabelSpace:
    """The classes that ids `0 ... count - 1` stand for.

    `names` and `palette` run in the order of the ids; `none` is the colour of void and of everything without a class.
    `counts_as` are pairs of a class and the class of an annotation that it counts as by its network's declaration, None
    for none.
    """

    name: str
    title: str
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    none: Colour = (0, 0, 0)
    counts_as: tuple[tuple[str, str | None], ...] = ()

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.names):
            raise DataError(
                f"Label space {self.name!r} has {len(self.names)} names and {len(self.palette)} colours",
                "one colour per class",
                "Correct its palette",
            )

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.names)

    @cached_property
    def lut(self) -> np.ndarray:
        """(256, 3) uint8: colour of every id; `none` for the ids that are no class (255 is void)."""
        table = np.empty((256, 3), np.uint8)
        table[:] = self.none
        table[: self.count] = np.array(self.palette, np.uint8).reshape(-1, 3)
        return table


def spread_palette(count: int) -> tuple[Colour, ...]:
    """`count` distinguishable colours: hues a golden angle apart, in three alternating tones."""
    tones = ((0.65, 0.95), (0.85, 0.70), (0.45, 0.85))
    shades = (colorsys.hsv_to_rgb(0.618034 * i % 1.0, *tones[i % len(tones)]) for i in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades)


def numbered(count: int) -> LabelSpace:
    """The space `classes-N` of a network about whose N outputs nothing else is known."""
    return LabelSpace(
        f"classes-{count}", f"{count} unnamed classes", tuple(f"class {i}" for i in range(count)), spread_palette(count)
    )


_CITYSCAPES: tuple[tuple[str, Colour], ...] = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

_CAMVID: tuple[tuple[str, Colour], ...] = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign symbol", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)


def _space(name: str, title: str, classes: tuple[tuple[str, Colour], ...]) -> LabelSpace:
    return LabelSpace(name, title, tuple(label for label, _ in classes), tuple(colour for _, colour in classes))


CITYSCAPES = _space("cityscapes", "Cityscapes (19 classes)", _CITYSCAPES)
CITYSCAPES_VOID = _space("cityscapes-void", "Cityscapes (19 classes and void)", (*_CITYSCAPES, ("void", (0, 0, 0))))
"""For networks with a 20th output "void". Void is a prediction like any other: on a labelled pixel it is an error."""
CAMVID = _space("camvid", "CamVid (11 classes)", _CAMVID)
UNLABELLED = LabelSpace("unlabelled", "Pictures without masks", (), ())
"""The space of a dataset that has no annotation. Pictures of it are shown in the network's own space."""

_CATEGORIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("flat", ("road", "sidewalk")),
    ("construction", ("building", "wall", "fence")),
    ("object", ("pole", "traffic light", "traffic sign")),
    ("nature", ("vegetation", "terrain")),
    ("sky", ("sky",)),
    ("human", ("person", "rider")),
    ("vehicle", ("car", "truck", "bus", "train", "motorcycle", "bicycle")),
)
"""The seven categories of Cityscapes' train ids (cityscapesScripts, `helpers/labels.py`)."""


def class_groups(space: LabelSpace) -> dict[str, tuple[int, ...]]:
    """Ids of the classes of each category: Cityscapes' for a space that has its 19 classes, empty for all others.

    What else a space has ("void") is in no category.
    """
    if not {name for name, _ in _CITYSCAPES} <= set(space.names):
        return {}
    return {name: tuple(map(space.names.index, members)) for name, members in _CATEGORIES}


def _stored(path: Path) -> LabelSpace:
    """A space as it lies beside this file: the title, then a class a line, each with `#rrggbb` in front or without.

    The title's is the colour of void.
    """
    (none, title), *classes = map(_coloured, path.read_text(encoding="utf-8").splitlines())
    spread = spread_palette(len(classes))
    palette = tuple(colour or spread[number] for number, (colour, _) in enumerate(classes))
    return LabelSpace(path.stem, title, tuple(name for _, name in classes), palette, none or LabelSpace.none)


def _coloured(line: str) -> tuple[Colour | None, str]:
    if not line.startswith("#"):
        return None, line
    red, green, blue = bytes.fromhex(line[1:7])
    return (red, green, blue), line[8:]


LABEL_SPACES: dict[str, LabelSpace] = {
    space.name: space
    for space in (
        CITYSCAPES,
        CITYSCAPES_VOID,
        CAMVID,
        *map(_stored, sorted(Path(__file__).with_name("spaces").glob("*.txt"))),
    )
}
"""The built-in spaces by name."""

_CITYSCAPES_TO_CAMVID = (3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)
"""Finer classes count as the coarser one: wall as building, terrain as tree, trucks, buses and trains as car, ..."""

_MAPPINGS: dict[tuple[str, str], tuple[int, ...]] = {
    ("cityscapes", "camvid"): _CITYSCAPES_TO_CAMVID,
    ("cityscapes-void", "camvid"): (*_CITYSCAPES_TO_CAMVID, NO_COUNTERPART),
    ("cityscapes-void", "cityscapes"): (*range(19), NO_COUNTERPART),
    ("cityscapes", "cityscapes-void"): tuple(range(19)),
}


def label_space(name: str | OwnClasses) -> LabelSpace:
    """The built-in space `name`; `classes-N` gives N numbered classes; a network's own classes as it declares them.

    Raises `DataError` that lists the valid names.
    """
    if isinstance(name, OwnClasses):
        return _own(name)
    if name in LABEL_SPACES:
        return LABEL_SPACES[name]
    digits = name.removeprefix("classes-")
    if digits != name and digits.isdecimal() and 1 <= int(digits) <= 255:
        return numbered(int(digits))
    raise DataError(
        f"Unknown label space {shown(name)}",
        f"one of {', '.join(LABEL_SPACES)}, or classes-N (N up to 255)",
        "Correct the name",
    )


def _own(declared: OwnClasses) -> LabelSpace:
    if isinstance(declared.space, str):
        space = label_space(declared.space)
    else:
        title = f"{len(declared.space)} classes: {clipped(', '.join(declared.space), 60)}"
        space = LabelSpace("own", title, declared.space, spread_palette(len(declared.space)))
    for own, _ in declared.counts_as:
        if own not in space.names:
            raise DataError(f"LABEL_MAP has {shown(own)}", f"classes of {space.title}", "Correct LABEL_MAP")
    return replace(space, counts_as=declared.counts_as)


def mapping(source: LabelSpace, target: LabelSpace) -> np.ndarray:
    """Target id of each source class: (source.count,) int64, -1 where the target space has no counterpart.

    A prediction that maps to -1 is outside the target space: on a labelled pixel it is an error (a false negative of
    the true class). Known are: the built-in pairs; spaces with the same class names; a space of numbered classes and
    any space with as many; a target all of whose class names occur in the source (matched by name); and spaces that
    there is a table between (`fusionlib.data.tables`), which goes before all but equal names. Where the source declares
    what its classes count as, that goes before, and the others count by their names if nothing else.

    Raises `DataError` for every other pair: guessing a counterpart would make the figures meaningless.
    """
    if source.counts_as and source != target:
        return _declared(source, target)
    if source.names == target.names:
        return np.arange(source.count, dtype=np.int64)
    table = table_of(source.name, target.name)
    if table is not None and (found := _by_table(table, source, target)) is not None:
        return found
    built_in = LABEL_SPACES.get(source.name) == source
    if built_in and LABEL_SPACES.get(target.name) == target and (source.name, target.name) in _MAPPINGS:
        return np.array(_MAPPINGS[source.name, target.name], np.int64)
    if source.count == target.count and source == numbered(source.count):
        return np.arange(source.count, dtype=np.int64)
    ids = {label.casefold(): i for i, label in enumerate(target.names)}
    if target.count and ids.keys() <= {label.casefold() for label in source.names}:
        return np.array([ids.get(label.casefold(), NO_COUNTERPART) for label in source.names], np.int64)
    raise DataError(
        f"The network predicts {source.title} [{source.name}], the annotation uses {target.title} [{target.name}]",
        f"the same classes, or a known mapping ({', '.join(f'{a} to {b}' for a, b in (*_MAPPINGS, *known_pairs()))})",
        f"Add @as:{source.name} to the data spec, which reads the annotation in the network's classes"
        if _maps(target, source)
        else "Choose data annotated in a matching label space, name the classes alike in classes.yaml, or write a table"
        " into the folder of --class-tables"
        + ("; LABEL_SPACE of model code says which classes it has, if not those of its number" if built_in else ""),
    )


def _maps(source: LabelSpace, target: LabelSpace) -> bool:
    """Whether the finer classes of an annotation could count as those of a network: a table says so."""
    table = table_of(source.name, target.name)
    return LABEL_SPACES.get(target.name) == target and bool(table) and _by_table(table, source, target) is not None


def _by_table(table: Table, source: LabelSpace, target: LabelSpace) -> np.ndarray | None:
    """The mapping of a table; None for a table of ours where a space only has the name: less than half of the classes
    (a config may leave some out), or not those that they count as.

    Raises `DataError` for a table of the operator's with a class that a space does not have.
    """
    own, theirs = ({label.casefold(): i for i, label in enumerate(space.names)} for space in (source, target))
    ids = np.full(source.count, NO_COUNTERPART, np.int64)
    there = sum(label.casefold() in own for label, _ in table.classes)
    if not table.own and 2 * there < len(table.classes):
        return None
    for label, other in table.classes:
        strange = label if label.casefold() not in own else other if other and other.casefold() not in theirs else None
        if strange is not None and not table.own and strange == label:
            continue
        if strange is not None and not table.own:
            return None
        if strange is not None:
            space = source if label.casefold() not in own else target
            raise DataError(
                f"{table.file} has the class {shown(strange)}",
                f"classes of {space.title}: {clipped(', '.join(space.names), 400)}",
                "Correct the table",
            )
        ids[own[label.casefold()]] = NO_COUNTERPART if other is None else theirs[other.casefold()]
    return ids


def counterparts(source: LabelSpace, target: LabelSpace) -> np.ndarray | None:
    """The same as `mapping`; None where every class counts as itself and nothing is to be done."""
    same = source == target or (source.names == target.names and not source.counts_as)
    return None if same else mapping(source, target)


def _declared(source: LabelSpace, target: LabelSpace) -> np.ndarray:
    by_name = {label.casefold(): number for number, label in enumerate(target.names)}
    try:
        ids = mapping(replace(source, counts_as=()), target)
    except DataError:
        ids = np.array([by_name.get(label.casefold(), NO_COUNTERPART) for label in source.names], np.int64)
    for own, other in source.counts_as:
        number = source.names.index(own)
        if other is None or other.casefold() in by_name:
            ids[number] = NO_COUNTERPART if other is None else by_name[other.casefold()]
        elif ids[number] == NO_COUNTERPART:
            raise DataError(
                f"LABEL_MAP counts {shown(own)} as {shown(other)}, which is no class of {target.title}",
                f"one of {clipped(', '.join(target.names), 400)}",
                "Correct LABEL_MAP of the model file, or choose other data",
            )
    return ids
