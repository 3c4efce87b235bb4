"""ACDC: `rgb_anon/CONDITION/SPLIT/SEQUENCE/*_rgb_anon.png` beside `gt/CONDITION/SPLIT/SEQUENCE/*_gt_labelTrainIds.png`
(or `*_gt_labelIds.png`) in fog, at night, in rain and in snow.

Without a condition all that are there are opened, one after the other, and `condition` is an attribute of a picture.
Ids are those of Cityscapes. The masks of the test split are not public; the pictures in clear weather (`SPLIT_ref`)
have none.

Sakaridis et al., "ACDC: The Adverse Conditions Dataset with Correspondences", ICCV 2021.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.cityscapes import BY_ID, BY_TRAIN_ID
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.tree import Layout, files_of, option_of, parent

CONDITIONS = ("fog", "night", "rain", "snow")


def _condition(key: str) -> str:
    return key.partition("/")[0]


_LAYOUT = Layout(
    "acdc",
    "ACDC",
    CITYSCAPES,
    {"_gt_labelTrainIds.png": BY_TRAIN_ID, "_gt_labelIds.png": BY_ID},
    "rgb_anon/CONDITION/SPLIT/SEQUENCE/*_rgb_anon.png and gt/CONDITION/SPLIT/SEQUENCE/*_gt_labelTrainIds.png",
    hidden=frozenset({"test"}),
    group=parent,
    known={"condition": _condition},
    beside=("_gt_labelColor.png", "_gt_invIds.png", "_gt_invGray.png", "_gt_panoptic.png"),
)


class ACDC:
    """The 19 classes of Cityscapes in bad weather, a folder a drive."""

    title = "ACDC, all conditions or one of fog, night, rain, snow"
    usage = "acdc:DIR[:CONDITION][@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train, val and test that a condition has."""
        folder, condition = option_of(argument, CONDITIONS, "Condition")
        root = _LAYOUT.part(folder, "rgb_anon")
        here = [_LAYOUT.among(root / one, ("train", "val", "test")) for one in _conditions(condition)]
        return tuple(split for split in ("train", "val", "test") if any(split in found for found in here))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        folder, condition = option_of(argument, CONDITIONS, "Condition")
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        below = [f"{one}/{split}" for one in _conditions(condition)]
        pictures = files_of(_LAYOUT.part(folder, "rgb_anon"), below, ("_rgb_anon.png",), depth=1)
        masks = _LAYOUT.masks(_LAYOUT.truth(folder, split, "gt"), folder, below, 1)
        return _LAYOUT.open(argument, split, pictures, masks)


def _conditions(chosen: str | None) -> tuple[str, ...]:
    return (chosen,) if chosen else CONDITIONS


DATASETS.register("acdc")(ACDC())
