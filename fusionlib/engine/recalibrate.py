"""Batch-norm statistics measured anew for merged weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from fusionlib.architectures.modules import named_modules
from fusionlib.contracts import Progress
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, UsageError


class Measured(Protocol):
    """What is recalibrated: a network that runs `module`."""

    module: nn.Module
    precision: str

    def logits(self, images: np.ndarray, /) -> Tensor:
        """Pictures (N, H, W, 3) uint8 through the network."""
        ...


class Recalibration:
    """Sample-weighted mean of the batch means and of the unbiased batch variances over unlabelled pictures.

    After batches of sizes b_1 ... b_t: `mean = sum_k b_k m_k / sum_k b_k`, the same for the variance. Every picture
    counts once however the batches fall, where `torch.optim.swa_utils.update_bn` lets every batch count once; the two
    differ on a ragged last batch. Only batch-norm layers are in training mode, so dropout does not disturb the
    statistics.

    Source: `bn_update` of the SWA authors' code (Izmailov et al. 2018), which sets momentum to b / (n + b).
    """

    def __init__(self, network: Measured) -> None:
        self.network, self.seen = network, 0
        self.layers = [
            layer
            for layer in named_modules(network.module).values()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
        ]
        if not self.layers:
            raise UsageError(
                "The network has no batch-norm statistics",
                "a network with batch norm",
                "Choose the buffer policy average: it leaves nothing to recalibrate",
            )
        for layer in self.layers:
            layer.running_mean.zero_()  # type: ignore[union-attr]
            layer.running_var.fill_(1)  # type: ignore[union-attr]

    def add(self, images: np.ndarray) -> None:
        """Take a batch of pictures (N, H, W, 3) uint8 into account."""
        count = images.shape[0]
        self.seen += count
        momenta = [layer.momentum for layer in self.layers]
        # Always in float32, so that a preview in mixed precision has the very statistics that the export will have.
        precision, self.network.precision = self.network.precision, "float32"
        try:
            for layer in self.layers:
                layer.train()
                layer.momentum = count / self.seen
            self.network.logits(images)
        except ArchitectureError as problem:  # torch's own ValueError, of a batch norm behind a global pooling
            if not isinstance(problem.__cause__, ValueError):
                raise
            raise UsageError(
                f"Batch norm cannot be measured: {problem.__cause__}",
                "more than one value per channel in a batch",
                "Choose the buffer policy average, gaussian or anchor",
            ) from problem
        finally:
            self.network.precision = precision
            for layer, momentum in zip(self.layers, momenta, strict=True):
                layer.eval()
                layer.momentum = momentum


def recalibrate(
    network: BoundNetwork, batches: Iterable[np.ndarray], total: int = 0, progress: Progress | None = None
) -> Tensor:
    """Recalibrate in place over all `batches`; returns the network's flat buffer (P,).

    Raises `UsageError` without batch norm.
    """
    running = Recalibration(network)
    for batch in batches:
        running.add(batch)
        if progress is not None:
            progress(running.seen, total)
    if not running.seen:
        raise UsageError(
            "No pictures to recalibrate with", "at least one unlabelled picture", "Choose data for recalibration"
        )
    return network.flat
