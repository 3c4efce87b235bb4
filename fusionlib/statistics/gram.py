"""Gram matrices of what the layers of a network get to see: how often its inputs go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fusionlib.architectures.modules import named_modules
from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import STATISTICS, LoadedNetwork, Progress, Subject
from fusionlib.errors import CheckpointError

PIECE = 1 << 22
"""Numbers of a layer's input that are unfolded and multiplied at a time: 32 MB."""


class GramMatrices:
    """`G = 1/N sum_n x_n x_n^T` (d, d) float64 of each linear layer and convolution, by the name of its weight.

    x_n (d,) are the N inputs that the rows of its weight matrix (outputs, d) are multiplied with in evaluation mode: of
    a linear layer those of its last axis; of a convolution its patches, unfolded, d = channels x kernel height x kernel
    width. Pictures of all sizes count by their positions. Products and sums are float64: G is positive semidefinite
    then, and no square of a float32 overflows.

    There is none of transposed and grouped convolutions, of layers of the user's own classes (which may do more than
    multiply), of layers that no picture passes through, and of those of more than `widest` inputs: G takes 8 d^2 bytes.

    Raises `CheckpointError` where the network's activations are NaN or infinite.
    """

    title: ClassVar = "Gram matrices of layer inputs"
    summary: ClassVar = "Second moments of what each linear layer and convolution gets to see"
    source: ClassVar = "Jin et al. 2023, Dataless Knowledge Fusion by Merging Weights of Language Models, section 3"
    version: ClassVar = 1
    needs: ClassVar = "pictures"
    grain: ClassVar = "checkpoint"
    options: ClassVar = ("widest",)
    cost: ClassVar = 5  # measured with ENet at 480x360 on two cores

    def estimate(self, subject: Subject, options: Mapping[str, Any], progress: Progress) -> dict[str, Tensor]:
        """G by the name of the weight."""
        network = subject.network(0)
        layers = layers_of(network.module, subject.arena, options["widest"])
        sums = {name: torch.zeros(width, width, dtype=torch.float64) for name, (_, width) in layers.items()}
        sums = {name: total.to(network.flat.device) for name, total in sums.items()}
        counts = dict.fromkeys(sums, 0)
        for done, (_, image) in enumerate(subject.pictures):
            progress(done, subject.count)
            subject.run(lambda image=image: _add(network, layers, image, sums, counts))
        progress(subject.count, subject.count)
        return {name: ((sums[name] + sums[name].T) / (2 * count)).cpu() for name, count in counts.items() if count}


Layers = Mapping[str, tuple[nn.Module, int]]
"""Layer and width of its input by the name of its weight."""


def layers_of(network: nn.Module, arena: Arena, widest: int) -> Layers:
    """The layers that have a Gram matrix."""
    found: dict[str, tuple[nn.Module, int]] = {}
    for prefix, module in named_modules(network).items():
        name = f"{prefix}.weight" if prefix else "weight"
        plain = type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1)
        entry = arena.layout.by_name.get(name)
        if plain and entry is not None and entry.shape == tuple(module.weight.shape):  # type: ignore[union-attr]
            width = entry.size // entry.shape[0]
            if width <= widest:
                found[name] = module, width
    return found


def _add(
    network: LoadedNetwork, layers: Layers, image: np.ndarray, sums: Mapping[str, Tensor], counts: dict[str, int]
) -> None:
    """Add what a picture (H, W, 3) uint8 shows to every layer to the sums of products and the counts of inputs."""

    def look(name: str, inputs: Tensor) -> None:
        for piece in pieces(layers[name][0], inputs):
            piece = piece.double()
            sums[name].addmm_(piece, piece.T)
            counts[name] += piece.shape[1]

    with _watched(layers, look):
        network.logits(image[None])
    for name, total in sums.items():
        if not bool(torch.isfinite(total.diagonal()).all()):
            raise CheckpointError(
                f"The network's activations before {name} are NaN or infinite, which have no Gram matrix",
                "weights that run in float32",
                "Look at this checkpoint's masks; use an earlier epoch, or leave it out",
            )


@contextmanager
def _watched(layers: Layers, look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Inside the block, what each layer is called with is looked at."""

    def hook(name: str) -> Callable[..., None]:
        def seen(_module: nn.Module, inputs: tuple, named: Mapping[str, Any]) -> None:
            look(name, inputs[0] if inputs else named["input"])

        return seen

    handles = [
        nn.Module.register_forward_pre_hook(module, hook(name), with_kwargs=True)  # an attribute may be called like it
        for name, (module, _) in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pieces(layer: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """The inputs of a linear layer or a convolution as columns (d, n), a piece at a time: weight (outputs, d) times
    these, and the bias added, is the layer's answer.
    """
    if isinstance(layer, nn.Conv2d):
        yield from patches(layer, inputs)
        return
    rows = inputs.reshape(-1, inputs.shape[-1])
    for part in rows.split(max(1, PIECE // rows.shape[1])):
        yield part.T


def patches(layer: nn.Conv2d, inputs: Tensor) -> Iterator[Tensor]:
    """The patches of inputs (N, C, H, W) that a convolution's kernel meets, in bands of rows of its output."""
    padded = _padded(layer, inputs)
    (high, wide), (down, right), (along, across) = layer.kernel_size, layer.stride, layer.dilation
    reach = along * (high - 1) + 1
    rows = (padded.shape[2] - reach) // down + 1
    columns = (padded.shape[3] - across * (wide - 1) - 1) // right + 1
    band = max(1, PIECE // max(1, padded.shape[0] * padded.shape[1] * high * wide * columns))
    for start in range(0, rows, band):
        stop = min(start + band, rows)
        part = padded[:, :, start * down : (stop - 1) * down + reach]
        found = nn.functional.unfold(part, layer.kernel_size, layer.dilation, 0, layer.stride)
        yield found.transpose(0, 1).reshape(found.shape[1], -1)


def _padded(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """What the kernel slides over, as `nn.Conv2d` pads it: left and right, then top and bottom."""
    sides: list[int] = []
    for axis in (1, 0):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [0, 0] if isinstance(layer.padding, str) else [int(layer.padding[axis])] * 2
    if not any(sides):
        return inputs
    return nn.functional.pad(inputs, sides, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)


STATISTICS.register("gram")(GramMatrices())
