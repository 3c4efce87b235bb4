"""Pascal VOC: `JPEGImages/*.jpg` beside `SegmentationClass/*.png`, splits as `ImageSets/Segmentation/SPLIT.txt` lists
their names.

Masks are palettes of 0, background, to 20; 255, the line around objects, is void. `SegmentationObject/*.png` tells
instances apart. A split whose name has `aug` in it takes its masks from `SegmentationClassAug`.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fusionlib.contracts import DATASETS, Dataset
from fusionlib.data.instances import objects
from fusionlib.data.labels import LABEL_SPACES
from fusionlib.data.masks import Legend, id_table
from fusionlib.data.tree import Files, Layout, alone, files_of
from fusionlib.errors import DataError, shown
from fusionlib.listing import list_folder

_CLASSES = LABEL_SPACES["voc"]
_LAYOUT = Layout(
    "voc",
    "Pascal VOC",
    _CLASSES,
    {".png": Legend(id_table(range(_CLASSES.count), [255]), classes=_CLASSES.count)},
    "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/SPLIT.txt, as in VOCdevkit/VOC2012",
    instances=(".png", objects),
    group=alone,
)
_LISTS = "ImageSets/Segmentation"
_PLACES = tuple(f"{above}{_LISTS}" for above in ("", "VOC2012/", "VOCdevkit/VOC2012/", "VOC2007/"))
_LARGEST = 8 << 20
_NAME = re.compile(r"[\w.-]{1,100}")


class VOC:
    """20 classes of things and their background."""

    title = "Pascal VOC, 20 classes and background"
    usage = "voc:DIR[@split]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """The lists there, as train, trainval and val."""
        return tuple(path.stem for path in list_folder(_LAYOUT.part(argument, *_PLACES), (".txt",)).files)

    def open(self, argument: str, split: str | None) -> Dataset:
        """One split, by default val. Raises `DataError` that names the file, before any picture is decoded."""
        split = _LAYOUT.choose(argument, split, self.splits(argument))
        lists = _LAYOUT.part(argument, *_PLACES)
        root, names = lists.parent.parent, _listed(lists / f"{split}.txt")
        shot = _there(root / "JPEGImages", names, ".jpg")
        drawn = _there(root / ("SegmentationClassAug" if "aug" in split else "SegmentationClass"), names, ".png")
        missing = next((name for name in names if name not in shot.found[".jpg"]), None)
        if missing:
            wanted = shot.root / f"{missing}.jpg"
            raise DataError(
                f"{wanted} is not there", f"every name of {split}.txt", "Add the picture, or correct the list"
            )
        return _LAYOUT.open(argument, split, shot, drawn, _there(root / "SegmentationObject", names, ".png"))


def _listed(path: Path) -> list[str]:
    """The names in a list, a line each. Raises `DataError` for what is no name: it would lead out of the folder."""
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise DataError(f"{path} is larger than {_LARGEST >> 20} MB", "a list of names", "Replace it")
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    wrong = next((name for name in names if not _NAME.fullmatch(name) or set(name) == {"."}), None)
    if wrong is not None:
        raise DataError(f"{path} lists {shown(wrong)}", "names of pictures, without folders or endings", "Correct it")
    return list(dict.fromkeys(names))


def _there(root: Path, names: Sequence[str], ending: str) -> Files:
    """Those of the names whose file is there."""
    return files_of(root, [""], (ending,)).only(set(names).__contains__)


DATASETS.register("voc")(VOC())
