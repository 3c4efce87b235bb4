"""HRNet: four resolutions side by side from beginning to end, in the names of HRNet-Semantic-Segmentation.

Source: Wang, Sun, Cheng et al., "Deep High-Resolution Representation Learning for Visual Recognition", 2020, Figures 2
and 3 and section 3.4 (HRNetV2: all resolutions, brought to the finest, side by side before the head). Without OCR.
Resizing is bilinear, corners not aligned. W18 and W48 differ in the width of the finest branch; each coarser one has
half the sides and twice the channels.
"""

from __future__ import annotations

from functools import partial, reduce
from itertools import pairwise
from operator import add

import torch
from torch import Tensor, nn

from fusionlib.architectures.built_in import BuiltIn, in_turn
from fusionlib.architectures.resnet import BasicBlock, Bottleneck
from fusionlib.contracts import ARCHITECTURES, Stage

MODULES = (1, 4, 3)
"""How many multi-resolution modules the stages 2, 3 and 4 have, of as many branches."""

BLOCKS = 4

State = tuple[Tensor, ...]
"""Activations of the branches, the finest first."""


def _unit(inputs: int, outputs: int, size: int, stride: int = 1, active: bool = True) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if active else []))


class Module(nn.Module):
    """Branches of four residual blocks, then every branch gets the sum of all, each brought to its size (Figure 3)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(BLOCKS))) for width in widths
        )
        numbers = range(len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleDict({str(source): _exchange(widths, source, to) for source in numbers if source != to})
            for to in numbers
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, state: State) -> State:
        state = tuple(branch(x) for branch, x in zip(self.branches, state, strict=True))
        return tuple(self._fused(state, to) for to in range(len(state)))

    def _fused(self, state: State, to: int) -> Tensor:
        terms: list[Tensor] = []
        for source, x in enumerate(state):
            term = x if source == to else self.fuse_layers[to].get_submodule(str(source))(x)
            terms.append(_resized(term, state[to]) if source > to else term)
        return self.relu(reduce(add, terms))


def _exchange(widths: tuple[int, ...], source: int, to: int) -> nn.Sequential:
    """1x1 to a finer branch, which is resized behind it; strided 3x3 down to a coarser one."""
    if source > to:
        return _unit(widths[source], widths[to], 1, active=False)
    steps = (_unit(widths[source], widths[source], 3, 2) for _ in range(to - source - 1))
    return nn.Sequential(*steps, _unit(widths[source], widths[to], 3, 2, active=False))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class HRNet(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(BLOCKS - 1)))
        widths = tuple(width << number for number in range(len(MODULES) + 1))
        first = {"0": _unit(256, widths[0], 3), "1": nn.Sequential(_unit(256, widths[1], 3, 2))}
        self.transition1 = nn.ModuleDict(first)
        for number, (finer, coarser) in enumerate(pairwise(widths[1:]), 2):
            new = nn.ModuleDict({str(number): nn.Sequential(_unit(finer, coarser, 3, 2))})
            self.add_module(f"transition{number}", new)
        for number, count in enumerate(MODULES, 2):
            self.add_module(f"stage{number}", nn.Sequential(*(Module(widths[:number]) for _ in range(count))))
        self.last_layer = nn.Sequential(
            nn.Conv2d(sum(widths), sum(widths), 1),
            nn.BatchNorm2d(sum(widths)),
            nn.ReLU(inplace=True),
            nn.Conv2d(sum(widths), classes, 1),
        )

    def stages(self) -> tuple[Stage, ...]:
        """Stem, blocks of the first stage, every beginning of a branch and every module, head."""
        steps = [Stage("conv1", self._enter, ("conv1", "bn1", "conv2", "bn2"))]
        steps += [Stage(f"layer1.{number}", block) for number, block in enumerate(self.layer1)]
        steps.append(Stage("transition1", self._first_branches))
        for number in range(2, len(MODULES) + 2):
            stage = self.get_submodule(f"stage{number}").named_children()
            steps += [Stage(f"stage{number}.{place}", module) for place, module in stage]
            if number <= len(MODULES):
                branch = self.get_submodule(f"transition{number}.{number}")
                steps.append(Stage(f"transition{number}", partial(_another_branch, branch)))
        return *steps, Stage("last_layer", self._leave)

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)

    def _enter(self, x: Tensor) -> Tensor:
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))

    def _first_branches(self, x: Tensor) -> State:
        return self.transition1["0"](x), self.transition1["1"](x)

    def _leave(self, state: State) -> Tensor:
        return self.last_layer(torch.cat((state[0], *(_resized(x, state[0]) for x in state[1:])), 1))


def _another_branch(begin: nn.Module, state: State) -> State:
    return *state, begin(state[-1])


def _hrnet(width: int) -> BuiltIn:
    return BuiltIn(
        f"HRNet-W{width}",
        "Wang et al. 2020, Deep High-Resolution Representation Learning for Visual Recognition",
        partial(HRNet, width),
        head=("last_layer",),
        outputs=("last_layer.3.weight", "last_layer.3.bias"),
        names="HRNet-Semantic-Segmentation (stage2 to stage4, last_layer)",
        stride=4,
    )


ARCHITECTURES.register("hrnet-w18")(_hrnet(18))
ARCHITECTURES.register("hrnet-w48")(_hrnet(48))
