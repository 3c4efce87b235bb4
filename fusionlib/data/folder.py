"""Any labelled folder: `images/` + `masks/` with the same names, and `classes.yaml` that says what the ids mean.

    name: my streets            # optional
    classes: [road, car]        # ids 0, 1, ...; or one mapping each: {name: car, id: 7, color: "#00008e"}
    ignore: 255                 # void: an id or a list of ids; 255 when left out

`label_space: cityscapes` or `camvid` stands in place of `classes` when the masks hold those ids. Pictures of several
splits lie in `images/<split>/` and `masks/<split>/`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fusionlib.contracts import DATASETS
from fusionlib.data.files import existing_folder, list_files
from fusionlib.data.labels import LABEL_SPACES, Colour, LabelSpace, spread_palette
from fusionlib.data.pairs import PairedDataset, find_pairs, id_table
from fusionlib.errors import DataError

CLASSES_FILE = "classes.yaml"
_LARGEST_YAML = 64 * 1024
_FIELDS = frozenset({"name", "classes", "ignore", "label_space"})
_CLASS_FIELDS = frozenset({"name", "id", "color"})
_EXAMPLE = "classes: [road, car] and ignore: 255"


@dataclass(frozen=True)
class _Declared:
    """One entry of `classes`, with what it leaves out filled in."""

    name: str
    id: int
    colour: Colour


def read_classes(path: Path) -> tuple[LabelSpace, np.ndarray]:
    """Label space and id table of a `classes.yaml`. Raises `DataError` that names the file and the entry."""
    content = _load_yaml(path)
    if not isinstance(content, dict) or not content.keys() <= _FIELDS:
        keys = sorted(map(str, content.keys() - _FIELDS)) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path} has {keys} at its top", f"fields out of {', '.join(sorted(_FIELDS))}",
                        f"Write for example {_EXAMPLE}")
    if ("classes" in content) == ("label_space" in content):
        raise DataError(f"{path} has {'both' if 'classes' in content else 'neither'} classes and label_space",
                        "exactly one of the two", f"Write for example {_EXAMPLE}")
    ignore = _read_ignore(path, content.get("ignore", 255))
    if "label_space" in content:
        space, ids = _built_in(path, content["label_space"]), None
    else:
        declared = _read_list(path, content["classes"])
        space, ids = _make_space(path, content.get("name", path.parent.resolve().name), declared), declared
    numbers = [entry.id for entry in ids] if ids else list(range(space.count))
    if clash := sorted(set(numbers) & set(ignore)):
        raise DataError(f"{path} declares the ids {clash} as classes and as ignore", "one meaning per id", "Change one")
    return space, id_table(numbers, ignore)


def _load_yaml(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise DataError(f"{path} is larger than {_LARGEST_YAML // 1024} KB", "a short list of classes",
                            f"Write for example {_EXAMPLE}")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise DataError(f"No file {path}", "the classes that the ids in the masks stand for",
                        f"Create it, for example with {_EXAMPLE}") from problem
    except DataError:
        raise
    except Exception as problem:  # safe_load runs no code, but hostile text makes it raise nearly anything
        reason = " ".join(str(problem).split())
        raise DataError(f"{path} cannot be read: {reason}", "a YAML file", f"Write for example {_EXAMPLE}") from problem


def _built_in(path: Path, name: Any) -> LabelSpace:
    spaces = {key: space for key, space in LABEL_SPACES.items() if not key.endswith("-void")}
    if not isinstance(name, str) or name not in spaces:
        raise DataError(f"{path} has label_space {name!r}", f"one of {', '.join(spaces)}", "Correct it or list classes")
    return spaces[name]


def _read_ignore(path: Path, value: Any) -> list[int]:
    ids = value if isinstance(value, list) else [value]
    if not all(_is_id(item) for item in ids):
        raise DataError(f"{path} has ignore {value!r}", "an id from 0 to 255, or a list of them", "Correct ignore")
    return ids


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _read_list(path: Path, value: Any) -> list[_Declared]:
    if not isinstance(value, list) or not 1 <= len(value) <= 255:
        raise DataError(f"{path} has classes {str(value)[:60]!r}", "a list of 1 to 255 names", f"Write {_EXAMPLE}")
    colours = spread_palette(len(value))
    return [_read_entry(path, index, item, colours[index]) for index, item in enumerate(value)]


def _read_entry(path: Path, index: int, item: Any, colour: Colour) -> _Declared:
    fields = item if isinstance(item, dict) else {"name": item}
    name, number = fields.get("name"), fields.get("id", index)
    if not isinstance(name, str) or not name.strip() or not _is_id(number) or not fields.keys() <= _CLASS_FIELDS:
        raise DataError(f"{path} has {str(item)[:80]!r} as entry {index} of classes",
                        "a name, or {name: text, id: 0 to 255, color: '#rrggbb'}", "Correct the entry")
    return _Declared(name.strip(), number, _read_colour(path, fields["color"]) if "color" in fields else colour)


def _read_colour(path: Path, value: Any) -> Colour:
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            red, green, blue = bytes.fromhex(value[1:])
            return red, green, blue
        except ValueError:
            pass
    if isinstance(value, list) and len(value) == 3 and all(_is_id(part) for part in value):
        return int(value[0]), int(value[1]), int(value[2])
    raise DataError(f"{path} has color {str(value)[:40]!r}", "'#rrggbb' or [red, green, blue] from 0 to 255",
                    "Correct the colour (quote it: YAML takes # for a comment)")


def _make_space(path: Path, name: Any, declared: list[_Declared]) -> LabelSpace:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path} has name {name!r}", "a text", "Correct or remove it")
    for what, values in (("names", [entry.name.casefold() for entry in declared]), ("ids", [str(e.id) for e in declared])):
        if twice := ", ".join(value for value, times in Counter(values).items() if times > 1):
            raise DataError(f"{path} has the {what} {twice} more than once", "different names and ids", "Correct the classes")
    return LabelSpace(name.strip(), f"{name.strip()} ({len(declared)} classes)",
                      tuple(entry.name for entry in declared), tuple(entry.colour for entry in declared))


class LabelledFolder:
    """`images/` + `masks/` + `classes.yaml`, with or without split folders."""

    title = "Folder with images, masks and classes.yaml"
    usage = "folder:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Names of the folders in `images/`; none when the pictures lie in it directly."""
        images = existing_folder(argument) / "images"
        if not images.is_dir():
            raise DataError(f"No folder {images}", "images/, masks/ and classes.yaml", "Create it or correct the path")
        return tuple(sorted(e.name for e in images.iterdir() if e.is_dir() and not e.name.startswith(".")))

    def open(self, argument: str, split: str | None) -> PairedDataset:
        """One split: val, or the only one, by default. Raises `DataError` before any picture is decoded."""
        folder = existing_folder(argument)
        split = self._choose(argument, folder, split)
        space, table = read_classes(folder / CLASSES_FILE)
        pairs = find_pairs(folder / "images" / (split or ""), folder / "masks" / (split or ""))
        title = folder.resolve().name
        return PairedDataset(f"folder:{argument}" + (f"@{split}" if split else ""),
                             f"{title} {split}" if split else title, space, pairs, table)

    def _choose(self, argument: str, folder: Path, split: str | None) -> str | None:
        found = self.splits(argument)
        if found and list_files(folder / "images"):
            raise DataError(f"{folder / 'images'} has pictures and folders", "pictures, or one folder per split",
                            "Move the pictures into a split's folder")
        if split is None and found:
            split = "val" if "val" in found else found[0] if len(found) == 1 else None
            if split is None:
                raise DataError(f"{argument} has several splits and none is chosen", f"one of {', '.join(found)}",
                                f"Add @{found[0]} to the data spec")
        if split is not None and split not in found:
            raise DataError(f"No split {split!r} in {argument}", f"one of {', '.join(found)}" if found else
                            "no split: its pictures lie directly in images/", "Correct the data spec")
        return split


DATASETS.register("folder")(LabelledFolder())
