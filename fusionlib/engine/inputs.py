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
        return self._padded(batch)

    def at_size(self, logits: Tensor, size: tuple[int, int], target: tuple[int, int]) -> Tensor:
        """Logits (N, C, h, w) of pictures of `size`, resized bilinearly to `target`, without what was added to the
        picture.

        With `pad` they are first resized to what the network saw and cut, so that no logit moves.
        """
        if self._pads(size):
            logits = resized(logits, self.about.seen(*size))[..., : size[0], : size[1]]
        return resized(logits, target)

    def cut(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (N, C, h, w) of pictures of `size` at the network's own resolution, without those that see nothing but
        what was added.
        """
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
        below, beside = self.about.seen(height, width)
        # Edges and not reflections, which end at the picture's own size.
        batch = nn.functional.pad(batch, (0, beside - width, 0, below - height), mode="replicate")
        return batch.contiguous(memory_format=self._format)


def resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Logits (N, C, h, w) at `size`, bilinearly (align_corners=False)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return nn.functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
