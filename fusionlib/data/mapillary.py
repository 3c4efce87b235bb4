"""Mapillary Vistas: `SPLIT/images/*.jpg` beside `SPLIT/v2.0/labels/*.png` and `config_v2.0.json`, or the same of v1.2,
or as older downloads `SPLIT/labels` and `config.json`.

The config says what the classes are called and which of them are evaluated; the others are void. Pixels are places in
its list. `instances/*.png` holds place times 256 plus a number, for the classes that have instances. The newest version
there is read, or `mapillary:DIR:v1.2`. The masks of the testing split are not public.

Neuhold et al., "The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.instances import numbers
from fusionlib.data.labels import LabelSpace
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.plain_json import read_json
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of, option_of
from fusionlib.errors import DataError, shown

_VERSIONS = ("v2.0", "v1.2")
_SPLITS = ("training", "validation", "testing")
_LARGEST, _MOST = 1 << 20, 255
_NEEDS = "SPLIT/images/*.jpg, SPLIT/v2.0/labels/*.png (or SPLIT/labels/*.png) and config_v2.0.json (or config.json)"


@dataclass(frozen=True)
class _Config:
    """What a config says: the classes, the places of those that are evaluated and that have instances."""

    space: LabelSpace
    evaluated: tuple[int, ...]
    count: int
    instanced: tuple[bool, ...]

    def layout(self) -> Layout:
        """Where its files lie."""
        void = [place for place in (*range(self.count), 255) if place not in self.evaluated]
        return Layout(
            "mapillary",
            self.space.title,
            self.space,
            {".png": Legend(id_table(self.evaluated, void), classes=self.space.count)},
            _NEEDS,
            hidden=frozenset({"testing"}),
            instances=(".png", self.instances),
            group=alone,
        )

    def instances(self, path: Path) -> np.ndarray:
        """(H, W) int32: place times 256 plus number plus 1, 0 for classes without instances."""
        found = numbers(path)
        has = np.zeros(256, bool)
        has[: self.count] = self.instanced
        return np.where(has[np.minimum(found >> 8, 255)], found + 1, 0)


class Mapillary:
    """Streets all over the world, with the classes that the config beside them names."""

    title = "Mapillary Vistas, v2.0 or v1.2"
    usage = "mapillary:DIR[:v1.2][@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of training, validation and testing that have pictures."""
        folder, _ = option_of(argument, _VERSIONS, "Version")
        root = _PLACE.folder(folder)
        return tuple(split for split in _SPLITS if (root / split / "images").is_dir())

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default validation. Raises `DataError` that names the file, before any is decoded."""
        folder, version = option_of(argument, _VERSIONS, "Version")
        split = _PLACE.choose(folder, split, self.splits(argument), default="validation")
        version, config = _config(_PLACE.folder(folder), version)
        layout = config.layout()
        pictures = files_of(_PLACE.part(folder, f"{split}/images"), [""], PHOTOS)
        truth = layout.truth(folder, split, f"{split}/{version}/labels", f"{split}/labels")
        told = files_of((truth or _PLACE.folder(folder)).parent / "instances", [""], (".png",))
        return layout.open(argument, split, pictures, layout.masks(truth, folder, [""]), told)


def _config(root: Path, version: str | None) -> tuple[str, _Config]:
    """The version that is read and its config."""
    for one in [version] if version else _VERSIONS:
        path = root / f"config_{one}.json"
        if path.is_file():
            return one, _read(path, one)
    return version or "v1.2", _read(root / "config.json", version or "v1.2")


def _read(path: Path, version: str) -> _Config:
    content = read_json(path, _LARGEST, _NEEDS)
    entries = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST or not all(map(_is_label, entries)):
        raise DataError(
            f"{path} has labels {shown(entries)}",
            f"a list of 1 to {_MOST} labels, each with readable, color and evaluate",
            "Take the config of the download",
        )
    evaluated = tuple(place for place, entry in enumerate(entries) if entry["evaluate"])
    names = tuple(str(entries[place]["readable"]) for place in evaluated)
    space = LabelSpace(
        f"mapillary-{version}",
        f"Mapillary Vistas {version}",
        names,
        tuple(tuple(entries[place]["color"]) for place in evaluated),
    )
    return _Config(space, evaluated, len(entries), tuple(bool(entry.get("instances")) for entry in entries))


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("readable"), str)
        and isinstance(entry.get("evaluate"), bool)
        and _is_colour(entry.get("color"))
    )


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    )


_PLACE = Layout("mapillary", "Mapillary Vistas", LabelSpace("none", "none", (), ()), {}, _NEEDS)
"""To look for folders before the config is known."""

DATASETS.register("mapillary")(Mapillary())
