"""Sizes of a UperNet: as published, as read off the shapes of its tensors or a config, and how they are called."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusionlib.architectures import backbones, resnet, swin
from fusionlib.architectures.backbones import differences
from fusionlib.architectures.described import whole, wholes
from fusionlib.architectures.vit import block_count, within

Shapes = Mapping[str, tuple[int, ...]]

CELLS = (1, 2, 3, 6)
"""A side of the grids that the coarsest map is pooled to."""

_MARKS = ("decode_head.fpn_bottleneck.conv.weight", "decode_head.lateral_convs.0.conv.weight")
_STAGES = range(4)


@dataclass(frozen=True)
class Plan:
    """The sizes of a backbone, and the channels of the decoder."""

    backbone: resnet.Plan | swin.Plan
    channels: int = 512

    def with_depths(self, most: int) -> Plan:
        """The same with at most so many blocks at each resolution."""
        depths = tuple(min(depth, most) for depth in self.backbone.depths)
        return replace(self, backbone=replace(self.backbone, depths=depths))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the backbone's four maps."""
        return backbones.widths(self.backbone)

    @property
    def title(self) -> str:
        """In words."""
        return f"UperNet, {backbones.title(self.backbone)}"

    @property
    def name(self) -> str:
        """That of the listed network of its size, and what is different."""
        name, usual = backbones.nearest(self.backbone)
        listed = Plan(usual, 64 if usual == backbones.TINY else 512)
        other = [*differences(self.backbone, usual), *differences(replace(self, backbone=usual), listed)]
        return f"upernet-{name}:{','.join(other)}" if other else f"upernet-{name}"


# --- shapes -----------------------------------------------------------------------------------------------------------


def plan_of(shapes: Shapes) -> Plan | None:
    """What tensors of these shapes are meant to be; None for other networks, or where a size cannot be told.

    Raises `ArchitectureError` for sizes that no network has.
    """
    fused = [shapes[name][0] for name in _MARKS if shapes.get(name)]
    backbone = backbone_of(shapes) if fused else None
    if backbone is None:
        return None
    within(_MARKS[0], fused[0])
    return Plan(backbone, fused[0])


def backbone_of(shapes: Shapes) -> resnet.Plan | swin.Plan | None:
    """The Swin or the ResNet among them. Raises as `plan_of`."""
    if "backbone.patch_embed.proj.weight" in shapes:
        return _swin_of_shapes(shapes)
    if "backbone.conv1.weight" in shapes or "backbone.stem.0.weight" in shapes:
        return _resnet_of_shapes(shapes)
    return None


def _swin_of_shapes(shapes: Shapes) -> swin.Plan | None:
    """Heads and windows are those of most tables: a single one may be broken."""
    starts = [f"backbone.layers.{number}.blocks." for number in _STAGES]
    tables = [
        Counter(shape for name, shape in shapes.items() if name.startswith(start) and name.endswith(f".{swin.TABLE}"))
        for start in starts
    ]
    width = (*shapes["backbone.patch_embed.proj.weight"], 0)[0]
    if not all(tables) or any(len(shape) != 2 for found in tables for shape in found):
        return None
    usual = [found.most_common(1)[0][0] for found in tables]
    rows = Counter(shape[0] for shape in usual).most_common(1)[0][0]
    window, heads = (math.isqrt(rows) + 1) // 2, tuple(shape[1] for shape in usual)
    within("backbone.patch_embed.proj.weight", width)
    if not 1 <= window <= swin.LARGEST_WINDOW or (2 * window - 1) ** 2 != rows:
        return None
    return _checked(swin.Plan(width, tuple(block_count(shapes, start) for start in starts), heads, window))


def _checked(plan: swin.Plan) -> swin.Plan | None:
    fits = all(count > 0 and width % count == 0 for width, count in zip(plan.widths, plan.heads, strict=True))
    return plan if fits else None


def _resnet_of_shapes(shapes: Shapes) -> resnet.Plan | None:
    deep = "backbone.stem.0.weight" in shapes
    last = "backbone.stem.6.weight" if deep else "backbone.conv1.weight"
    reductions = [f"backbone.layer{number + 1}.0.conv1.weight" for number in _STAGES]
    if any(not shapes.get(name) for name in (last, *reductions)):
        return None
    stem, *widths = (shapes[name][0] for name in (last, *reductions))
    within(last, stem, *widths)
    depths = tuple(block_count(shapes, f"backbone.layer{number + 1}.") for number in _STAGES)
    bottleneck = "backbone.layer1.0.conv3.weight" in shapes
    return resnet.Plan(depths, bottleneck, deep, stem, tuple(widths))


# --- configs ----------------------------------------------------------------------------------------------------------


def plan_of_config(config: Mapping[str, Any]) -> Plan | None:
    """As Hugging Face describes it; None for other backbones, and other steps than those of the paper."""
    about, cells = config.get("backbone_config"), config.get("pool_scales", list(CELLS))
    channels = whole(config, "hidden_size", 512)
    if channels is None or cells != list(CELLS) or not isinstance(about, dict) or not _gives_all_maps(about):
        return None
    read = {"resnet": _resnet_of_config, "swin": _swin_of_config}.get(str(about.get("model_type")))
    backbone = read(about) if read else None
    return None if backbone is None else Plan(backbone, channels)


def _gives_all_maps(about: Mapping[str, Any]) -> bool:
    """Whether the backbone's config asks for the maps of its four stages, by names or by numbers."""
    names, numbers = about.get("out_features"), about.get("out_indices")
    wanted = [f"stage{number}" for number in range(1, 5)], list(range(1, 5))
    return (names, numbers) != (None, None) and names in (None, wanted[0]) and numbers in (None, wanted[1])


def _resnet_of_config(config: Mapping[str, Any]) -> resnet.Plan | None:
    usual = {"num_channels": 3, "hidden_act": "relu"}
    usual |= dict.fromkeys(("downsample_in_first_stage", "downsample_in_bottleneck"), False)
    kind = config.get("layer_type", "bottleneck")
    depths, stem = wholes(config, "depths", resnet.PLANS[50].depths, 200), whole(config, "embedding_size", 64)
    widths = wholes(config, "hidden_sizes", (256, 512, 1024, 2048))
    if not (_as_usual(config, usual) and depths and stem and widths) or kind not in ("bottleneck", "basic"):
        return None
    plan = resnet.Plan(depths, kind == "bottleneck", stem=stem)
    if any(width % plan.expansion for width in widths):
        return None
    return replace(plan, widths=tuple(width // plan.expansion for width in widths))


def _swin_of_config(config: Mapping[str, Any]) -> swin.Plan | None:
    usual = {"num_channels": 3, "hidden_act": "gelu", "patch_size": swin.PATCH, "mlp_ratio": swin.EXPANSION}
    usual |= {"qkv_bias": True, "use_absolute_embeddings": False, "layer_norm_eps": 1e-5}
    tiny = swin.PLANS["t"]
    depths, heads = wholes(config, "depths", tiny.depths, 200), wholes(config, "num_heads", tiny.heads)
    width = whole(config, "embed_dim", tiny.width, 2048)
    window = whole(config, "window_size", tiny.window, swin.LARGEST_WINDOW)
    if not (_as_usual(config, usual) and depths and heads and width and window):
        return None
    return _checked(swin.Plan(width, depths, heads, window))


def _as_usual(config: Mapping[str, Any], usual: Mapping[str, Any]) -> bool:
    return all(config.get(name, value) == value for name, value in usual.items())
