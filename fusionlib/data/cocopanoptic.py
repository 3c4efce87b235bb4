"""COCO's panoptic format, `cocopanoptic:IMAGES:JSON`: a folder of pictures, a JSON file, and beside it the folder of
the same name with one PNG a picture.

A pixel's segment is red + 256 green + 65536 blue; `segments_info` gives the category of each segment. The classes are
the file's `categories` in order of their ids; segment 0 is void. Segments of things are instances, but for those of
crowds.

Kirillov et al., "Panoptic Segmentation", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fusionlib.contracts import DATASETS, IGNORE
from fusionlib.data.files import UNREADABLE, existing_folder, one_large, unreadable
from fusionlib.data.labels import Colour, LabelSpace, spread_palette
from fusionlib.data.masks import MaskHeader, mask_header
from fusionlib.data.packed import PictureFile
from fusionlib.data.pairs import Pair, PairedDataset, checked
from fusionlib.data.plain_json import read_json
from fusionlib.errors import DataError, shown

_NEEDS = "cocopanoptic:IMAGES:JSON, with PNGs in a folder beside the JSON that is called as it is"
_LARGEST = 512 << 20
_MOST_CLASSES, _MOST_SEGMENTS = 255, 100_000
_RGB = 2

Segments = Mapping[int, tuple[int, bool]]
"""Label of each segment, and whether it is an instance."""


@dataclass(frozen=True)
class _Panoptic:
    """Masks of segments, each with a table of its own."""

    segments: Mapping[PictureFile, Segments]

    def examine(self, path: PictureFile) -> tuple[MaskHeader, bool]:
        """The header of a mask. Raises `DataError` that names a file of other pixels."""
        header = mask_header(path)
        if (header.bits, header.colour) != (8, _RGB):
            raise DataError(f"{path} is {header.kind} picture", "8-bit RGB pictures of segments", "Replace the mask")
        return header, False

    def read(self, path: PictureFile) -> np.ndarray:
        """(H, W) uint8 labels, `IGNORE` for void. Raises `DataError` that names the file and unknown segments."""
        ids, places = self._segments(path)
        known = self.segments[path]
        if unknown := [int(one) for one in ids if one and int(one) not in known]:
            raise DataError(
                f"{path} has the unknown segments {unknown[:10]}", "segments of segments_info", "Correct the mask"
            )
        labels = np.array([known[int(one)][0] if one else IGNORE for one in ids], np.uint8)
        return labels[places]

    def instances(self, path: Path) -> np.ndarray:
        """(H, W) int32: the segment's number where it is an instance, else 0."""
        ids, places = self._segments(path)
        known = self.segments[path]
        return np.array([int(one) if known.get(int(one), (0, False))[1] else 0 for one in ids], np.int32)[places]

    def text(self, coloured: bool) -> str:
        """That segments are read; the table of each picture is its pair's `meaning`."""
        return "panoptic"

    def _segments(self, path: PictureFile) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the segments, and the place of each pixel's (H, W) among them."""
        header, _ = self.examine(path)
        try:
            with (
                one_large(header.height * header.width),
                path.open("rb") as file,
                Image.open(file, formats=("PNG",)) as image,
            ):
                pixels = np.asarray(image).astype(np.int32)
        except UNREADABLE as problem:
            raise unreadable(path, problem) from problem
        packed = pixels[..., 0] | pixels[..., 1] << 8 | pixels[..., 2] << 16
        ids, places = np.unique(packed, return_inverse=True)
        return ids, places.reshape(packed.shape)


class COCOPanoptic:
    """Things and stuff in COCO's panoptic format: COCO's 133 classes, or whatever the file names."""

    title = "COCO panoptic format, its semantic classes and instances"
    usage = "cocopanoptic:IMAGES:JSON"

    def splits(self, argument: str) -> tuple[str, ...]:
        """None: a file is a split."""
        _parts(argument)
        return ()

    def open(self, argument: str, split: str | None) -> PairedDataset:
        """The pictures that the file annotates. Raises `DataError` that names the file, before any is decoded."""
        images, path = _parts(argument)
        if split is not None:
            raise DataError(f"Split {shown(split)} of {path.name}", "no split: a file is one", f"Leave @{split} out")
        content = read_json(path, _LARGEST, _NEEDS)
        try:
            space, labels, things = _classes(path, content["categories"])
            pairs, tables = _pairs(images, path, content, labels, things)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            if isinstance(problem, DataError):
                raise
            raise DataError(
                f"{path} is not in the panoptic format ({type(problem).__name__}: {shown(str(problem))})",
                "categories, images and annotations with segments_info",
                "Take the file of the download",
            ) from problem
        legend = _Panoptic(tables)
        found, notes = checked(_there(pairs, path), legend)
        return PairedDataset(
            f"cocopanoptic:{argument}",
            path.stem,
            space,
            found,
            legend,
            notes,
            groups=tuple(pair.name for pair in found),
            instances=legend.instances,
        )


def _parts(argument: str) -> tuple[Path, Path]:
    """Folder and file of a spec: of the colons that it may be cut at, one behind which is a file."""
    cuts = [place for place, character in enumerate(argument) if character == ":"]
    for cut in cuts:
        path = Path(argument[cut + 1 :]).expanduser()
        if path.is_file():
            return existing_folder(argument[:cut]), path
    raise DataError(f"{shown(argument, 400)} names no JSON file", _NEEDS, "Correct the data spec")


def _classes(path: Path, categories: Any) -> tuple[LabelSpace, dict[int, int], set[int]]:
    """The label space, label of each category, and the categories of things."""
    ordered = sorted(categories, key=lambda entry: int(entry["id"]))
    if not 1 <= len(ordered) <= _MOST_CLASSES:
        raise DataError(f"{path} has {len(ordered)} categories", f"1 to {_MOST_CLASSES}", "Take other data")
    spread = spread_palette(len(ordered))
    palette = [_colour(entry.get("color")) or spread[number] for number, entry in enumerate(ordered)]
    names = tuple(str(entry["name"])[:80] for entry in ordered)
    space = LabelSpace("coco-panoptic", f"{path.stem} ({len(names)} classes)", names, tuple(palette))
    labels = {int(entry["id"]): label for label, entry in enumerate(ordered)}
    return space, labels, {int(entry["id"]) for entry in ordered if entry.get("isthing", 1)}


def _colour(value: Any) -> Colour | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    red, green, blue = (int(part) & 255 for part in value)
    return red, green, blue


def _pairs(
    images: Path, path: Path, content: Any, labels: Mapping[int, int], things: set[int]
) -> tuple[list[Pair], dict[PictureFile, Segments]]:
    """Picture and mask of each annotation, and the table of each mask."""
    names = {int(entry["id"]): str(entry["file_name"]) for entry in content["images"]}
    pairs: list[Pair] = []
    tables: dict[PictureFile, Segments] = {}
    for entry in content["annotations"]:
        name = names[int(entry["image_id"])]
        mask = _inside(path.with_suffix(""), str(entry["file_name"]), path)
        tables[mask] = table = _table(entry["segments_info"], labels, things)
        meaning = f" {sorted(table.items())}"
        pairs.append(Pair(_inside(images, name, path), mask, Path(name).stem, instances=mask, meaning=meaning))
    return pairs, tables


def _table(segments: Any, labels: Mapping[int, int], things: set[int]) -> Segments:
    if len(segments) > _MOST_SEGMENTS:
        raise ValueError(f"{len(segments)} segments in a picture")
    return {
        int(one["id"]): (labels[int(one["category_id"])], int(one["category_id"]) in things and not one.get("iscrowd"))
        for one in segments
    }


def _inside(folder: Path, name: str, path: Path) -> Path:
    """A file of the folder. Raises `DataError` for a name that would lead out of it."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise DataError(f"{path} has the file name {shown(name)}", "names without folders", "Correct the file")
    return folder / name


def _there(pairs: list[Pair], path: Path) -> list[Pair]:
    """The pairs, once both files of each are seen to be there."""
    if not pairs:
        raise DataError(f"{path} annotates no picture", "annotations", "Take other data")
    for pair in pairs:
        for file, mate, noun in ((pair.image, pair.mask, "picture"), (pair.mask, pair.image, "mask")):
            if not file.is_file():
                raise DataError(f"{mate} has no {noun}", str(file), f"Add the {noun}, or take it out of {path.name}")
    return pairs


DATASETS.register("cocopanoptic")(COCOPanoptic())
