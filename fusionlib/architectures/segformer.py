"""SegFormer: an encoder of transformer blocks at four resolutions, and a decoder of linear layers.

Source: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", 2021, section 3, Table 6 (B0 to B5). Tensors are named as Hugging Face stores them
(`segformer.encoder.*`, `decode_head.*`); other names are in `fusionlib.architectures.segformer_names`.

mmsegmentation has the same encoder with another decoder (a batch norm behind each of the four projections) and another
epsilon: networks of their own here. Files of the authors' code run with the epsilon of Hugging Face, 1e-5, as their
conversions do; the code has 1e-6 in the norms of the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.built_in import BuiltIn, Shapes, in_turn, repeated, with_classes
from fusionlib.architectures.described import family, whole, wholes
from fusionlib.contracts import ARCHITECTURES, Description, Stage

_PATCHES, _STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)

State = tuple[tuple[Tensor, ...], Tensor, int, int]
"""Activations (N, C, h, w) of the resolutions that are done, tokens (N, h w, C) of the newest, its h and w."""


@dataclass(frozen=True)
class Plan:
    """The sizes of Table 6: `widths` C_i, `depths` L_i, `heads` N_i, `reductions` R_i, `expansions` E_i of the four
    resolutions, and the channels of the decoder.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    decoder: int
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    expansions: tuple[int, ...] = (4, 4, 4, 4)


_WIDE = (64, 128, 320, 512)
PLANS = {
    "b0": Plan((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": Plan(_WIDE, (2, 2, 2, 2), 256),
    "b2": Plan(_WIDE, (3, 4, 6, 3), 768),
    "b3": Plan(_WIDE, (3, 4, 18, 3), 768),
    "b4": Plan(_WIDE, (3, 8, 27, 3), 768),
    "b5": Plan(_WIDE, (3, 6, 40, 3), 768),
}
MMSEG_CHANNELS = 256
"""Of mmsegmentation's decoder, whatever the encoder is."""

_NAMES = "Hugging Face (segformer.encoder, segformer.stages) or NVlabs/SegFormer (backbone.patch_embed1)"
_MMSEG_NAMES = "mmsegmentation (backbone.layers, decode_head.convs, decode_head.fusion_conv)"
_BLOCKS = "segformer.encoder.block."


class PatchEmbedding(nn.Module):
    """Overlapping patches (section 3.1): a strided convolution and a norm over its channels."""

    def __init__(self, inputs: int, width: int, patch: int, stride: int, epsilon: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, patch, stride, patch // 2)
        self.layer_norm = nn.LayerNorm(width, epsilon)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        return self.layer_norm(x.flatten(2).transpose(1, 2)), x.shape[2], x.shape[3]


class EfficientAttention(nn.Module):
    """Queries of all tokens, keys and values of every R x R of them (Equations 1 and 2)."""

    def __init__(self, width: int, heads: int, reduction: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.layer_norm = nn.LayerNorm(width, epsilon)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        few = x
        if hasattr(self, "sr"):
            few = self.sr(_as_map(x, height, width)).flatten(2).transpose(1, 2)
            few = self.layer_norm(few)
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(few), self.value(few))
        )
        found = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return found.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Efficient attention and its output projection."""

    def __init__(self, width: int, heads: int, reduction: int, epsilon: float) -> None:
        super().__init__()
        self.add_module("self", EfficientAttention(width, heads, reduction, epsilon))
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width)})

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        return self.output["dense"](self.get_submodule("self")(x, height, width))


class MixFFN(nn.Module):
    """`MLP(GELU(Conv3x3(MLP(x))))` (Equation 3), the convolution one for each channel."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(width, hidden)
        self.dwconv = nn.ModuleDict({"dwconv": nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)})
        self.dense2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = self.dwconv["dwconv"](_as_map(self.dense1(x), height, width)).flatten(2).transpose(1, 2)
        return self.dense2(nn.functional.gelu(x))


class Block(nn.Module):
    """Attention and Mix-FFN, each behind a norm and added to its input."""

    def __init__(self, width: int, heads: int, reduction: int, expansion: int, epsilon: float) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, heads, reduction, epsilon)
        self.layer_norm_2 = nn.LayerNorm(width, epsilon)
        self.mlp = MixFFN(width, width * expansion)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.attention(self.layer_norm_1(x), height, width)
        return x + self.mlp(self.layer_norm_2(x), height, width)


class Encoder(nn.Module):
    """The Mix Transformer: patches, blocks and a last norm at each of four resolutions."""

    def __init__(self, plan: Plan, epsilon: float) -> None:
        super().__init__()
        sizes = zip((3, *plan.widths[:-1]), plan.widths, _PATCHES, _STRIDES, strict=True)
        self.patch_embeddings = nn.ModuleList(PatchEmbedding(*one, epsilon) for one in sizes)
        sizes = zip(plan.widths, plan.heads, plan.reductions, plan.expansions, strict=True)
        self.block = nn.ModuleList(
            nn.ModuleList(Block(*one, epsilon) for _ in range(depth))
            for depth, one in zip(plan.depths, sizes, strict=True)
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(width, epsilon) for width in plan.widths)

    def embed(self, number: int, state: Tensor | State) -> State:
        """The picture, or the resolution before, as tokens of resolution `number`."""
        done, x = ((), state) if isinstance(state, Tensor) else (state[0], state[0][number - 1])
        return done, *self.patch_embeddings[number](x)

    def transform(self, number: int, index: int, state: State) -> State:
        """One block."""
        done, x, height, width = state
        return done, self.block[number][index](x, height, width), height, width  # type: ignore[index]

    def finish(self, number: int, state: State) -> State:
        """The last norm; tokens become a map."""
        done, x, height, width = state
        x = self.layer_norm[number](x)
        return (*done, _as_map(x, height, width).contiguous()), x, height, width

    def stages(self, prefix: str) -> list[Stage]:
        """Every block is one."""
        found = []
        for number, blocks in enumerate(self.block):
            found.append(Stage(f"{prefix}patch_embeddings.{number}", partial(self.embed, number)))
            found += [
                Stage(f"{prefix}block.{number}.{index}", partial(self.transform, number, index))
                for index in range(len(blocks))  # type: ignore[arg-type]
            ]
            found.append(Stage(f"{prefix}layer_norm.{number}", partial(self.finish, number)))
        return found


class LinearHead(nn.Module):
    """Each resolution projected, brought to the finest, and fused (Equation 4)."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.linear_c = nn.ModuleList(nn.ModuleDict({"proj": nn.Linear(width, plan.decoder)}) for width in plan.widths)
        self.linear_fuse = nn.Conv2d(plan.decoder * len(plan.widths), plan.decoder, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(plan.decoder)
        self.classifier = nn.Conv2d(plan.decoder, classes, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        found = [
            _as_map(part["proj"](one.flatten(2).transpose(1, 2)), *one.shape[2:])  # type: ignore[index]
            for part, one in zip(self.linear_c, maps, strict=True)
        ]
        x = torch.cat(_at_finest(found)[::-1], 1)
        return self.classifier(nn.functional.relu(self.batch_norm(self.linear_fuse(x))))


class ConvolutionHead(nn.Module):
    """That of mmsegmentation: convolutions with batch norm and ReLU, the finest resolution first."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_unit(width, plan.decoder) for width in plan.widths)
        self.fusion_conv = _unit(plan.decoder * len(plan.widths), plan.decoder)
        self.conv_seg = nn.Conv2d(plan.decoder, classes, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        found = [_through(unit, one) for unit, one in zip(self.convs, maps, strict=True)]
        return self.conv_seg(_through(self.fusion_conv, torch.cat(_at_finest(found), 1)))


class SegFormer(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`, sides rounded up."""

    def __init__(self, plan: Plan, mmseg: bool, classes: int) -> None:
        super().__init__()
        self.segformer = nn.ModuleDict({"encoder": Encoder(plan, 1e-6 if mmseg else 1e-5)})
        self.decode_head = (ConvolutionHead if mmseg else LinearHead)(plan, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Those of the encoder, and the decoder."""
        encoder: Encoder = self.segformer["encoder"]  # type: ignore[assignment]
        return (
            *encoder.stages("segformer.encoder."),
            Stage("decode_head", lambda state: self.decode_head(state[0])),
        )

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def _as_map(x: Tensor, height: int, width: int) -> Tensor:
    return x.transpose(1, 2).unflatten(2, (height, width))


def _at_finest(maps: list[Tensor]) -> list[Tensor]:
    size = maps[0].shape[2:]
    return [nn.functional.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in maps]


def _unit(inputs: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.Conv2d(inputs, outputs, 1, bias=False), "bn": nn.BatchNorm2d(outputs)})


def _through(unit: nn.Module, x: Tensor) -> Tensor:
    return nn.functional.relu(unit["bn"](unit["conv"](x)))  # type: ignore[index]


class SegFormerArchitecture(BuiltIn):
    """The network of a plan. Units of attention may change places inside of a head alone: no permutations are
    declared.
    """

    def __init__(self, plan: Plan, title: str, mmseg: bool = False) -> None:
        last = "conv_seg" if mmseg else "classifier"
        super().__init__(
            title,
            "Xie et al. 2021, SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
            partial(SegFormer, plan, mmseg),
            head=("decode_head",),
            outputs=(f"decode_head.{last}.weight", f"decode_head.{last}.bias"),
            names=_MMSEG_NAMES if mmseg else _NAMES,
            stride=32,
            movable=False,
        )
        self.code = f"{self.code} {plan}"
        self._plan, self._mmseg = plan, mmseg

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors. The blocks of a resolution are alike: only the first of them are made."""
        found: Shapes = self._of_first_blocks
        for number, depth in enumerate(self._plan.depths):
            found = repeated(found, f"{_BLOCKS}{number}.", depth)
        return with_classes(found, self.class_axes, classes)

    @cached_property
    def _of_first_blocks(self) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            first = SegFormer(replace(self._plan, depths=(1,) * len(self._plan.depths)), self._mmseg, 1)
        return {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()}


@family("segformer")
def of_description(description: Description) -> SegFormerArchitecture | None:
    """The network of a folder of Hugging Face; None where its config asks for something else than Table 6 varies."""
    config, usual = description.config, PLANS["b0"]
    fixed = {"hidden_act": "gelu", "num_channels": 3, "num_encoder_blocks": 4, "reshape_last_stage": True}
    fixed |= {"patch_sizes": list(_PATCHES), "strides": list(_STRIDES)}
    if any(config.get(name, value) != value for name, value in fixed.items()):
        return None
    widths, depths = wholes(config, "hidden_sizes", usual.widths), wholes(config, "depths", usual.depths, 200)
    heads, reductions = (
        wholes(config, "num_attention_heads", usual.heads),
        wholes(config, "sr_ratios", usual.reductions),
    )
    expansions, decoder = wholes(config, "mlp_ratios", usual.expansions), whole(config, "decoder_hidden_size", 256)
    if not (widths and depths and heads and reductions and expansions and decoder):
        return None
    if any(width % count for width, count in zip(widths, heads, strict=True)):
        return None
    return _of_plan(Plan(widths, depths, decoder, heads, reductions, expansions))


@cache
def _of_plan(plan: Plan) -> SegFormerArchitecture:
    size = next((size for size, known in PLANS.items() if known == plan), None)
    return ARCHITECTURES.get(f"segformer-{size}") if size else SegFormerArchitecture(plan, "SegFormer")  # type: ignore[return-value]


def _of_mmseg(size: str) -> SegFormerArchitecture:
    plan = replace(PLANS[size], decoder=MMSEG_CHANNELS)
    return SegFormerArchitecture(plan, f"SegFormer-{size.upper()} of mmsegmentation", mmseg=True)


ARCHITECTURES.register("segformer-b0")(SegFormerArchitecture(PLANS["b0"], "SegFormer-B0"))
ARCHITECTURES.register("segformer-b1")(SegFormerArchitecture(PLANS["b1"], "SegFormer-B1"))
ARCHITECTURES.register("segformer-b2")(SegFormerArchitecture(PLANS["b2"], "SegFormer-B2"))
ARCHITECTURES.register("segformer-b3")(SegFormerArchitecture(PLANS["b3"], "SegFormer-B3"))
ARCHITECTURES.register("segformer-b4")(SegFormerArchitecture(PLANS["b4"], "SegFormer-B4"))
ARCHITECTURES.register("segformer-b5")(SegFormerArchitecture(PLANS["b5"], "SegFormer-B5"))
ARCHITECTURES.register("segformer-mmseg-b0")(_of_mmseg("b0"))
ARCHITECTURES.register("segformer-mmseg-b1")(_of_mmseg("b1"))
ARCHITECTURES.register("segformer-mmseg-b2")(_of_mmseg("b2"))
ARCHITECTURES.register("segformer-mmseg-b3")(_of_mmseg("b3"))
ARCHITECTURES.register("segformer-mmseg-b4")(_of_mmseg("b4"))
ARCHITECTURES.register("segformer-mmseg-b5")(_of_mmseg("b5"))
