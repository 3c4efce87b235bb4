"""Several views of each picture, at other scales and mirrored, answered as one: more passes, no more weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fusionlib.engine.ensemble import combined
from fusionlib.recipe import Views

Answer = Callable[[np.ndarray, tuple[int, int]], Tensor]
"""Pictures (N, H, W, 3) uint8 and a size (h, w) -> logits (N, C, h, w)."""


def seen(answer: Answer, images: np.ndarray, size: tuple[int, int], views: Views) -> Tensor:
    """`log mean_v softmax(z_v)`, (N, C, h, w) at `size`: z_v is what `answer` says of view v, turned back.

    Every scale s stands for pictures of `round(s H) x round(s W)` pixels, and with `flip` for their mirror images as
    well. Probabilities are averaged, at the size of the annotation ("Efficient Self-Ensemble for Semantic
    Segmentation", section 4.1, multi-scale inference).
    """
    count = views.count
    return combined(_answers(answer, images, size, views), [1 / count] * count, "softmax")


def _answers(answer: Answer, images: np.ndarray, size: tuple[int, int], views: Views) -> Iterator[Tensor]:
    for scale in views.scales:
        pictures = resized(images, scale)
        yield answer(pictures, size)
        if views.flip:
            yield answer(np.ascontiguousarray(pictures[:, :, ::-1]), size).flip(3)


def resized(images: np.ndarray, scale: float) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8 at another scale, bilinear (align_corners=False), no side below one pixel.

    Made smaller they are not smoothed first, as in the multi-scale tests of public segmentation code.
    """
    height, width = (max(1, round(scale * side)) for side in images.shape[1:3])
    if (height, width) == images.shape[1:3]:
        return images
    channels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    larger = interpolate(channels, size=(height, width), mode="bilinear", align_corners=False)
    return larger.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
