"""GTA5, "Playing for Data": `images/*.png` beside `labels/*.png`, in folders of splits or without.

Masks hold Cityscapes' ids as palette or grey pictures, or its colours as RGB; `*_labelTrainIds.png` are read where
every picture has one. By colours, licence plates are cars and pole groups poles, for they are painted alike; by ids
both are void. A few pictures of the download have another size than their masks: these are left out, and said.

The split of the download, `split.mat` or `read_mapping/split.mat`, lists the numbers of the pictures of train, val and
test. Folders go before; without either there are no splits, and `@part:1/3:SEED` takes a part.

Richter et al., "Playing for Data: Ground Truth from Computer Games", ECCV 2016.
"""

from __future__ import annotations

from dataclasses import replace

from fusionlib.contracts import DATASETS, IGNORE, Dataset
from fusionlib.data.cityscapes import BY_TRAIN_ID, IDS, VOID
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.mat_numbers import read_numbers
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of
from fusionlib.errors import DataError, shown
from fusionlib.listing import list_folder

_NO_CLASS = (
    (0, 0, 0),
    (20, 20, 20),
    (111, 74, 0),
    (81, 0, 81),
    (250, 170, 160),
    (230, 150, 140),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (0, 0, 90),
    (0, 0, 110),
)
"""Colours of unlabelled, static, dynamic, ground, parking, rail track, guard rail, bridge, tunnel, caravan, trailer."""

_LAYOUT = Layout(
    "gta",
    "GTA5",
    CITYSCAPES,
    {
        "_labelTrainIds.png": BY_TRAIN_ID,
        ".png": Legend(
            id_table(IDS, [*VOID, 34]),
            {**{colour: label for label, colour in enumerate(CITYSCAPES.palette)}, **dict.fromkeys(_NO_CLASS, IGNORE)},
            classes=CITYSCAPES.count,
        ),
    },
    "images/*.png and labels/*.png of the same names",
    group=alone,
    drop_unfitting=True,
)


_SPLIT_FILES = ("split.mat", "read_mapping/split.mat")
_SPLITS = {"train": "trainIds", "val": "valIds", "test": "testIds"}
"""The arrays of `split.mat`."""


class GTA:
    """The 19 classes of Cityscapes in frames of a game."""

    title = "GTA5 (Playing for Data)"
    usage = "gta:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """The folders in images, or what `split.mat` lists; none where there is neither."""
        return tuple(_splits(argument))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val where there are some. Raises `DataError` that names the file."""
        found = _splits(argument)
        if split and not found:
            raise DataError(
                f"No split {shown(split)} in {argument}, which has none",
                "folders of splits in images, or split.mat of the download",
                f"Take a part by a seed: gta:{argument}@part:1/3:0",
            )
        split = _LAYOUT.choose(argument, split, tuple(found)) if found else None
        listed = found[split] if split else None
        below = [split if split and listed is None else ""]
        pictures = files_of(_LAYOUT.part(argument, "images"), below, PHOTOS)
        masks = _LAYOUT.masks(_LAYOUT.part(argument, "labels"), argument, below)
        if listed is None:
            return _LAYOUT.open(argument, split, pictures, masks)
        here = pictures.only(listed.__contains__)
        if not len(here):
            raise DataError(
                f"None of the {len(listed)} pictures that split.mat lists for {split} is in {argument}",
                "numbers of pictures as their files have, 00001.png",
                "Choose another split",
            )
        lacking = len(listed) - len(here)
        notes = (f"{lacking} of {len(listed)} pictures that split.mat lists are not here",) if lacking else ()
        return replace(_LAYOUT, notes=notes).open(argument, split, here, masks.only(listed.__contains__))


def _splits(argument: str) -> dict[str, frozenset[str] | None]:
    """The names in each split by `split.mat`, None for a folder of its own."""
    images = list_folder(_LAYOUT.part(argument, "images"), PHOTOS)
    folders = () if images.files else images.folders
    places = (_LAYOUT.folder(argument) / name for name in _SPLIT_FILES)
    path = next((place for place in places if place.is_file()), None)
    if folders or path is None:
        return {folder.name: None for folder in folders}
    needs = f"the MATLAB file of the download, with {', '.join(_SPLITS.values())}"
    arrays = read_numbers(path, needs)
    if lacking := [name for name in _SPLITS.values() if name not in arrays]:
        raise DataError(f"{path} has no {', '.join(lacking)}", needs, "Replace it, or take it away")
    return {split: frozenset(f"{number:05d}" for number in arrays[name].tolist()) for split, name in _SPLITS.items()}


DATASETS.register("gta")(GTA())
