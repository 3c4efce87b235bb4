"""The label space that a network's outputs stand for where nothing but their number is known."""

from __future__ import annotations

from fusionlib.contracts import OwnClasses, class_count

_BY_COUNT = {11: "camvid", 19: "cityscapes", 20: "cityscapes-void", 21: "voc", 150: "ade20k", 171: "coco-stuff"}


def usual_space(outputs: int) -> str:
    """19 outputs are Cityscapes, 20 Cityscapes with a void output, 11 CamVid, 21 Pascal VOC with its background,
    150 ADE20K, 171 COCO-Stuff; other counts get numbered classes.
    """
    return _BY_COUNT.get(outputs, f"classes-{class_count(outputs)}")


_CITYSCAPES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)


def space_of_names(names: tuple[str, ...]) -> str | OwnClasses:
    """Cityscapes for its 19 classes in their order, else classes of these names."""
    return "cityscapes" if tuple(map(str.casefold, names)) == _CITYSCAPES else OwnClasses(names)
