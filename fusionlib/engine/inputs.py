"""Pictures as a network's input, and its logits back at the size of the pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fusionlib.contracts import Preprocessing


class Inputs:
    """What a `Preprocessing` says, on one device."""

    def __init__(self, about: Preprocessing, device: torch.device) -> None:
        self.about, self.device = about, device
        self._mean = torch.tensor(about.mean, device=device).view(1, 3, 1, 1) if any(about.mean) else None
        self._std = torch.tensor(about.std, device=device).view(1, 3, 1, 1) if about.std != (1.0, 1.0, 1.0) else None
        # Channels-last runs small CNNs up to twice as fast here, but code that calls `.view` on activations breaks on
        # it.
        self._format = torch.channels_last if about.channels_last else torch.contiguous_format

    def prepare(self, images: np.ndarray) -> Tensor:
        """Pictures (N, H, W, 3) uint8 RGB as the network's input (N, 3, h, w) float32."""
        batch = torch.from_numpy(images).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        if self.about.order == "BGR":
            batch = batch.flip(1)
        batch = batch.to(torch.float32, memory_format=self._format)
        if self.about.scale == 1:
            batch.div_(255)
        if self.about.resize is not None:
            batch = nn.functional.interpolate(batch, self.about.resize, mode="bilinear", antialias=True)
        if self._mean is not None:
            batch.sub_(self._mean)
        if self._std is not None:
            batch.div_(self._std)
        return self._padded(batch) if self.about.window is None else self._windows(batch, *self.about.window)

    def at_size(self, logits: Tensor, size: tuple[int, int], target: tuple[int, int]) -> Tensor:
        """Logits (N, C, h, w) of pictures of `size`, resized bilinearly to `target`, without what was added to the
        picture.

        With `pad` they are first resized to what the network saw and cut, so that no logit moves. With `window` they
        are averaged where windows overlap.
        """
        if self.about.window is not None:
            logits = self._averaged(logits, size, *self.about.window)
        elif self._pads(size):
            logits = resized(logits, self.about.seen(*size))[..., : size[0], : size[1]]
        return resized(logits, target)

    def cut(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (N, C, h, w) of pictures of `size` at the network's own resolution, without those that see nothing but
        what was added. With `window` at the size of the pictures.
        """
        if self.about.window is not None:
            return self.at_size(logits, size, size)
        if not self._pads(size):
            return logits
        sides = zip(logits.shape[-2:], size, self.about.seen(*size), strict=True)
        height, width = (-(-length * side // seen) for length, side, seen in sides)
        return logits[..., :height, :width]

    def _pads(self, size: tuple[int, int]) -> bool:
        return self.about.resize is None and self.about.seen(*size) != tuple(size)

    def _padded(self, batch: Tensor) -> Tensor:
        height, width = batch.shape[-2:]
        if not self._pads((height, width)):
            return batch
        return self._continued(batch, *self.about.seen(height, width))

    def _continued(self, batch: Tensor, below: int, beside: int) -> Tensor:
        height, width = batch.shape[-2:]
        # Edges and not reflections, which end at the picture's own size.
        batch = nn.functional.pad(batch, (0, beside - width, 0, below - height), mode="replicate")
        return batch.contiguous(memory_format=self._format)

    def _windows(self, batch: Tensor, side: int, step: int) -> Tensor:
        """All windows (N k, 3, side, side), those of a picture in a row."""
        height, width = batch.shape[-2:]
        if min(height, width) < side:
            batch = self._continued(batch, max(height, side), max(width, side))
        corners = _corners((height, width), side, step)
        found = torch.stack([batch[..., top : top + side, left : left + side] for top, left in corners], 1)
        return found.flatten(0, 1).contiguous(memory_format=self._format)

    @staticmethod
    def _averaged(logits: Tensor, size: tuple[int, int], side: int, step: int) -> Tensor:
        """Logits (N k, C, h, w) of the windows as those (N, C, H, W) of the pictures."""
        corners, (height, width) = _corners(size, side, step), size
        windows = logits.unflatten(0, (-1, len(corners)))
        total = logits.new_zeros(len(windows), logits.shape[1], max(height, side), max(width, side))
        count = logits.new_zeros(total.shape[-2:])
        for number, (top, left) in enumerate(corners):
            place = ..., slice(top, top + side), slice(left, left + side)
            total[place] += resized(windows[:, number], (side, side))
            count[place] += 1
        return (total / count)[..., :height, :width]


def _corners(size: tuple[int, int], side: int, step: int) -> list[tuple[int, int]]:
    """Upper left corners (row, column) of the windows over a picture of that size."""
    rows, columns = (
        [min(number * step, max(0, length - side)) for number in range(-(-max(0, length - side) // step) + 1)]
        for length in size
    )
    return [(top, left) for top in rows for left in columns]


def resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Logits (N, C, h, w) at `size`, bilinearly (align_corners=False)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
