"""SYNTHIA-RAND-CITYSCAPES: `RGB/*.png` beside `GT/LABELS/*.png` of the same names.

Masks are RGB pictures of 16 bits: the first channel is the class, the second the instance. Classes are the 16 that it
shares with Cityscapes, or with `synthia:DIR:13` those without wall, fence and pole; what else it has (lane markings,
road works, parking) is void. `*_labelTrainIds.png`, Cityscapes' train ids, are read where every picture has one.

Ros et al., "The SYNTHIA Dataset: A Large Collection of Synthetic Images for Semantic Segmentation of Urban Scenes",
CVPR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fusionlib.contracts import DATASETS, IGNORE, Dataset
from fusionlib.data.files import UNREADABLE, one_large, unreadable
from fusionlib.data.labels import CITYSCAPES, LABEL_SPACES, LabelSpace
from fusionlib.data.masks import Legend, MaskHeader, mask_header
from fusionlib.data.packed import PictureFile
from fusionlib.data.tree import PHOTOS, Layout, alone, files_of, option_of
from fusionlib.errors import DataError

_IDS = {
    "sky": 1,
    "building": 2,
    "road": 3,
    "sidewalk": 4,
    "fence": 5,
    "vegetation": 6,
    "pole": 7,
    "car": 8,
    "traffic sign": 9,
    "person": 10,
    "bicycle": 11,
    "motorcycle": 12,
    "traffic light": 15,
    "rider": 17,
    "bus": 19,
    "wall": 21,
}
_MOST = 22
"""The largest id; those that are no class here are void."""
_RGB = 2
_COUNTS = ("16", "13")


def _table(space: LabelSpace, ids: dict[str, int], most: int) -> Legend:
    table = np.full(256, -1, np.int16)
    table[[*range(most + 1), 255]] = IGNORE
    for label, name in enumerate(space.names):
        table[ids[name]] = label
    return Legend(table, classes=space.count)


def _channel(path: PictureFile, number: int) -> np.ndarray:
    """(H, W) int32: a channel of an RGB picture of 16 bits, which Pillow cuts to its upper 8.

    It decodes either half of the numbers, by the order of bytes that it takes them to have.
    """
    halves = []
    for order in ("RGB;16B", "RGB;16L"):  # upper bytes, lower bytes
        with path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            image.tile = [part._replace(args=(order,)) for part in image.tile]  # pyright: ignore
            halves.append(np.asarray(image)[..., number].astype(np.int32))
    return halves[0] << 8 | halves[1]


def _read(path: PictureFile, number: int) -> np.ndarray:
    header = mask_header(path)
    try:
        with one_large(header.height * header.width):
            return _channel(path, number)
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem


@dataclass(frozen=True)
class TwoChannels:
    """Masks whose first channel is the id of a class."""

    legend: Legend

    def examine(self, path: PictureFile) -> tuple[MaskHeader, bool]:
        """The header of a mask. Raises `DataError` that names a file of other pixels."""
        header = mask_header(path)
        if (header.bits, header.colour) != (16, _RGB):
            raise DataError(
                f"{path} is {header.kind} picture", "the 16-bit RGB pictures of GT/LABELS", "Replace the mask"
            )
        return header, False

    def read(self, path: PictureFile) -> np.ndarray:
        """(H, W) uint8 labels. Raises `DataError` that names the file."""
        self.examine(path)
        return self.legend.by_id(path, _read(path, 0))

    def text(self, coloured: bool) -> str:
        """The table of ids."""
        return self.legend.text(coloured)


def _instances(path: Path) -> np.ndarray:
    return _read(path, 1)


def _layout(space: LabelSpace) -> Layout:
    train_ids = {name: CITYSCAPES.names.index(name) for name in space.names}
    return Layout(
        "synthia",
        "SYNTHIA",
        space,
        {
            "_labelTrainIds.png": _table(space, train_ids, CITYSCAPES.count - 1),
            ".png": TwoChannels(_table(space, _IDS, _MOST)),
        },
        "RGB/*.png and GT/LABELS/*.png of the same names",
        instances=(".png", _instances),
        group=alone,
    )


_LAYOUTS = {count: _layout(LABEL_SPACES[f"synthia-{count}"]) for count in _COUNTS}


class Synthia:
    """Rendered streets in the classes of Cityscapes."""

    title = "SYNTHIA-RAND-CITYSCAPES, 16 or 13 classes"
    usage = "synthia:DIR[:13]"

    def splits(self, argument: str) -> tuple[str, ...]:
        """None: all pictures belong together."""
        folder, _ = option_of(argument, _COUNTS, "Classes")
        _LAYOUTS["16"].part(folder, "RGB")
        return ()

    def open(self, argument: str, split: str | None) -> Dataset:
        """All pictures. Raises `DataError` that names the file, before any picture is decoded."""
        folder, count = option_of(argument, _COUNTS, "Classes")
        layout = _LAYOUTS[count or "16"]
        if split is not None:
            layout.choose(folder, split, ())
        pictures = files_of(layout.part(folder, "RGB"), [""], PHOTOS)
        masks = layout.masks(layout.part(folder, "GT/LABELS"), folder, [""])
        if pictures.all().keys() <= masks.of("_labelTrainIds.png").keys():
            layout = replace(layout, instances=None)
        return layout.open(argument, None, pictures, masks)


DATASETS.register("synthia")(Synthia())
