"""`classes.yaml`: what the ids or colours in the masks of a folder mean.

    name: my streets            # optional
    classes: [road, car]        # ids 0, 1, ...; or one mapping each: {name: car, id: 7, color: "#00008e"}
    ignore: 255                 # void: an id, a colour, or a list of them; 255 when left out and no class has it
    masks: colors               # ids or colors: what the pixels are; when left out see `fusionlib.data.masks`
    unknown: ignore             # void too: what is neither a class nor ignored; an error when left out
    orientation: stored         # masks were drawn on the stored pixels of pictures that have an EXIF orientation

`label_space: cityscapes` or `camvid` stands in place of `classes` when the masks hold the ids, or RGB pixels in the
colours, of that space.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionlib.contracts import IGNORE
from fusionlib.data.labels import LABEL_SPACES, Colour, LabelSpace, spread_palette
from fusionlib.data.masks import Legend, id_table
from fusionlib.errors import DataError, shown
from fusionlib.plain_yaml import read_yaml

_LARGEST_YAML = 64 * 1024
_GREY_BITS = (1, 8, 16)
"""Of grey masks whose values are ids: Pillow stretches those of 2 and 4 bits to 0 ... 255, as is right for colours."""

_CHOICES = {"masks": ("ids", "colors"), "unknown": ("ignore",), "orientation": ("shown", "stored")}
_FIELDS = frozenset({"name", "classes", "ignore", "label_space", *_CHOICES})
_CLASS_FIELDS = frozenset({"name", "id", "color"})
_EXAMPLE = "classes: [road, car] and ignore: 255"


@dataclass(frozen=True)
class Declaration:
    """What a `classes.yaml` says; `stored_first`: masks were drawn on pictures as they are stored."""

    space: LabelSpace
    legend: Legend
    stored_first: bool


@dataclass(frozen=True)
class _Class:
    """One entry of `classes`; no colour where it gives none."""

    name: str
    id: int
    colour: Colour | None


def read_classes(path: Path) -> Declaration:
    """Label space and legend of a `classes.yaml`. Raises `DataError` that names the file and the entry."""
    content = _load(path)
    if not isinstance(content, dict) or not content.keys() <= _FIELDS:
        keys = (
            sorted(shown(key) for key in content.keys() - _FIELDS)[:5]
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise DataError(
            f"{path} has {keys} at its top",
            f"fields out of {', '.join(sorted(_FIELDS))}",
            f"Write for example {_EXAMPLE}",
        )
    if ("classes" in content) == ("label_space" in content):
        raise DataError(
            f"{path} has {'both' if 'classes' in content else 'neither'} classes and label_space",
            "exactly one of the two",
            f"Write for example {_EXAMPLE}",
        )
    for name, choices in _CHOICES.items():
        if content.get(name, choices[0]) not in choices:
            raise DataError(
                f"{path} has {name} {shown(content[name])}",
                f"one of {', '.join(choices)}",
                f"Correct {name} or leave it out",
            )
    if "label_space" in content:
        space = _built_in(path, content["label_space"])
        classes = [
            _Class(name, number, colour)
            for number, (name, colour) in enumerate(zip(space.names, space.palette, strict=True))
        ]
    else:
        classes = _read_list(path, content["classes"])
        space = _make_space(path, content.get("name", path.parent.resolve().name), classes)
    ids, colours = (
        _read_ignore(path, content["ignore"])
        if "ignore" in content
        else ({255} - {entry.id for entry in classes}, set())
    )
    return Declaration(space, _legend(path, content, classes, ids, colours), content.get("orientation") == "stored")


def _legend(path: Path, content: dict[str, Any], classes: list[_Class], ids: set[int], colours: set[Colour]) -> Legend:
    """What pixels mean; without a colour of its own for every class none of them is one, for colours may be there to
    paint with alone.
    """
    numbers = [entry.id for entry in classes]
    known = {entry.colour: label for label, entry in enumerate(classes) if entry.colour is not None}
    if clash := sorted(set(numbers) & ids) or sorted(known.keys() & colours):
        raise DataError(
            f"{path} declares {shown(clash)} as classes and as ignore", "one meaning per id and colour", "Change one"
        )
    uncoloured = next((entry.name for entry in classes if entry.colour is None), None)
    why = (
        f"{shown(uncoloured)} has no color"
        if uncoloured
        else "two classes have the same color"
        if len(known) < len(classes)
        else ""
    )
    built_in = "label_space" in content
    void = {(0, 0, 0)} - known.keys() if built_in else set()  # what both built-in spaces paint void with
    return Legend(
        id_table(numbers, ids),
        None if why else {**known, **dict.fromkeys(colours | void, IGNORE)},
        declared=not (built_in or why),
        masks=content.get("masks"),
        unknown_is_void="unknown" in content,
        grey_bits=_GREY_BITS,
        colourless=f"In {path.name} {why}: give each class its own" if why else "",
        classes=len(classes),
    )


def _load(path: Path) -> Any:
    try:
        return read_yaml(path, _LARGEST_YAML)
    except FileNotFoundError as problem:
        raise DataError(
            f"No file {path}",
            "the classes that the ids in the masks stand for",
            f"Create it, for example with {_EXAMPLE}",
        ) from problem
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{path} cannot be read: {problem}", "a YAML file", f"Write for example {_EXAMPLE}"
        ) from problem


def _built_in(path: Path, name: Any) -> LabelSpace:
    spaces = {key: space for key, space in LABEL_SPACES.items() if not key.endswith("-void")}
    if not isinstance(name, str) or name not in spaces:
        raise DataError(
            f"{path} has label_space {shown(name)}", f"one of {', '.join(spaces)}", "Correct it or list classes"
        )
    return spaces[name]


def _read_ignore(path: Path, value: Any) -> tuple[set[int], set[Colour]]:
    """Ids and colours that are void; a list of three numbers is three ids, a colour within a list is '#rrggbb' or a
    list itself.
    """
    items = value if isinstance(value, list) else [value]
    ids = {item for item in items if _is_id(item)}
    colours = [_colour(item) for item in items if not _is_id(item)]
    if None in colours:
        raise DataError(
            f"{path} has ignore {shown(value)}",
            "an id from 0 to 255, a colour as '#rrggbb', or a list of them",
            "Correct ignore",
        )
    return ids, {colour for colour in colours if colour is not None}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _read_list(path: Path, value: Any) -> list[_Class]:
    if not isinstance(value, list) or not 1 <= len(value) <= 255:
        raise DataError(f"{path} has classes {shown(value)}", "a list of 1 to 255 names", f"Write {_EXAMPLE}")
    return [_read_entry(path, index, item) for index, item in enumerate(value)]


def _read_entry(path: Path, index: int, item: Any) -> _Class:
    fields = item if isinstance(item, dict) else {"name": item}
    name, number = fields.get("name"), fields.get("id", index)
    if not isinstance(name, str) or not name.strip() or not _is_id(number) or not fields.keys() <= _CLASS_FIELDS:
        do = (
            "Quote the name: YAML takes on, off, yes and no for true and false"
            if isinstance(name, bool)
            else "Correct the entry"
        )
        raise DataError(
            f"{path} has {shown(item)} as entry {index} of classes",
            "a name, or {name: text, id: 0 to 255, color: '#rrggbb'}",
            do,
        )
    colour = _colour(fields["color"]) if "color" in fields else None
    if "color" in fields and colour is None:
        raise DataError(
            f"{path} has color {shown(fields['color'])}",
            "'#rrggbb' or [red, green, blue] from 0 to 255",
            "Correct the colour (quote it: YAML takes # for a comment)",
        )
    return _Class(name.strip(), number, colour)


def _colour(value: Any) -> Colour | None:
    """Red, green and blue of '#rrggbb' or a list of three; None for anything else."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            red, green, blue = bytes.fromhex(value[1:])
            return red, green, blue
        except ValueError:
            return None
    if isinstance(value, list) and len(value) == 3 and all(_is_id(part) for part in value):
        return int(value[0]), int(value[1]), int(value[2])
    return None


def _make_space(path: Path, name: Any, classes: list[_Class]) -> LabelSpace:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path} has name {shown(name)}", "a text", "Correct or remove it")
    for what, values in (
        ("names", [entry.name.casefold() for entry in classes]),
        ("ids", [str(e.id) for e in classes]),
    ):
        if twice := [value for value, times in Counter(values).items() if times > 1]:
            raise DataError(
                f"{path} has the {what} {', '.join(twice[:5])} more than once",
                "different names and ids",
                "Correct the classes",
            )
    spread = spread_palette(len(classes))
    return LabelSpace(
        name.strip(),
        f"{name.strip()} ({len(classes)} classes)",
        tuple(entry.name for entry in classes),
        tuple(entry.colour or spread[label] for label, entry in enumerate(classes)),
    )
