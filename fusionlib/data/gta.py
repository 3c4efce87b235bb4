"""GTA5, "Playing for Data": `images/*.png` beside `labels/*.png`, in folders of splits or without.

Masks hold Cityscapes' ids as palette or grey pictures, or its colours as RGB; `*_labelTrainIds.png` are read where
every picture has one. By colours, licence plates are cars and pole groups poles, for they are painted alike; by ids
both are void. A few pictures of the download have another size than their masks: these are left out, and said.

Richter et al., "Playing for Data: Ground Truth from Computer Games", ECCV 2016.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, IGNORE, Dataset
from fusionlib.data.cityscapes import BY_TRAIN_ID, IDS, VOID
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of
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


class GTA:
    """The 19 classes of Cityscapes in frames of a game."""

    title = "GTA5 (Playing for Data)"
    usage = "gta:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """The folders in images; none where the pictures lie in it directly."""
        return tuple(path.name for path in list_folder(_LAYOUT.part(argument, "images"), PHOTOS).folders)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val where there are some. Raises `DataError` that names the file."""
        found = self.splits(argument)
        if found or split:
            split = _LAYOUT.choose(argument, split, found)
        pictures = files_of(_LAYOUT.part(argument, "images"), [split or ""], PHOTOS)
        masks = _LAYOUT.masks(_LAYOUT.part(argument, "labels"), argument, [split or ""])
        return _LAYOUT.open(argument, split, pictures, masks)


DATASETS.register("gta")(GTA())
