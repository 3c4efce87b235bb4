"""ResNet without its classifier: the backbone of other networks, at an output stride of 32, 16 or 8.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, Table 1 and Figure 5. Names, and the
stride in the 3x3 convolution of a bottleneck, are those of torchvision. Smaller output strides by dilation: Chen,
Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.1. Three 3x3
convolutions in place of the 7x7 one: He, Zhang, Zhang, Zhang, Xie, Li, "Bag of Tricks for Image Classification with
Convolutional Neural Networks", 2019, section 4.2 (ResNet-C), in the names of mmsegmentation's ResNetV1c.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from fusionlib.contracts import Stage


@dataclass(frozen=True)
class Plan:
    """The sizes of Table 1: blocks of the four layers, channels of the stem and of their 3x3 convolutions.

    A `deep` stem has three 3x3 convolutions in place of a 7x7 one.
    """

    depths: tuple[int, ...]
    bottleneck: bool = True
    deep: bool = False
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)

    @property
    def expansion(self) -> int:
        """By how much the outputs of a block are more than its 3x3 convolutions."""
        return (Bottleneck if self.bottleneck else BasicBlock).expansion


PLANS = {
    18: Plan((2, 2, 2, 2), bottleneck=False),
    34: Plan((3, 4, 6, 3), bottleneck=False),
    50: Plan((3, 4, 6, 3)),
    101: Plan((3, 4, 23, 3)),
}
"""By the number of layers of a network."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the input (Figure 5, left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 reduction, a 3x3 convolution, 1x1 expansion by 4, added to the input (Figure 5, right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The backbone alone. Input `(N, 3, H, W)` float32; `widths` are the channels of the stem and the four layers.

    A layer whose stride is taken away is dilated; in torchvision its first block is not, with `whole` all blocks are.
    `grid` multiplies the dilations of the last layer's blocks (section 3.1.1 of Chen et al. 2017).
    """

    def __init__(
        self, plan: int | Plan, output_stride: int = 32, *, whole: bool = False, grid: tuple[int, ...] = (1,)
    ) -> None:
        super().__init__()
        plan = PLANS[plan] if isinstance(plan, int) else plan
        block = Bottleneck if plan.bottleneck else BasicBlock
        self.widths = (plan.stem, *(width * block.expansion for width in plan.widths))
        if plan.deep:
            self.stem = _deep_stem(plan.stem)
        else:
            self.conv1 = nn.Conv2d(3, plan.stem, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(plan.stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        reached, dilation = 4, 1
        for number, (count, width) in enumerate(zip(plan.depths, plan.widths, strict=True), 1):
            stride, before = (1 if number == 1 else 2), dilation
            if reached * stride > output_stride:
                stride, dilation = 1, dilation * stride
            reached *= stride
            dilations = [dilation if whole else before, *(dilation,) * (count - 1)]
            if number == len(plan.depths):
                dilations = [one * grid[place % len(grid)] for place, one in enumerate(dilations)]
            first = block(self.widths[number - 1], width, stride, dilations[0])
            others = (block(self.widths[number], width, 1, one) for one in dilations[1:])
            self.add_module(f"layer{number}", nn.Sequential(first, *others))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Activations of the stem and of the four layers."""
        state = x
        for stage in self.stages("", range(4)):
            state = stage.call(state)
        assert isinstance(state, tuple)
        return state

    def stages(self, prefix: str, keep: Collection[int]) -> Iterator[Stage]:
        """Every block of a network that has the backbone as `prefix`, a name that ends in a dot, or empty.

        States are tuples: the activations of the layers whose numbers are in `keep` (0: the stem), and last the newest.
        """
        first = ("stem",) if hasattr(self, "stem") else ("conv1", "bn1")
        yield Stage(f"{prefix}{first[0]}", self._enter, tuple(f"{prefix}{module}" for module in first))
        for number in range(1, 5):
            for place, block in enumerate(self.get_submodule(f"layer{number}").children()):
                adds = place == 0 and number - 1 in keep
                call = partial(self._advance, block, adds, number == 1 and place == 0)
                yield Stage(f"{prefix}layer{number}.{place}", call)

    def _enter(self, x: Tensor) -> tuple[Tensor, ...]:
        """At stride 2, before the pooling."""
        return (self.stem(x) if hasattr(self, "stem") else self.relu(self.bn1(self.conv1(x))),)

    def _advance(self, block: nn.Module, adds: bool, pools: bool, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = self.maxpool(state[-1]) if pools else state[-1]
        return (*(state if adds else state[:-1]), block(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _deep_stem(width: int) -> nn.Sequential:
    modules: list[nn.Module] = []
    for inputs, outputs, stride in ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1)):
        modules += [
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*modules)
