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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures import resnet, swin
from fusionlib.architectures.built_in import BuiltIn, in_turn, with_blocks
from fusionlib.architectures.described import family, whole, wholes
from fusionlib.contracts import ARCHITECTURES, Description, Stage

CELLS = (1, 2, 3, 6)
"""A side of the grids that the coarsest map is pooled to."""

Backbone = resnet.Plan | swin.Plan
Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Plan:
    """The sizes of a backbone, and the channels of the decoder."""

    backbone: Backbone
    channels: int = 512

    def with_depths(self, most: int) -> Plan:
        """The same with at most so many blocks at each resolution."""
        depths = tuple(min(depth, most) for depth in self.backbone.depths)
        return replace(self, backbone=replace(self.backbone, depths=depths))


class Unit(nn.Module):
    """A convolution that keeps the sides, a norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Head(nn.Module):
    """The decoder of maps of `widths` channels, the finest first (Figure 4, left)."""

    def __init__(self, widths: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__()
        *finer, coarsest = widths
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), Unit(coarsest, channels, 1)) for cells in CELLS
        )
        self.bottleneck = Unit(coarsest + len(CELLS) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(Unit(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(Unit(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = Unit(len(widths) * channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def pooled(self, maps: Maps) -> Maps:
        """The coarsest map with what it is in larger and larger cells."""
        *finer, x = maps
        context = [_resized(module(x), x) for module in self.psp_modules]
        return *finer, self.bottleneck(torch.cat([x, *context], 1))

    def summed(self, maps: Maps) -> Maps:
        """The pyramid from top to bottom: each map projected, and the sum above it added."""
        *finer, x = maps
        found = [x]
        for projection, one in zip(reversed(self.lateral_convs), reversed(finer), strict=True):
            one = projection(one)
            found.insert(0, one + _resized(found[0], one))
        return tuple(found)

    def refined(self, maps: Maps) -> Maps:
        """A convolution at each level but the coarsest."""
        *finer, x = maps
        return *(unit(one) for unit, one in zip(self.fpn_convs, finer, strict=True)), x

    def fused(self, maps: Maps) -> Tensor:
        """All levels at the sides of the finest, and a convolution over them."""
        finest, *others = maps
        return self.fpn_bottleneck(torch.cat([finest, *(_resized(one, finest) for one in others)], 1))

    def stages(self, prefix: str) -> list[Stage]:
        """From the maps of the backbone to logits."""
        pooling = (f"{prefix}psp_modules", f"{prefix}bottleneck")
        return [
            Stage(f"{prefix}psp_modules", self.pooled, pooling),
            Stage(f"{prefix}lateral_convs", self.summed),
            Stage(f"{prefix}fpn_convs", self.refined),
            Stage(f"{prefix}fpn_bottleneck", self.fused),
            Stage(f"{prefix}conv_seg", self.conv_seg),
        ]


class UperNet(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`, sides rounded up."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        if isinstance(plan.backbone, swin.Plan):
            self.backbone, widths = swin.Swin(plan.backbone), plan.backbone.widths
        else:
            self.backbone = resnet.ResNet(plan.backbone)
            widths = self.backbone.widths[1:]
        self.decode_head = Head(widths, plan.channels, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, and the steps of the decoder."""
        if isinstance(self.backbone, swin.Swin):
            steps = self.backbone.stages("backbone.")
            last = steps[-1]
            steps[-1] = replace(last, call=lambda state: last.call(state)[0])
        else:
            steps = list(self.backbone.stages("backbone.", {1, 2, 3}))
        return *steps, *self.decode_head.stages("decode_head.")

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class UperNetArchitecture(BuiltIn):
    """The network of a plan. With a Swin no permutations are declared: units of attention may change places inside of a
    head alone.
    """

    def __init__(self, plan: Plan, title: str) -> None:
        convolutional = isinstance(plan.backbone, resnet.Plan)
        super().__init__(
            f"UperNet, {title}",
            f"Xiao et al. 2018, Unified Perceptual Parsing for Scene Understanding; {_CITATIONS[type(plan.backbone)]}",
            partial(UperNet, plan),
            head=("decode_head", "auxiliary_head"),
            outputs=("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"),
            names=_NAMES[type(plan.backbone)],
            stride=32,
            movable=convolutional,
        )
        self.code = f"{self.code} {plan}"
        self.plan = plan

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        """As `BuiltIn`, without making networks of other sizes than the tensors have."""
        name, shape = self._mark
        return super().recognise(shapes) if shapes.get(name) == shape else None

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors. Blocks of a resolution are alike: only the first two of them are made."""
        found = with_blocks(self._of_first_blocks, self._runs)
        return found | {name: (classes, *found[name][1:]) for name in self._outputs}

    def check(self, module: nn.Module) -> None:
        """Raises `ArchitectureError` where a checkpoint has other positions in a window than there are."""
        if isinstance(self.plan.backbone, swin.Plan):
            swin.check_positions(module)

    @property
    def _mark(self) -> tuple[str, tuple[int, ...]]:
        """A tensor by which most plans are told apart: one of the last block of the third resolution."""
        backbone = self.plan.backbone
        last = backbone.depths[2] - 1
        if isinstance(backbone, swin.Plan):
            table = ((2 * backbone.window - 1) ** 2, backbone.heads[2])
            return f"backbone.layers.2.blocks.{last}.attn.{swin.TABLE}", table
        return f"backbone.layer3.{last}.bn2.weight", (backbone.widths[2],)

    @property
    def _runs(self) -> Mapping[str, int]:
        depths = self.plan.backbone.depths
        if isinstance(self.plan.backbone, swin.Plan):
            return {f"backbone.layers.{number}.blocks": depth for number, depth in enumerate(depths)}
        return {f"backbone.layer{number}": depth for number, depth in enumerate(depths, 1)}

    @cached_property
    def _of_first_blocks(self) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            first = UperNet(self.plan.with_depths(2), 1)
        return {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()}


_NAMES: dict[type[Any], str] = {
    resnet.Plan: "mmsegmentation (backbone.layer1, decode_head.psp_modules) or Hugging Face (backbone.encoder.stages)",
    swin.Plan: (
        "the Swin release (backbone.layers), mmsegmentation (backbone.stages) or Hugging Face (backbone.encoder.layers)"
    ),
}
_CITATIONS: dict[type[Any], str] = {
    resnet.Plan: "He et al. 2016",
    swin.Plan: "Liu et al. 2021, Swin Transformer",
}


@family("upernet")
def of_description(description: Description) -> UperNetArchitecture | None:
    """The network of a folder of Hugging Face; None where its config asks for another backbone, or other steps."""
    config, about = description.config, description.config.get("backbone_config")
    channels, cells = whole(config, "hidden_size", 512), config.get("pool_scales", list(CELLS))
    if description.network not in ("UperNetForSemanticSegmentation", "upernet"):
        return None
    if channels is None or cells != list(CELLS) or not isinstance(about, dict) or not _gives_all_maps(about):
        return None
    read = {"resnet": _resnet_of, "swin": _swin_of}.get(str(about.get("model_type")))
    backbone = read(about) if read else None
    return None if backbone is None else _of_plan(Plan(backbone, channels))


def _gives_all_maps(about: Mapping[str, Any]) -> bool:
    """Whether the backbone's config asks for the maps of its four stages, by names or by numbers."""
    names, numbers = about.get("out_features"), about.get("out_indices")
    wanted = [f"stage{number}" for number in range(1, 5)], list(range(1, 5))
    return (names, numbers) != (None, None) and names in (None, wanted[0]) and numbers in (None, wanted[1])


def _as_usual(config: Mapping[str, Any], usual: Mapping[str, Any]) -> bool:
    return all(config.get(name, value) == value for name, value in usual.items())


def _resnet_of(config: Mapping[str, Any]) -> resnet.Plan | None:
    usual = {"num_channels": 3, "hidden_act": "relu"}
    usual |= dict.fromkeys(("downsample_in_first_stage", "downsample_in_bottleneck"), False)
    bottleneck = config.get("layer_type", "bottleneck") == "bottleneck"
    depths, stem = wholes(config, "depths", resnet.PLANS[50].depths, 50), whole(config, "embedding_size", 64)
    widths = wholes(config, "hidden_sizes", (256, 512, 1024, 2048))
    if not (_as_usual(config, usual) and depths and stem and widths):
        return None
    if config.get("layer_type", "bottleneck") not in ("bottleneck", "basic"):
        return None
    expansion = resnet.Bottleneck.expansion if bottleneck else 1
    if any(width % expansion for width in widths):
        return None
    return resnet.Plan(depths, bottleneck, stem=stem, widths=tuple(width // expansion for width in widths))


def _swin_of(config: Mapping[str, Any]) -> swin.Plan | None:
    usual = {"num_channels": 3, "hidden_act": "gelu", "patch_size": swin.PATCH, "mlp_ratio": swin.EXPANSION}
    usual |= {"qkv_bias": True, "use_absolute_embeddings": False, "layer_norm_eps": 1e-5}
    tiny = swin.PLANS["t"]
    depths, heads = wholes(config, "depths", tiny.depths, 50), wholes(config, "num_heads", tiny.heads)
    width = whole(config, "embed_dim", tiny.width, 2048)
    window = whole(config, "window_size", tiny.window, swin.LARGEST_WINDOW)
    if not (_as_usual(config, usual) and depths and heads and width and window):
        return None
    plan = swin.Plan(width, depths, heads, window)
    return plan if all(width % count == 0 for width, count in zip(plan.widths, heads, strict=True)) else None


@cache
def _of_plan(plan: Plan) -> UperNetArchitecture:
    known = (item for _, item in ARCHITECTURES.items() if isinstance(item, UperNetArchitecture))
    kind = "Swin" if isinstance(plan.backbone, swin.Plan) else "ResNet"
    return next((item for item in known if item.plan == plan), None) or UperNetArchitecture(plan, kind)


def _of_resnet(depth: int, deep: bool = False) -> UperNetArchitecture:
    return UperNetArchitecture(
        Plan(replace(resnet.PLANS[depth], deep=deep)), f"ResNet-{depth}{' with a deep stem' if deep else ''}"
    )


def _of_swin(size: str, window: int = 7) -> UperNetArchitecture:
    return UperNetArchitecture(
        Plan(replace(swin.PLANS[size], window=window)), f"Swin-{size.upper()}, windows of {window}"
    )


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
