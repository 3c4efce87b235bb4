"""UperNet: pyramid pooling on top of a feature pyramid, all levels fused, with a ResNet or a Swin as backbone.

Source: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding", 2018, section 3 and Figure 4,
its object branch alone; pooling to 1, 2, 3 and 6 cells: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network",
2017, section 3.2. As in mmsegmentation, whose names tensors have here, and unlike the paper: 1x1 projections of the
pyramid have norms too, a 3x3 convolution follows at each of its levels but the coarsest, and the classifier is a single
1x1 convolution behind the fusion. Names of other code are in `fusionlib.architectures.upernet_names`.

An auxiliary head in the file, `auxiliary_head.*`, is merged and kept but never run: it serves training alone. With 150
classes and that head there are 66.5 M parameters with ResNet-50, 85.5 with ResNet-101, 59.9 with Swin-T, 81.3 with
Swin-S, and with windows of 12 121.4 with Swin-B and 234.0 with Swin-L. Publications print 67, 86, 60, 81, 121 and 234:
they count the auxiliary head, 2.4 M with a ResNet and 0.9 to 1.8 M with a Swin, by which what runs here is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures import backbones, resnet, swin
from fusionlib.architectures.built_in import BuiltIn, Shapes, in_turn, repeated, with_classes
from fusionlib.architectures.described import family
from fusionlib.architectures.sized import WHOLE, of_any_size, unfit
from fusionlib.architectures.upernet_permutations import upernet_permutations
from fusionlib.architectures.upernet_plan import CELLS, Plan, backbone_of, plan_of, plan_of_config
from fusionlib.contracts import ARCHITECTURES, Description, Permutation, Stage
from fusionlib.errors import ArchitectureError

Maps = tuple[Tensor, ...]


class Unit(nn.Module):
    """A convolution that keeps the sides, a norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class PooledPyramid(nn.Module):
    """Maps of `widths` channels, the finest first -> as many of `channels` (Figure 4, left, up to where they meet)."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        *finer, coarsest = widths
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), Unit(coarsest, channels, 1)) for cells in CELLS
        )
        self.bottleneck = Unit(coarsest + len(CELLS) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(Unit(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(Unit(channels, channels, 3) for _ in finer)

    def pooled(self, maps: Maps) -> Maps:
        """The coarsest map with what it is in larger and larger cells."""
        *finer, x = maps
        context = [resized(module(x), x) for module in self.psp_modules]
        return *finer, self.bottleneck(torch.cat([x, *context], 1))

    def summed(self, maps: Maps) -> Maps:
        """The pyramid from top to bottom: each map projected, and the sum above it added."""
        *finer, x = maps
        found = [x]
        for projection, one in zip(reversed(self.lateral_convs), reversed(finer), strict=True):
            one = projection(one)
            found.insert(0, one + resized(found[0], one))
        return tuple(found)

    def refined(self, maps: Maps) -> Maps:
        """A convolution at each level but the coarsest."""
        *finer, x = maps
        return *(unit(one) for unit, one in zip(self.fpn_convs, finer, strict=True)), x

    def stages(self, prefix: str) -> list[Stage]:
        """From the maps of the backbone to those of the pyramid."""
        pooling = (f"{prefix}psp_modules", f"{prefix}bottleneck")
        return [
            Stage(f"{prefix}psp_modules", self.pooled, pooling),
            Stage(f"{prefix}lateral_convs", self.summed),
            Stage(f"{prefix}fpn_convs", self.refined),
        ]


class Head(PooledPyramid):
    """The decoder of UperNet: all levels of the pyramid, fused, and a classifier."""

    def __init__(self, widths: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__(widths, channels)
        self.fpn_bottleneck = Unit(len(widths) * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def fused(self, maps: Maps) -> Tensor:
        """All levels at the sides of the finest, and a convolution over them."""
        finest, *others = maps
        return self.fpn_bottleneck(torch.cat([finest, *(resized(one, finest) for one in others)], 1))

    def stages(self, prefix: str) -> list[Stage]:
        """From the maps of the backbone to logits."""
        return [
            *super().stages(prefix),
            Stage(f"{prefix}fpn_bottleneck", self.fused),
            Stage(f"{prefix}conv_seg", self.conv_seg),
        ]


class UperNet(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`, sides rounded up."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.backbone = backbones.made(plan.backbone)
        self.decode_head = Head(plan.widths, plan.channels, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, and the steps of the decoder."""
        return *backbones.stages(self.backbone, "backbone."), *self.decode_head.stages("decode_head.")

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinearly, to the sides of another map."""
    return nn.functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class UperNetArchitecture(BuiltIn):
    """The network of a plan; `listed` where it is one of those that lists name."""

    def __init__(self, plan: Plan, listed: bool = True) -> None:
        convolutional = isinstance(plan.backbone, resnet.Plan)
        super().__init__(
            plan.title,
            f"Xiao et al. 2018, Unified Perceptual Parsing for Scene Understanding; {_CITATIONS[type(plan.backbone)]}",
            partial(UperNet, plan),
            head=("decode_head", "auxiliary_head"),
            outputs=("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"),
            names=_NAMES[type(plan.backbone)],
            stride=32,
            movable=convolutional,
        )
        self.code = f"{self.code} {plan}"
        self.plan, self.listed = plan, listed

    @cached_property
    def permutations(self) -> Sequence[Permutation]:
        """With a Swin, found out when they are first asked for; with a ResNet those of its graph come before."""
        return tuple(upernet_permutations(self.plan))

    def recognise(self, shapes: Shapes) -> int | None:
        """As `BuiltIn`, without making networks of other sizes than the tensors have."""
        name, shape = self._mark
        return super().recognise(shapes) if shapes.get(name) == shape else None

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors. Blocks of a resolution are alike: only the first two of them are made."""
        found: Shapes = self._of_first_blocks
        for number, depth in enumerate(self.plan.backbone.depths):
            found = repeated(found, self._blocks(number), depth)
        return with_classes(found, self.class_axes, classes)

    def check(self, module: nn.Module) -> None:
        """Raises `ArchitectureError` where a checkpoint has other positions in a window than there are."""
        if isinstance(self.plan.backbone, swin.Plan):
            swin.check_positions(module)

    def misfit(self, shapes: Shapes) -> ArchitectureError:
        """What keeps tensors that are meant for this network from being all of it."""
        own = self.shapes(next((shapes[name][0] for name, _ in self.class_axes if shapes.get(name)), 0))
        inside = (name for name in shapes if name.startswith(("backbone.", "decode_head.")) and name not in own)
        return unfit(self.title, own, shapes, [name for name in inside if name.endswith(".weight")])

    @property
    def _mark(self) -> tuple[str, tuple[int, ...]]:
        """A tensor by which most plans are told apart: one of the last block of the third resolution."""
        backbone = self.plan.backbone
        block = f"{self._blocks(2)}{backbone.depths[2] - 1}."
        if isinstance(backbone, swin.Plan):
            return f"{block}attn.{swin.TABLE}", ((2 * backbone.window - 1) ** 2, backbone.heads[2])
        return f"{block}bn2.weight", (backbone.widths[2],)

    def _blocks(self, number: int) -> str:
        """What the names of the blocks of a resolution begin with."""
        if isinstance(self.plan.backbone, swin.Plan):
            return f"backbone.layers.{number}.blocks."
        return f"backbone.layer{number + 1}."

    @cached_property
    def _of_first_blocks(self) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            first = UperNet(self.plan.with_depths(2), 1)
        return {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()}


_NAMES: dict[type[Any], str] = {
    resnet.Plan: "mmsegmentation (backbone.layer1, decode_head.psp_modules) or Hugging Face; other sizes too",
    swin.Plan: "the Swin release (backbone.layers), mmsegmentation (backbone.stages) or Hugging Face; other sizes too",
}
_CITATIONS: dict[type[Any], str] = {
    resnet.Plan: "He et al. 2016",
    swin.Plan: "Liu et al. 2021, Swin Transformer",
}


@family("upernet")
def of_description(description: Description) -> UperNetArchitecture | None:
    """The network of a folder of Hugging Face; None where it asks for another backbone, or other steps."""
    if description.network not in ("UperNetForSemanticSegmentation", "upernet"):
        return None
    plan = plan_of_config(description.config)
    return None if plan is None else _of_plan(plan)


@of_any_size
def of_shapes(shapes: Shapes) -> tuple[str, UperNetArchitecture] | None:
    """The UperNet of these tensors. Raises `ArchitectureError` for a part of one, and for sizes that no network has."""
    plan = None if any(name.startswith("decode_head.learners.") for name in shapes) else plan_of(shapes)
    if plan is None:
        backbone = backbone_of(shapes) if all(name.startswith(_BACKBONE_ALONE) for name in shapes) else None
        if isinstance(backbone, swin.Plan):
            what = Plan(backbone).title.removeprefix("UperNet, ")
            raise ArchitectureError(f"they are the backbone of a network alone ({what})", "a decoder beside it", WHOLE)
        return None
    network = _of_plan(plan)
    if network.recognise(shapes) is None:
        raise network.misfit(shapes)
    return plan.name, network


_BACKBONE_ALONE = ("backbone.", "auxiliary_head.")


@lru_cache(maxsize=16)
def _of_plan(plan: Plan) -> UperNetArchitecture:
    known = (item for _, item in ARCHITECTURES.items() if isinstance(item, UperNetArchitecture) and item.listed)
    return next((item for item in known if item.plan == plan), None) or UperNetArchitecture(plan, listed=False)


def _of_resnet(depth: int, deep: bool = False) -> UperNetArchitecture:
    return UperNetArchitecture(Plan(replace(resnet.PLANS[depth], deep=deep)))


def _of_swin(size: str, window: int = 7) -> UperNetArchitecture:
    return UperNetArchitecture(Plan(replace(swin.PLANS[size], window=window)))


ARCHITECTURES.register("upernet-tiny")(UperNetArchitecture(Plan(backbones.TINY, 64)))
ARCHITECTURES.register("upernet-resnet50")(_of_resnet(50))
ARCHITECTURES.register("upernet-resnet101")(_of_resnet(101))
ARCHITECTURES.register("upernet-resnet50-v1c")(_of_resnet(50, deep=True))
ARCHITECTURES.register("upernet-resnet101-v1c")(_of_resnet(101, deep=True))
ARCHITECTURES.register("upernet-swin-t")(_of_swin("t"))
ARCHITECTURES.register("upernet-swin-s")(_of_swin("s"))
ARCHITECTURES.register("upernet-swin-b")(_of_swin("b"))
ARCHITECTURES.register("upernet-swin-b-w12")(_of_swin("b", 12))
ARCHITECTURES.register("upernet-swin-l")(_of_swin("l"))
ARCHITECTURES.register("upernet-swin-l-w12")(_of_swin("l", 12))
