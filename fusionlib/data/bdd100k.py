"""BDD100K, semantic segmentation: `images/10k/SPLIT/*.jpg` beside `labels/sem_seg/masks/SPLIT/*.png`, or of the first
release `seg/images/SPLIT/*.jpg` beside `seg/labels/SPLIT/*_train_id.png`.

Masks hold Cityscapes' train ids. Those of the test split are not public. Every picture is of another drive.

Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.cityscapes import BY_TRAIN_ID
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
        found = _LAYOUT.find(argument, *_MASKS) if split in _LAYOUT.hidden else _LAYOUT.part(argument, *_MASKS)
        return _LAYOUT.open(argument, split, pictures, _LAYOUT.masks(found, argument, [split]))


DATASETS.register("bdd100k")(BDD100K())
