"""Cityscapes as downloaded: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` beside
`gtFine/SPLIT/CITY/*_gtFine_labelIds.png`.

Where every picture of a split has a `*_gtFine_labelTrainIds.png` (as cityscapesScripts writes them), these are read.
Ids become train ids by the table of cityscapesScripts (`helpers/labels.py`); licence plates, id -1, are void. The masks
of the test split are not public: what is downloaded for it is void everywhere, so its pictures are opened without
masks. A city is a group: it was driven through in few days by one car, and the sequences in its file names are cut from
those drives. `*_gtFine_instanceIds.png` tells instances apart.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, IGNORE, Dataset
from fusionlib.data.instances import thousands
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.pairs import PairedDataset
from fusionlib.data.tree import Layout, files_of, named_below, parent
from fusionlib.listing import list_folder

IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of train ids 0 to 18, out of 0 to 33; the others are void."""
VOID = [*(number for number in range(34) if number not in IDS), 255]  # 255: -1 as a byte

BY_ID = Legend(id_table(IDS, VOID), classes=len(IDS))
BY_TRAIN_ID = Legend(id_table(range(len(IDS)), [255]), classes=len(IDS))

_PICTURE = "_leftImg8bit.png"
_HIDDEN = "test"
"""The split whose masks are kept for the benchmark."""
_LOOKED_AT = 3


_LAYOUT = Layout(
    "cityscapes",
    "Cityscapes",
    CITYSCAPES,
    {"_gtFine_labelTrainIds.png": BY_TRAIN_ID, "_gtFine_labelIds.png": BY_ID},
    "the folders leftImg8bit and gtFine, as Cityscapes has them: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png",
    hidden=frozenset({_HIDDEN}),
    instances=("_gtFine_instanceIds.png", thousands),
    group=parent,
    named=named_below,
    known={"city": parent},
    beside=("_gtFine_color.png", "_gtFine_instanceTrainIds.png", "_gtFine_polygons.json"),
)


class Cityscapes:
    """The 19 classes, a folder a city."""

    title = "Cityscapes as downloaded"
    usage = "cityscapes:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """The folders in leftImg8bit, as train, val and test. Raises `DataError` where that is not there."""
        return tuple(path.name for path in list_folder(_LAYOUT.part(argument, "leftImg8bit"), (_PICTURE,)).folders)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        pictures = files_of(_LAYOUT.part(argument, "leftImg8bit"), [split], (_PICTURE,), depth=1)
        truth = _LAYOUT.truth(argument, split, "gtFine")
        dataset = _LAYOUT.open(argument, split, pictures, _LAYOUT.masks(truth, argument, [split], 1))
        if split == _HIDDEN and isinstance(dataset, PairedDataset) and _all_void(dataset):
            why = (
                "The masks of the test split are void everywhere, for the real ones are not public: nothing is measured"
                " on it"
            )
            title = f"{dataset.title} (masks not public)"
            return _LAYOUT.without_masks(dataset.spec, title, pictures.all(), (*dataset.notes, why))
        return dataset


def _all_void(dataset: PairedDataset) -> bool:
    """Whether a few masks, evenly spaced, have no labelled pixel."""
    some = dataset.pairs[:: max(1, len(dataset) // _LOOKED_AT)]
    return all(bool((dataset.legend.read(pair.mask) == IGNORE).all()) for pair in some)


DATASETS.register("cityscapes")(Cityscapes())
