"""IDD: `leftImg8bit/SPLIT/DRIVE/*_leftImg8bit.png` (or `.jpg`) beside masks that the dataset's own `createLabels.py`
draws into `gtFine/SPLIT/DRIVE/`.

`*_gtFine_labelcsTrainIds.png`, Cityscapes' train ids, are read where every picture of the split has one, else
`*_gtFine_labellevel3Ids.png`, the 26 classes of the benchmark; `idd:DIR:level3` reads these in any case.
`*_gtFine_instancelevel3Ids.png` tells instances apart. The masks of the test split are not public.

Varma et al., "IDD: A Dataset for Exploring Problems of Autonomous Navigation in Unconstrained Environments", WACV 2019.
"""

from __future__ import annotations

from dataclasses import replace

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.cityscapes import BY_TRAIN_ID
from fusionlib.data.instances import thousands
from fusionlib.data.labels import CITYSCAPES, LABEL_SPACES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.tree import Layout, files_of, named_below, option_of, parent

_LEVEL3, _TRAIN_IDS = "_gtFine_labellevel3Ids.png", "_gtFine_labelcsTrainIds.png"
_PICTURES = ("_leftImg8bit.png", "_leftImg8bit.jpg")
_CLASSES = LABEL_SPACES["idd"]

_LAYOUT = Layout(
    "idd",
    "IDD",
    _CLASSES,
    {_LEVEL3: Legend(id_table(range(_CLASSES.count), [255]), classes=_CLASSES.count)},
    "leftImg8bit/SPLIT/DRIVE/*_leftImg8bit.png and gtFine/SPLIT/DRIVE/*_gtFine_labellevel3Ids.png",
    hidden=frozenset({"test"}),
    instances=("_gtFine_instancelevel3Ids.png", thousands),
    group=parent,
    named=named_below,
    beside=("_gtFine_polygons.json", "_gtFine_labelColors.png", _TRAIN_IDS),
    draw="Draw the masks with the dataset's own createLabels.py (--id-type level3Id or csTrainId)",
)
_AS_CITYSCAPES = replace(
    _LAYOUT,
    space=CITYSCAPES,
    legends={_TRAIN_IDS: BY_TRAIN_ID},
    beside=("_gtFine_polygons.json", "_gtFine_labelColors.png", _LEVEL3),
)


class IDD:
    """Drives through India, a folder a drive."""

    title = "IDD, as Cityscapes' 19 classes where these are drawn, else its own 26"
    usage = "idd:DIR[:level3][@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train, val and test that have pictures."""
        folder, _ = option_of(argument, ("level3",), "Classes")
        return _LAYOUT.among(_LAYOUT.part(folder, "leftImg8bit"), ("train", "val", "test"))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        folder, level = option_of(argument, ("level3",), "Classes")
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        pictures = files_of(_LAYOUT.part(folder, "leftImg8bit"), [split], _PICTURES, depth=1)
        truth = _LAYOUT.truth(folder, split, "gtFine")
        masks = _LAYOUT.masks(truth, folder, [split], 1)
        if not level:
            drawn = _AS_CITYSCAPES.masks(truth, folder, [split], 1)
            complete = bool(len(pictures)) and pictures.all().keys() <= drawn.of(_TRAIN_IDS).keys()
            if complete or len(drawn.of(_TRAIN_IDS)) > len(masks.of(_LEVEL3)):
                return _AS_CITYSCAPES.open(argument, split, pictures, drawn)
        return _LAYOUT.open(argument, split, pictures, masks)


DATASETS.register("idd")(IDD())
