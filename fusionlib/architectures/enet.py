"""ENet: a small real-time encoder-decoder of bottlenecks.

Source: Paszke, Chaurasia, Kim, Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time Semantic
Segmentation", 2016, Table 1 and Figure 2. Parameter names follow the layout in which most public PyTorch checkpoints of
it are stored.

Where the paper leaves room, the public checkpoints decide: dropout 0.01 before the second stage and 0.1 after; the
extension branch ends in an activation before it is added; the decoder uses ReLU in place of PReLU; no bias in any
convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.enet_permutations import enet_permutations
from fusionlib.architectures.spaces import usual_space
from fusionlib.contracts import ARCHITECTURES, Preprocessing, Stage


def _unit(convolution: nn.Module, channels: int, activation: type[nn.Module]) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), activation()]


class Initial(nn.Module):
    """Strided convolution beside a max-pooling of the picture itself, concatenated to 16 channels (Figure 2a)."""

    def __init__(self, inputs: int = 3, outputs: int = 16) -> None:
        super().__init__()
        self.main_branch = nn.Conv2d(inputs, outputs - inputs, 3, stride=2, padding=1, bias=False)
        self.ext_branch = nn.MaxPool2d(3, stride=2, padding=1)
        self.batch_norm = nn.BatchNorm2d(outputs)
        self.out_activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out_activation(self.batch_norm(torch.cat((self.main_branch(x), self.ext_branch(x)), 1)))


class Bottleneck(nn.Module):
    """1x1 reduction, a 3x3 (dilated) or 5x1-1x5 (asymmetric) convolution, 1x1 expansion, added to the input (Figure
    2b).
    """

    def __init__(
        self,
        channels: int,
        *,
        dilation: int = 1,
        asymmetric: bool = False,
        dropout: float = 0.1,
        activation: type[nn.Module] = nn.PReLU,
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.ext_conv1 = nn.Sequential(*_unit(nn.Conv2d(channels, inner, 1, bias=False), inner, activation))
        if asymmetric:
            middle = [
                *_unit(nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False), inner, activation),
                *_unit(nn.Conv2d(inner, inner, (1, 5), padding=(0, 2), bias=False), inner, activation),
            ]
        else:
            middle = _unit(
                nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False), inner, activation
            )
        self.ext_conv2 = nn.Sequential(*middle)
        self.ext_conv3 = nn.Sequential(*_unit(nn.Conv2d(inner, channels, 1, bias=False), channels, activation))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.out_activation(x + self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x)))))


class Downsampling(nn.Module):
    """Halves the sides: max-pooling (its indices kept for the decoder), zero channels added, beside a strided
    branch.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_max1 = nn.MaxPool2d(2, stride=2, return_indices=True)
        self.ext_conv1 = nn.Sequential(*_unit(nn.Conv2d(inputs, inner, 2, stride=2, bias=False), inner, nn.PReLU))
        self.ext_conv2 = nn.Sequential(*_unit(nn.Conv2d(inner, inner, 3, padding=1, bias=False), inner, nn.PReLU))
        self.ext_conv3 = nn.Sequential(*_unit(nn.Conv2d(inner, outputs, 1, bias=False), outputs, nn.PReLU))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        main, indices = self.main_max1(x)
        extension = self.ext_regul(self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))
        padding = extension.shape[1] - main.shape[1]
        return self.out_activation(nn.functional.pad(main, (0, 0, 0, 0, 0, padding)) + extension), indices


class Upsampling(nn.Module):
    """Doubles the sides: max-unpooling with the encoder's indices beside a transposed convolution."""

    def __init__(self, inputs: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_conv1 = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.main_unpool1 = nn.MaxUnpool2d(2)
        self.ext_conv1 = nn.Sequential(*_unit(nn.Conv2d(inputs, inner, 1, bias=False), inner, nn.ReLU))
        self.ext_tconv1 = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
        self.ext_tconv1_bnorm = nn.BatchNorm2d(inner)
        self.ext_tconv1_activation = nn.ReLU()
        self.ext_conv2 = nn.Sequential(nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.ext_regul = nn.Dropout2d(dropout)
        self.out_activation = nn.ReLU()

    def forward(self, x: Tensor, indices: Tensor, size: torch.Size) -> Tensor:
        main = self.main_unpool1(self.main_conv1(x), indices, output_size=size[-2:])
        extension = self.ext_tconv1(self.ext_conv1(x), output_size=size[-2:])
        extension = self.ext_conv2(self.ext_tconv1_activation(self.ext_tconv1_bnorm(extension)))
        return self.out_activation(main + self.ext_regul(extension))


class ENet(nn.Module):
    """The network of Table 1.

    Input `(N, 3, H, W)` float32, output logits `(N, classes, H, W)`; any H and W of 16 or more.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.initial_block = Initial()
        self.downsample1_0 = Downsampling(16, 64, dropout=0.01)
        for index in range(1, 5):
            self.add_module(f"regular1_{index}", Bottleneck(64, dropout=0.01))
        self.downsample2_0 = Downsampling(64, 128, dropout=0.1)
        for stage, first in ((2, 1), (3, 0)):
            for step, (kind, options) in enumerate(_STAGE):
                self.add_module(f"{kind}{stage}_{first + step}", Bottleneck(128, **options))
        self.upsample4_0 = Upsampling(128, 64)
        self.regular4_1 = Bottleneck(64, activation=nn.ReLU)
        self.regular4_2 = Bottleneck(64, activation=nn.ReLU)
        self.upsample5_0 = Upsampling(64, 16)
        self.regular5_1 = Bottleneck(16, activation=nn.ReLU)
        self.transposed_conv = nn.ConvTranspose2d(16, classes, 3, stride=2, padding=1, bias=False)

    def stages(self) -> tuple[Stage, ...]:
        """The blocks in order of registration, which is that of the forward pass; states are `State`."""
        (first, _), *middle, (last, _) = self.named_children()
        return (
            Stage(first, self._enter),
            *(Stage(name, partial(_through, block)) for name, block in middle),
            Stage(last, self._leave),
        )

    def forward(self, x: Tensor) -> Tensor:
        state: Any = x
        for stage in self.stages():
            state = stage.call(state)
        return state

    def _enter(self, x: Tensor) -> State:
        return self.initial_block(x), ((None, x.shape),)

    def _leave(self, state: State) -> Tensor:
        x, ((_, size),) = state
        return self.transposed_conv(x, output_size=size[-2:])


State = tuple[Tensor, tuple[tuple[Tensor | None, torch.Size], ...]]
"""An activation, and for every halving of the sides that is still to be undone, last one last: pooling indices, size
before.
"""


def _through(block: nn.Module, state: State) -> State:
    x, halvings = state
    if isinstance(block, Downsampling):
        half, indices = block(x)
        return half, (*halvings, (indices, x.shape))
    if isinstance(block, Upsampling):
        return block(x, *halvings[-1]), halvings[:-1]
    return block(x), halvings


_STAGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("regular", {}),
    ("dilated", {"dilation": 2}),
    ("asymmetric", {"asymmetric": True}),
    ("dilated", {"dilation": 4}),
    ("regular", {}),
    ("dilated", {"dilation": 8}),
    ("asymmetric", {"asymmetric": True}),
    ("dilated", {"dilation": 16}),
)
"""Stages 2 and 3 are this same row of eight bottlenecks."""


class ENetArchitecture:
    """ENet with any class count."""

    title = "ENet"
    names = "the public PyTorch checkpoints (initial_block, regular1_1, transposed_conv)"
    stride = 8
    citation = "Paszke et al. 2016, ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation"
    head: tuple[str, ...] = ("upsample4_0", "regular4_", "upsample5_0", "regular5_", "transposed_conv")
    preprocessing = Preprocessing(channels_last=True)
    permutations = enet_permutations()

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """The class count, read off the last layer, when every tensor of ENet is there; others may lie beside them."""
        last = shapes.get("transposed_conv.weight")
        if last is None or len(last) != 4 or "initial_block.main_branch.weight" not in shapes:
            return None
        expected = _shapes(last[1])
        counters = {name for name in expected if name.endswith("num_batches_tracked")}
        same = all(shapes.get(name, shape if name in counters else None) == shape for name, shape in expected.items())
        return last[1] if same else None

    def build(self, classes: int) -> nn.Module:
        """A fresh ENet."""
        return ENet(classes)

    def stages(self, module: nn.Module) -> tuple[Stage, ...]:
        """Every block is a stage."""
        assert isinstance(module, ENet)
        return module.stages()

    def label_space(self, classes: int) -> str:
        """By the class count."""
        return usual_space(classes)


@lru_cache(maxsize=16)  # every file that is opened is asked about twice, and building takes 50 ms
def _shapes(classes: int) -> Mapping[str, tuple[int, ...]]:
    """What an ENet of that many outputs consists of; nothing is allocated."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in ENet(classes).state_dict().items()}


ARCHITECTURES.register("enet")(ENetArchitecture())
