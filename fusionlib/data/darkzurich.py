"""Dark Zurich: `rgb_anon/SPLIT/TIME/SEQUENCE/*_rgb_anon.png` beside `gt/SPLIT/TIME/SEQUENCE/*_gt_labelTrainIds.png`
(or `*_gt_labelIds.png`).

Night pictures of the validation split have masks; the training split (night, twilight, day) has none, those of the test
split are not public. Ids are those of Cityscapes.

Sakaridis et al., "Guided Curriculum Model Adaptation and Uncertainty-Aware Evaluation for Semantic Nighttime Image
Segmentation", ICCV 2019.
"""

from __future__ import annotations

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.cityscapes import BY_ID, BY_TRAIN_ID
from fusionlib.data.labels import CITYSCAPES
from fusionlib.data.tree import Layout, files_of, parent


def _time(key: str) -> str:
    return key.split("/")[1]


_LAYOUT = Layout(
    "darkzurich",
    "Dark Zurich",
    CITYSCAPES,
    {"_gt_labelTrainIds.png": BY_TRAIN_ID, "_gt_labelIds.png": BY_ID},
    "rgb_anon/SPLIT/TIME/SEQUENCE/*_rgb_anon.png and gt/SPLIT/TIME/SEQUENCE/*_gt_labelTrainIds.png",
    hidden=frozenset({"train", "test"}),
    group=parent,
    known={"time": _time},
    beside=("_gt_labelColor.png", "_gt_invIds.png", "_gt_invGray.png"),
)


class DarkZurich:
    """The 19 classes of Cityscapes at night, a folder a drive."""

    title = "Dark Zurich"
    usage = "darkzurich:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of train, val and test that have pictures."""
        return _LAYOUT.among(_LAYOUT.part(argument, "rgb_anon"), ("train", "val", "test"))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        pictures = files_of(_LAYOUT.part(argument, "rgb_anon"), [split], ("_rgb_anon.png",), depth=2)
        masks = _LAYOUT.masks(_LAYOUT.truth(argument, split, "gt"), argument, [split], 2)
        return _LAYOUT.open(argument, split, pictures, masks)


DATASETS.register("darkzurich")(DarkZurich())
