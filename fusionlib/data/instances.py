"""Instances that datasets tell apart: a picture of numbers beside the mask, one number an instance.

What a number means is up to the dataset: each rule is one function.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fusionlib.data.files import UNREADABLE, one_large, unreadable
from fusionlib.data.masks import mask_header
from fusionlib.errors import DataError

_GREY, _PALETTE = 0, 3


def numbers(path: Path) -> np.ndarray:
    """(H, W) int32: the pixels of a grey or palette PNG of 8 or 16 bits. Raises `DataError` that names the file."""
    header = mask_header(path)
    if header.colour not in (_GREY, _PALETTE) or header.bits not in (8, 16):
        raise DataError(f"{path} is {header.kind} picture", "instances as numbers of 8 or 16 bits", "Replace it")
    try:
        with one_large(header.height * header.width), Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image).astype(np.int32)
    except UNREADABLE as problem:
        raise unreadable(path, problem) from problem


def thousands(path: Path) -> np.ndarray:
    """(H, W) int32 by the rule of Cityscapes: id of the class times 1000 plus a number; below 1000 there is no
    instance, or a group in which none is told from the other.
    """
    found = numbers(path)
    return np.where(found >= 1000, found, 0)


def objects(path: Path) -> np.ndarray:
    """(H, W) int32 by the rule of Pascal VOC: numbers from 1; 0 is background, 255 the line around objects."""
    found = numbers(path)
    return np.where(found == 255, 0, found)
