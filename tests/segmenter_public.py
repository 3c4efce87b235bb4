"""Segmenter as rstrudel/segmenter and mmsegmentation have it: tensors under their names, and forward passes, written a
second time.

Sources of the names: rstrudel/segmenter (segm/model: vit.py, decoder.py, blocks.py), mmsegmentation (backbones/vit.py,
decode_heads/segmenter_mask_head.py, decode_heads/fcn_head.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segformer_public import Drawn, Tensors, layer_norm, linear
from torch import Tensor
from torch.nn import functional

HEAD = 64
SAMPLED = (
    "encoder.cls_token",
    "encoder.pos_embed",
    "encoder.patch_embed.proj.weight",
    "encoder.blocks.0.attn.qkv.bias",
    "encoder.blocks.11.mlp.fc2.weight",
    "encoder.head.weight",
    "decoder.cls_emb",
    "decoder.proj_patch",
    "decoder.blocks.1.attn.proj.weight",
    "decoder.mask_norm.bias",
)
"""Ten lines of a public file with a mask decoder."""


@dataclass(frozen=True)
class Sizes:
    width: int
    depth: int
    patch: int
    grid: int
    extra: int = 1
    layers: int | None = None
    labels: int = 1000


class Drawing(Drawn):
    """Random tensors, those without a layer of their own too."""

    def plain(self, name: str, *shape: int) -> None:
        self.found[name] = torch.randn(shape, generator=self.generator) / (shape[0] ** 0.5 if len(shape) == 2 else 1)


class Outline(Drawing):
    """Tensors without numbers."""

    def __init__(self) -> None:
        super().__init__(0)

    def plain(self, name: str, *shape: int) -> None:
        self.found[name] = torch.empty(shape, device="meta")

    def weight(self, name: str, *shape: int, bias: bool = True) -> None:
        self.plain(f"{name}.weight", *shape)
        if bias:
            self.plain(f"{name}.bias", shape[0])

    def norm(self, name: str, width: int, running: bool = False) -> None:
        self.weight(name, width)


def drawing(seed: int | None) -> Drawing:
    """Without numbers for no seed."""
    return Outline() if seed is None else Drawing(seed)


def own_block(drawn: Drawing, name: str, width: int) -> None:
    drawn.norm(f"{name}.norm1", width)
    drawn.norm(f"{name}.norm2", width)
    drawn.weight(f"{name}.attn.qkv", 3 * width, width)
    drawn.weight(f"{name}.attn.proj", width, width)
    drawn.weight(f"{name}.mlp.fc1", 4 * width, width)
    drawn.weight(f"{name}.mlp.fc2", width, 4 * width)


def mmseg_block(drawn: Drawing, name: str, width: int) -> None:
    drawn.norm(f"{name}.ln1", width)
    drawn.weight(f"{name}.attn.attn.in_proj", 3 * width, width)
    for leaf in ("weight", "bias"):
        drawn.found[f"{name}.attn.attn.in_proj_{leaf}"] = drawn.found.pop(f"{name}.attn.attn.in_proj.{leaf}")
    drawn.weight(f"{name}.attn.attn.out_proj", width, width)
    drawn.norm(f"{name}.ln2", width)
    drawn.weight(f"{name}.ffn.layers.0.0", 4 * width, width)
    drawn.weight(f"{name}.ffn.layers.1", width, 4 * width)


def tokens(drawn: Drawing, prefix: str, sizes: Sizes) -> None:
    names = {"cls_token": 1, "pos_embed": sizes.extra + sizes.grid**2}
    for name, count in {**names, **({"dist_token": 1} if sizes.extra == 2 else {})}.items():
        drawn.plain(f"{prefix}{name}", 1, count, sizes.width)


def rstrudel(sizes: Sizes, classes: int, seed: int | None = 0) -> Tensors:
    drawn, width = drawing(seed), sizes.width
    tokens(drawn, "encoder.", sizes)
    drawn.weight("encoder.patch_embed.proj", width, 3, sizes.patch, sizes.patch)
    for number in range(sizes.depth):
        own_block(drawn, f"encoder.blocks.{number}", width)
    drawn.norm("encoder.norm", width)
    drawn.weight("encoder.head", sizes.labels, width)
    if sizes.extra == 2:
        drawn.weight("encoder.head_dist", sizes.labels, width)
    if sizes.layers is None:
        drawn.weight("decoder.head", classes, width)
        return drawn.found
    drawn.plain("decoder.cls_emb", 1, classes, width)
    for name in ("proj_patch", "proj_classes"):
        drawn.plain(f"decoder.{name}", width, width)
    for number in range(sizes.layers):
        own_block(drawn, f"decoder.blocks.{number}", width)
    drawn.weight("decoder.proj_dec", width, width)
    drawn.norm("decoder.decoder_norm", width)
    drawn.norm("decoder.mask_norm", classes)
    return drawn.found


def mmseg(sizes: Sizes, classes: int, seed: int | None = 0, early: bool = False) -> Tensors:
    """`early`: as it was before the mask transformer lost the classifier that nothing reads."""
    drawn, width = drawing(seed), sizes.width
    tokens(drawn, "backbone.", sizes)
    drawn.weight("backbone.patch_embed.projection", width, 3, sizes.patch, sizes.patch)
    for number in range(sizes.depth):
        mmseg_block(drawn, f"backbone.layers.{number}", width)
    drawn.norm("backbone.ln1", width)
    if sizes.layers is None or early:
        drawn.weight("decode_head.conv_seg", classes, width, 1, 1)
    if sizes.layers is None:
        return drawn.found
    drawn.plain("decode_head.cls_emb", 1, classes, width)
    for number in range(sizes.layers):
        mmseg_block(drawn, f"decode_head.layers.{number}", width)
    drawn.weight("decode_head.dec_proj", width, width)
    drawn.weight("decode_head.patch_proj", width, width, bias=False)
    drawn.weight("decode_head.classes_proj", width, width, bias=False)
    drawn.norm("decode_head.decoder_norm", width)
    drawn.norm("decode_head.mask_norm", classes)
    return drawn.found


def resized(positions: Tensor, extra: int, grid: int, height: int, width: int, mode: str) -> Tensor:
    if (height, width) == (grid, grid):
        return positions
    table = positions[:, extra:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    table = functional.interpolate(table, size=(height, width), mode=mode, align_corners=False)
    return torch.cat((positions[:, :extra], table.permute(0, 2, 3, 1).reshape(1, height * width, -1)), 1)


def rstrudel_block(t: Tensors, name: str, x: Tensor, epsilon: float) -> Tensor:
    heads = x.shape[2] // HEAD
    y = linear(t, f"{name}.attn.qkv", layer_norm(t, f"{name}.norm1", x, epsilon))
    query, key, value = y.reshape(len(x), -1, 3, heads, HEAD).unbind(2)
    scores = torch.einsum("nqhc,nkhc->nhqk", query, key) * HEAD**-0.5
    mixed = torch.einsum("nhqk,nkhc->nqhc", scores.softmax(-1), value).flatten(2)
    x = x + linear(t, f"{name}.attn.proj", mixed)
    y = functional.gelu(linear(t, f"{name}.mlp.fc1", layer_norm(t, f"{name}.norm2", x, epsilon)))
    return x + linear(t, f"{name}.mlp.fc2", y)


def attended_block(t: Tensors, name: str, x: Tensor, epsilon: float) -> Tensor:
    width = x.shape[2]
    attention = torch.nn.MultiheadAttention(width, width // HEAD, batch_first=True).eval()
    start = f"{name}.attn.attn."
    attention.load_state_dict({key.removeprefix(start): one for key, one in t.items() if key.startswith(start)})
    y = layer_norm(t, f"{name}.ln1", x, epsilon)
    x = x + attention(y, y, y, need_weights=False)[0]
    y = functional.gelu(linear(t, f"{name}.ffn.layers.0.0", layer_norm(t, f"{name}.ln2", x, epsilon)))
    return x + linear(t, f"{name}.ffn.layers.1", y)


def padded(x: Tensor, patch: int) -> Tensor:
    below, beside = (-side % patch for side in x.shape[2:])
    return functional.pad(x, (0, beside, 0, below))


def masks(x: Tensor, count: int, patches: Tensor, classes: Tensor) -> Tensor:
    """Products of unit vectors; the projections are rows of inputs, columns of outputs."""
    one, other = x[:, :-count] @ patches, x[:, -count:] @ classes
    one, other = one / one.norm(dim=-1, keepdim=True), other / other.norm(dim=-1, keepdim=True)
    return torch.einsum("npc,nkc->npk", one, other)


def rstrudel_forward(t: Tensors, sizes: Sizes, x: Tensor) -> Tensor:
    grid = functional.conv2d(
        padded(x, sizes.patch), t["encoder.patch_embed.proj.weight"], t["encoder.patch_embed.proj.bias"], sizes.patch
    )
    height, width = grid.shape[2:]
    first = [t["encoder.cls_token"], *([t["encoder.dist_token"]] if sizes.extra == 2 else [])]
    x = torch.cat([*(one.expand(len(x), -1, -1) for one in first), grid.flatten(2).transpose(1, 2)], 1)
    x = x + resized(t["encoder.pos_embed"], sizes.extra, sizes.grid, height, width, "bilinear")
    for number in range(sizes.depth):
        x = rstrudel_block(t, f"encoder.blocks.{number}", x, 1e-5)
    x = layer_norm(t, "encoder.norm", x, 1e-5)[:, sizes.extra :]
    if sizes.layers is None:
        found = linear(t, "decoder.head", x)
    else:
        embedded = t["decoder.cls_emb"].expand(len(x), -1, -1)
        x = torch.cat((linear(t, "decoder.proj_dec", x), embedded), 1)
        for number in range(sizes.layers):
            x = rstrudel_block(t, f"decoder.blocks.{number}", x, 1e-5)
        x = layer_norm(t, "decoder.decoder_norm", x, 1e-5)
        found = masks(x, embedded.shape[1], t["decoder.proj_patch"], t["decoder.proj_classes"])
        found = layer_norm(t, "decoder.mask_norm", found, 1e-5)
    return found.transpose(1, 2).reshape(len(x), -1, height, width)


def mmseg_forward(t: Tensors, sizes: Sizes, x: Tensor) -> Tensor:
    start = "backbone.patch_embed.projection"
    grid = functional.conv2d(padded(x, sizes.patch), t[f"{start}.weight"], t[f"{start}.bias"], sizes.patch)
    height, width = grid.shape[2:]
    x = torch.cat((t["backbone.cls_token"].expand(len(x), -1, -1), grid.flatten(2).transpose(1, 2)), 1)
    x = x + resized(t["backbone.pos_embed"], 1, sizes.grid, height, width, "bicubic")
    for number in range(sizes.depth):
        x = attended_block(t, f"backbone.layers.{number}", x, 1e-6)
    x = layer_norm(t, "backbone.ln1", x, 1e-6)[:, 1:]
    if sizes.layers is None:
        found = x.transpose(1, 2).reshape(len(x), -1, height, width)
        return functional.conv2d(found, t["decode_head.conv_seg.weight"], t["decode_head.conv_seg.bias"])
    embedded = t["decode_head.cls_emb"].expand(len(x), -1, -1)
    x = torch.cat((linear(t, "decode_head.dec_proj", x), embedded), 1)
    for number in range(sizes.layers):
        x = attended_block(t, f"decode_head.layers.{number}", x, 1e-5)
    x = layer_norm(t, "decode_head.decoder_norm", x, 1e-5)
    patches, classes = (t[f"decode_head.{name}_proj.weight"].T for name in ("patch", "classes"))
    found = layer_norm(t, "decode_head.mask_norm", masks(x, embedded.shape[1], patches, classes), 1e-5)
    return found.transpose(1, 2).reshape(len(x), -1, height, width)
