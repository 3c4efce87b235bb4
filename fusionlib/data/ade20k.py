"""ADE20K as the scene parsing benchmark has it: `images/SPLIT/*.jpg` beside `annotations/SPLIT/*.png`.

Masks hold 1 to 150 for the classes and 0 for void. `sceneCategories.txt`, where it is there, says the scene of each
picture.

Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.labels import LABEL_SPACES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of

_CLASSES = LABEL_SPACES["ade20k"]
_LAYOUT = Layout(
    "ade20k",
    "ADE20K",
    _CLASSES,
    {".png": Legend(id_table(range(1, _CLASSES.count + 1), [0]), classes=_CLASSES.count)},
    "images/SPLIT/*.jpg and annotations/SPLIT/*.png, as in ADEChallengeData2016",
    group=alone,
)
_LARGEST = 8 << 20
_PICTURES = ("images", "ADEChallengeData2016/images")


class ADE20K:
    """150 classes of scenes indoors and outdoors."""

    title = "ADE20K, 150 classes (0 is void)"
    usage = "ade20k:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of training and validation that have pictures."""
        return _LAYOUT.among(_LAYOUT.part(argument, *_PICTURES), ("training", "validation"))

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default validation. Raises `DataError` that names the file, before any is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument), default="validation")
        root = _LAYOUT.part(argument, *_PICTURES)
        truth = _LAYOUT.part(str(root.parent), "annotations")
        scenes = _scenes(root.parent / "sceneCategories.txt")
        layout = replace(_LAYOUT, known={"scene": lambda key: scenes.get(key.rpartition("/")[2], "")} if scenes else {})
        return layout.open(argument, split, files_of(root, [split], PHOTOS), layout.masks(truth, argument, [split]))


def _scenes(path: Path) -> dict[str, str]:
    """Scene by name of the picture; none where there is no such file, or one that is far too large."""
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return {}
    with path.open(encoding="utf-8", errors="replace") as file:
        words = [line.split()[:2] for line in file.read(_LARGEST).splitlines()]
    return {pair[0]: pair[1][:60] for pair in words if len(pair) == 2}


DATASETS.register("ade20k")(ADE20K())
