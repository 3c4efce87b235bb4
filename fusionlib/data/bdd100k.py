"""BDD100K, semantic segmentation: `images/10k/SPLIT/*.jpg` beside `labels/sem_seg/masks/SPLIT/*.png`, or of the first
release `seg/images/SPLIT/*.jpg` beside `seg/labels/SPLIT/*_train_id.png`.

Masks hold Cityscapes' train ids. Those of the test split are not public. Every picture is of another drive.

Weather, scene and time of day are attributes of a picture where the labels of the 100,000 lie beside:
`labels/bdd100k_labels_images_*.json`, or `det_*.json` of the later release. The 10,000 pictures with masks are only
partly among those, in whichever of their splits; a note says how many are not.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.cityscapes import BY_TRAIN_ID
from fusionlib.data.json_entries import entries
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of

_LAYOUT = Layout(
    "bdd100k",
    "BDD100K",
    CITYSCAPES,
    {"_train_id.png": BY_TRAIN_ID, ".png": BY_TRAIN_ID},
    "images/10k/SPLIT/*.jpg and labels/sem_seg/masks/SPLIT/*.png (or seg/images and seg/labels)",
    hidden=frozenset({"test"}),
    group=alone,
)
COLUMNS = ("weather", "scene", "timeofday")
_LABELS = ("bdd100k_labels_images_*.json", "det_*.json")
_AMONG = ("", "labels", "labels/det_20", "bdd100k_labels_release/bdd100k/labels")
_LARGEST, _LARGEST_ENTRY, _LONGEST = 4 << 30, 8 << 20, 60
"""Bytes of a file of labels (the real one of 70,000 pictures has more than one gigabyte), characters of a picture's
labels, and of a value that is kept.
"""
_PICTURES, _MASKS = ("images/10k", "seg/images"), ("labels/sem_seg/masks", "seg/labels")


class BDD100K:
    """The 19 classes of Cityscapes in drives through the United States."""

    title = "BDD100K, semantic segmentation"
    usage = "bdd100k:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train, val and test that have pictures."""
        return _LAYOUT.among(_LAYOUT.part(argument, *_PICTURES), ("train", "val", "test"))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        pictures = files_of(_LAYOUT.part(argument, *_PICTURES), [split], PHOTOS)
        layout = _LAYOUT if split in _LAYOUT.hidden else _with_labels(_LAYOUT.folder(argument), pictures.all())
        masks = _LAYOUT.masks(_LAYOUT.truth(argument, split, *_MASKS), argument, [split])
        return layout.open(argument, split, pictures, masks)


def _with_labels(root: Path, keys: Iterable[str]) -> Layout:
    """The layout with what the labels beside say of pictures; as it is where there are none."""
    places = [root / folder for folder in _AMONG]
    files = [path for place in places for pattern in _LABELS for path in sorted(place.glob(pattern)) if path.is_file()]
    if not files:
        return _LAYOUT
    names = frozenset(map(_name, keys))
    about: dict[str, Mapping[str, str]] = {}
    for path in files:
        status = path.stat()
        about |= _read(path, names.difference(about), status.st_mtime_ns, status.st_size)
    lacking = len(names) - len(about)
    note = f"Of {lacking} of {len(names)} pictures the labels say no weather, scene or time of day"
    return replace(
        _LAYOUT,
        known={column: lambda key, column=column: about.get(_name(key), {}).get(column, "") for column in COLUMNS},
        notes=(note,) if lacking else (),
    )


def _name(key: str) -> str:
    return key.rpartition("/")[2]


@lru_cache(maxsize=8)
def _read(path: Path, names: frozenset[str], _changed: int, _size: int) -> Mapping[str, Mapping[str, str]]:
    """Attributes of the pictures of these names; read until all are found. `_changed` and `_size` tell a new file."""
    found: dict[str, Mapping[str, str]] = {}
    needs = 'a list of labels, as [{"name": "x.jpg", "attributes": {"weather": "rainy"}}]'
    for entry in entries(path, _LARGEST, _LARGEST_ENTRY, needs) if names else ():
        name, values = _attributes(entry)
        if name in names and values:
            found[name] = values
            if len(found) == len(names):
                break
    return found


def _attributes(entry: Any) -> tuple[str, Mapping[str, str]]:
    """Name and attributes of a picture's labels; nothing for what is none."""
    name, told = (entry.get("name"), entry.get("attributes")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(told, dict):
        return "", {}
    values = {column: told[column][:_LONGEST] for column in COLUMNS if isinstance(told.get(column), str)}
    return PurePosixPath(name).stem, values


DATASETS.register("bdd100k")(BDD100K())
