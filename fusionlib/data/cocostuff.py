"""COCO-Stuff 164k: `images/SPLIT/*.jpg` beside `annotations/SPLIT/*.png` (or `SPLIT/*.jpg` beside
`stuffthingmaps/SPLIT/*.png`), SPLIT being train2017 and val2017.

Masks hold COCO's category less one, 0 to 181, of which 171 occur; 255 is void. `*_labelTrainIds.png` with 0 to 170 are
read where every picture has one.

Caesar, Uijlings and Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context", CVPR 2018.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.labels import LABEL_SPACES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of

_CLASSES = LABEL_SPACES["coco-stuff"]
_NEVER = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Categories of COCO, less one, that no picture has."""
_IDS = [number for number in range(182) if number not in _NEVER]
_LAYOUT = Layout(
    "cocostuff",
    "COCO-Stuff",
    _CLASSES,
    {
        "_labelTrainIds.png": Legend(id_table(range(_CLASSES.count), [255]), classes=_CLASSES.count),
        ".png": Legend(id_table(_IDS, [255]), classes=_CLASSES.count),
    },
    "images/SPLIT/*.jpg and annotations/SPLIT/*.png, SPLIT being train2017 or val2017",
    group=alone,
)
_SPLITS = ("train2017", "val2017")
_MASKS = ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017")


class COCOStuff:
    """80 classes of things and 91 of stuff."""

    title = "COCO-Stuff, 171 classes"
    usage = "cocostuff:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train2017 and val2017 that have pictures."""
        root = _LAYOUT.find(argument, "images") or _LAYOUT.folder(argument)
        return _LAYOUT.among(root, _SPLITS)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val2017. Raises `DataError` that names the file, before any is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument), default="val2017")
        root = _LAYOUT.find(argument, "images") or _LAYOUT.folder(argument)
        truth = _LAYOUT.part(argument, *(f"{folder}/{split}" for folder in _MASKS)).parent
        return _LAYOUT.open(argument, split, files_of(root, [split], PHOTOS), _LAYOUT.masks(truth, argument, [split]))


DATASETS.register("cocostuff")(COCOStuff())
