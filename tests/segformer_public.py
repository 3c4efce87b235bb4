"""SegFormer as the authors' code and mmsegmentation have it: tensors under their names, and forward passes, written a
second time.

Sources of the names: NVlabs/SegFormer (mix_transformer.py, segformer_head.py), mmsegmentation (backbones/mit.py,
decode_heads/segformer_head.py).
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

Tensors = dict[str, Tensor]
Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Channels, blocks, heads and reductions of the four resolutions."""

PATCHES, STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)


class Drawn:
    """Random tensors by name, whose sizes keep activations from vanishing and from growing."""

    def __init__(self, seed: int) -> None:
        self.found: Tensors = {}
        self.generator = torch.Generator().manual_seed(seed)

    def weight(self, name: str, *shape: int, bias: bool = True) -> None:
        self.found[f"{name}.weight"] = torch.randn(shape, generator=self.generator) / prod(shape[1:]) ** 0.5
        if bias:
            self.found[f"{name}.bias"] = torch.randn(shape[0], generator=self.generator) * 0.1

    def norm(self, name: str, width: int, running: bool = False) -> None:
        self.found[f"{name}.weight"] = torch.rand(width, generator=self.generator) + 0.5
        self.found[f"{name}.bias"] = torch.randn(width, generator=self.generator) * 0.1
        if running:
            self.found[f"{name}.running_mean"] = torch.randn(width, generator=self.generator) * 0.1
            self.found[f"{name}.running_var"] = torch.rand(width, generator=self.generator) + 0.5
            self.found[f"{name}.num_batches_tracked"] = torch.tensor(7)


def nvlabs(sizes: Sizes, decoder: int, classes: int, seed: int = 0) -> Tensors:
    drawn, inputs = Drawn(seed), 3
    for number, (width, depth, _, reduction) in enumerate(zip(*sizes, strict=True), 1):
        drawn.weight(f"backbone.patch_embed{number}.proj", width, inputs, PATCHES[number - 1], PATCHES[number - 1])
        drawn.norm(f"backbone.patch_embed{number}.norm", width)
        for index in range(depth):
            block = f"backbone.block{number}.{index}"
            drawn.norm(f"{block}.norm1", width)
            drawn.weight(f"{block}.attn.q", width, width)
            drawn.weight(f"{block}.attn.kv", 2 * width, width)
            drawn.weight(f"{block}.attn.proj", width, width)
            if reduction > 1:
                drawn.weight(f"{block}.attn.sr", width, width, reduction, reduction)
                drawn.norm(f"{block}.attn.norm", width)
            drawn.norm(f"{block}.norm2", width)
            drawn.weight(f"{block}.mlp.fc1", 4 * width, width)
            drawn.weight(f"{block}.mlp.dwconv.dwconv", 4 * width, 1, 3, 3)
            drawn.weight(f"{block}.mlp.fc2", width, 4 * width)
        drawn.norm(f"backbone.norm{number}", width)
        inputs = width
    drawn.weight("decode_head.conv_seg", classes, 128, 1, 1)
    for number, width in enumerate(sizes[0], 1):
        drawn.weight(f"decode_head.linear_c{number}.proj", decoder, width)
    drawn.weight("decode_head.linear_fuse.conv", decoder, 4 * decoder, 1, 1, bias=False)
    drawn.norm("decode_head.linear_fuse.bn", decoder, running=True)
    drawn.weight("decode_head.linear_pred", classes, decoder, 1, 1)
    return drawn.found


def mmseg(sizes: Sizes, decoder: int, classes: int, seed: int = 0) -> Tensors:
    drawn, inputs = Drawn(seed), 3
    for number, (width, depth, _, reduction) in enumerate(zip(*sizes, strict=True)):
        layer = f"backbone.layers.{number}"
        drawn.weight(f"{layer}.0.projection", width, inputs, PATCHES[number], PATCHES[number])
        drawn.norm(f"{layer}.0.norm", width)
        for index in range(depth):
            block = f"{layer}.1.{index}"
            drawn.norm(f"{block}.norm1", width)
            drawn.weight(f"{block}.attn.attn.in_proj", 3 * width, width)
            drawn.found[f"{block}.attn.attn.in_proj_weight"] = drawn.found.pop(f"{block}.attn.attn.in_proj.weight")
            drawn.found[f"{block}.attn.attn.in_proj_bias"] = drawn.found.pop(f"{block}.attn.attn.in_proj.bias")
            drawn.weight(f"{block}.attn.attn.out_proj", width, width)
            if reduction > 1:
                drawn.weight(f"{block}.attn.sr", width, width, reduction, reduction)
                drawn.norm(f"{block}.attn.norm", width)
            drawn.norm(f"{block}.norm2", width)
            drawn.weight(f"{block}.ffn.layers.0", 4 * width, width, 1, 1)
            drawn.weight(f"{block}.ffn.layers.1", 4 * width, 1, 3, 3)
            drawn.weight(f"{block}.ffn.layers.4", width, 4 * width, 1, 1)
        drawn.norm(f"{layer}.2", width)
        inputs = width
    drawn.weight("decode_head.conv_seg", classes, decoder, 1, 1)
    for number, width in enumerate(sizes[0]):
        drawn.weight(f"decode_head.convs.{number}.conv", decoder, width, 1, 1, bias=False)
        drawn.norm(f"decode_head.convs.{number}.bn", decoder, running=True)
    drawn.weight("decode_head.fusion_conv.conv", decoder, 4 * decoder, 1, 1, bias=False)
    drawn.norm("decode_head.fusion_conv.bn", decoder, running=True)
    return drawn.found


def layer_norm(tensors: Tensors, name: str, x: Tensor, epsilon: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], epsilon)


def linear(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, tensors[f"{name}.weight"].flatten(1), tensors[f"{name}.bias"])


def convolved(tensors: Tensors, name: str, x: Tensor, **options: int) -> Tensor:
    return functional.conv2d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), **options)


def normed(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    leaves = (tensors[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, *leaves)


def as_map(x: Tensor, like: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(len(x), -1, *like.shape[2:])


def finest(maps: list[Tensor]) -> list[Tensor]:
    return [functional.interpolate(one, size=maps[0].shape[2:], mode="bilinear", align_corners=False) for one in maps]


def nvlabs_forward(tensors: Tensors, sizes: Sizes, x: Tensor, epsilon: float) -> Tensor:
    maps = []
    for number, (width, depth, heads, reduction) in enumerate(zip(*sizes, strict=True), 1):
        start = f"backbone.patch_embed{number}"
        patch, stride = PATCHES[number - 1], STRIDES[number - 1]
        grid = convolved(tensors, f"{start}.proj", x, stride=stride, padding=patch // 2)
        x = layer_norm(tensors, f"{start}.norm", grid.flatten(2).transpose(1, 2), epsilon)
        for index in range(depth):
            block = f"backbone.block{number}.{index}"
            y = layer_norm(tensors, f"{block}.norm1", x, epsilon)
            few = y
            if reduction > 1:
                few = convolved(tensors, f"{block}.attn.sr", as_map(y, grid), stride=reduction)
                few = layer_norm(tensors, f"{block}.attn.norm", few.flatten(2).transpose(1, 2), epsilon)
            queries = linear(tensors, f"{block}.attn.q", y).reshape(len(x), -1, heads, width // heads)
            both = linear(tensors, f"{block}.attn.kv", few).reshape(len(x), -1, 2, heads, width // heads)
            scores = torch.einsum("nqhc,nkhc->nhqk", queries, both[:, :, 0]) * (width // heads) ** -0.5
            mixed = torch.einsum("nhqk,nkhc->nqhc", scores.softmax(-1), both[:, :, 1]).flatten(2)
            x = x + linear(tensors, f"{block}.attn.proj", mixed)
            y = linear(tensors, f"{block}.mlp.fc1", layer_norm(tensors, f"{block}.norm2", x, epsilon))
            y = convolved(tensors, f"{block}.mlp.dwconv.dwconv", as_map(y, grid), padding=1, groups=4 * width)
            x = x + linear(tensors, f"{block}.mlp.fc2", functional.gelu(y).flatten(2).transpose(1, 2))
        x = as_map(layer_norm(tensors, f"backbone.norm{number}", x, epsilon), grid)
        maps.append(x)
    parts = [
        as_map(linear(tensors, f"decode_head.linear_c{number}.proj", one.flatten(2).transpose(1, 2)), one)
        for number, one in enumerate(maps, 1)
    ]
    fused = convolved(tensors, "decode_head.linear_fuse.conv", torch.cat(finest(parts)[::-1], 1))
    return convolved(tensors, "decode_head.linear_pred", normed(tensors, "decode_head.linear_fuse.bn", fused).relu())


def mmseg_forward(tensors: Tensors, sizes: Sizes, x: Tensor) -> Tensor:
    maps = []
    for number, (width, depth, heads, reduction) in enumerate(zip(*sizes, strict=True)):
        layer = f"backbone.layers.{number}"
        x = convolved(tensors, f"{layer}.0.projection", x, stride=STRIDES[number], padding=PATCHES[number] // 2)
        tokens = layer_norm(tensors, f"{layer}.0.norm", x.flatten(2).transpose(1, 2), 1e-6)
        for index in range(depth):
            block = f"{layer}.1.{index}"
            y = layer_norm(tensors, f"{block}.norm1", tokens, 1e-6)
            few = y
            if reduction > 1:
                few = convolved(tensors, f"{block}.attn.sr", as_map(y, x), stride=reduction)
                few = layer_norm(tensors, f"{block}.attn.norm", few.flatten(2).transpose(1, 2), 1e-6)
            attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
            start = f"{block}.attn.attn."
            attention.load_state_dict(
                {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            )
            tokens = tokens + attention.eval()(y, few, few, need_weights=False)[0]
            y = as_map(layer_norm(tensors, f"{block}.norm2", tokens, 1e-6), x)
            y = convolved(tensors, f"{block}.ffn.layers.0", y)
            y = functional.gelu(convolved(tensors, f"{block}.ffn.layers.1", y, padding=1, groups=4 * width))
            tokens = tokens + convolved(tensors, f"{block}.ffn.layers.4", y).flatten(2).transpose(1, 2)
        x = as_map(layer_norm(tensors, f"{layer}.2", tokens, 1e-6), x)
        maps.append(x)
    parts = [
        normed(
            tensors, f"decode_head.convs.{number}.bn", convolved(tensors, f"decode_head.convs.{number}.conv", one)
        ).relu()
        for number, one in enumerate(maps)
    ]
    fused = convolved(tensors, "decode_head.fusion_conv.conv", torch.cat(finest(parts), 1))
    return convolved(tensors, "decode_head.conv_seg", normed(tensors, "decode_head.fusion_conv.bn", fused).relu())
