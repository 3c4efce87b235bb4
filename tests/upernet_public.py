"""UperNet with Swin as public code has it: tensors under their names, and forward passes, written a second time.

Sources of the names: microsoft/Swin-Transformer and its use for segmentation (swin_transformer.py), mmsegmentation
(backbones/swin.py, decode_heads/uper_head.py, fcn_head.py), transformers (swin, resnet, upernet).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segformer_public import Drawn, Tensors, convolved, layer_norm, linear, normed
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Sizes:
    """Channels of the first resolution, blocks and heads of the four, side of a window, channels of the decoder."""

    width: int = 8
    depths: tuple[int, ...] = (2, 2, 3, 1)
    heads: tuple[int, ...] = (1, 2, 2, 4)
    window: int = 3
    decoder: int = 8


SMALL = Sizes()


def index_of(window: int) -> Tensor:
    """By going through all pairs of tokens."""
    found = torch.zeros(window**2, window**2, dtype=torch.int64)
    for one in range(window**2):
        for other in range(window**2):
            down, right = one // window - other // window, one % window - other % window
            found[one, other] = (down + window - 1) * (2 * window - 1) + right + window - 1
    return found


def unit(drawn: Drawn, name: str, inputs: int, outputs: int, size: int) -> None:
    drawn.weight(f"{name}.conv", outputs, inputs, size, size, bias=False)
    drawn.norm(f"{name}.bn", outputs, running=True)


def heads(drawn: Drawn, widths: list[int], channels: int, classes: int) -> None:
    drawn.weight("decode_head.conv_seg", classes, channels, 1, 1)
    for number in range(4):
        unit(drawn, f"decode_head.psp_modules.{number}.1", widths[-1], channels, 1)
    unit(drawn, "decode_head.bottleneck", widths[-1] + 4 * channels, channels, 3)
    for number, width in enumerate(widths[:-1]):
        unit(drawn, f"decode_head.lateral_convs.{number}", width, channels, 1)
    for number in range(3):
        unit(drawn, f"decode_head.fpn_convs.{number}", channels, channels, 3)
    unit(drawn, "decode_head.fpn_bottleneck", 4 * channels, channels, 3)
    unit(drawn, "auxiliary_head.convs.0", widths[2], 4, 3)
    drawn.weight("auxiliary_head.conv_seg", classes, 4, 1, 1)


def release(sizes: Sizes, classes: int, seed: int = 0) -> Tensors:
    """A file of the Swin release with the heads of mmsegmentation."""
    drawn, widths = Drawn(seed), [sizes.width * 2**number for number in range(4)]
    drawn.weight("backbone.patch_embed.proj", sizes.width, 3, 4, 4)
    drawn.norm("backbone.patch_embed.norm", sizes.width)
    for layer, (width, depth, count) in enumerate(zip(widths, sizes.depths, sizes.heads, strict=True)):
        for number in range(depth):
            block = f"backbone.layers.{layer}.blocks.{number}"
            drawn.norm(f"{block}.norm1", width)
            table = torch.randn((2 * sizes.window - 1) ** 2, count, generator=drawn.generator)
            drawn.found[f"{block}.attn.relative_position_bias_table"] = table
            drawn.found[f"{block}.attn.relative_position_index"] = index_of(sizes.window)
            drawn.weight(f"{block}.attn.qkv", 3 * width, width)
            drawn.weight(f"{block}.attn.proj", width, width)
            drawn.norm(f"{block}.norm2", width)
            drawn.weight(f"{block}.mlp.fc1", 4 * width, width)
            drawn.weight(f"{block}.mlp.fc2", width, 4 * width)
        if layer < 3:
            drawn.weight(f"backbone.layers.{layer}.downsample.reduction", 2 * width, 4 * width, bias=False)
            drawn.norm(f"backbone.layers.{layer}.downsample.norm", 4 * width)
    for layer, width in enumerate(widths):
        drawn.norm(f"backbone.norm{layer}", width)
    heads(drawn, widths, sizes.decoder, classes)
    return drawn.found


MMSEG = (
    ("patch_embed.proj.", "patch_embed.projection."),
    (".attn.", ".attn.w_msa."),
    (".mlp.fc1.", ".ffn.layers.0.0."),
    (".mlp.fc2.", ".ffn.layers.1."),
    ("backbone.layers.", "backbone.stages."),
)


def mmseg(sizes: Sizes, classes: int, seed: int = 0) -> Tensors:
    """A file of mmsegmentation: the same shapes, whose steps to the next resolution mean something else."""
    return {replaced(name, MMSEG): tensor for name, tensor in release(sizes, classes, seed).items()}


NORMS = ((".norm1.", ".layernorm_before."), (".norm2.", ".layernorm_after."))
HEADS = ((".bn.", ".batch_norm."), (".conv_seg.", ".classifier."))
FILES = (
    *HEADS,
    ("backbone.patch_embed.proj.", "backbone.embeddings.patch_embeddings.projection."),
    ("backbone.patch_embed.norm.", "backbone.embeddings.norm."),
    ("backbone.layers.", "backbone.encoder.layers."),
    (".attn.relative_", ".attention.self.relative_"),
    (".attn.proj.", ".attention.output.dense."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    *((f"backbone.norm{number}.", f"backbone.hidden_states_norms.stage{number + 1}.") for number in range(4)),
)


def files(tensors: Tensors, indices: bool = True) -> Tensors:
    """Tensors of the release under the names of Hugging Face's files, which had indices of positions once."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        if "relative_position_index" in name and not indices:
            continue
        if ".attn.qkv." in name:
            for kind, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[replaced(name.replace(".attn.qkv.", f".attention.self.{kind}."), FILES)] = part.clone()
        else:
            text = replaced(name, NORMS) if ".blocks." in name else name
            found[replaced(text, FILES)] = tensor
    return found


def replaced(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


# --- forward passes ---------------------------------------------------------------------------------------------------


def attended(t: Tensors, name: str, x: Tensor, heads: int, window: int, shift: int) -> Tensor:
    """Window after window and pixel by pixel: which of the others may be looked at follows from where they come from.

    x (N, h, w, C), h and w whole windows.
    """
    count, height, width, channels = x.shape
    table, index = t[f"{name}.relative_position_bias_table"], index_of(window)
    qkv = linear(t, f"{name}.qkv", x).reshape(count, height, width, 3, heads, channels // heads)
    out = torch.zeros(count, height, width, heads, channels // heads)
    for top in range(0, height, window):
        for left in range(0, width, window):
            rows = [(top + i + shift) % height for i in range(window) for _ in range(window)]
            columns = [(left + j + shift) % width for _ in range(window) for j in range(window)]
            q, k, v = qkv[:, rows, columns].permute(2, 0, 3, 1, 4)
            scores = q @ k.transpose(-2, -1) / (channels // heads) ** 0.5 + table[index].permute(2, 0, 1)
            for one in range(window**2):
                for other in range(window**2):
                    apart = (rows[one] < shift) != (rows[other] < shift) and top == height - window
                    apart |= (columns[one] < shift) != (columns[other] < shift) and left == width - window
                    if apart:
                        scores[:, :, one, other] = float("-inf")
            out[:, rows, columns] = (scores.softmax(-1) @ v).transpose(1, 2)
    return linear(t, f"{name}.proj", out.flatten(3))


def swin(t: Tensors, sizes: Sizes, x: Tensor, unfolds: bool = False) -> list[Tensor]:
    """The four maps. With `unfolds` the steps to the next resolution are those of mmsegmentation."""
    x = functional.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))
    x = convolved(t, "backbone.patch_embed.proj", x, stride=4).permute(0, 2, 3, 1)
    x = layer_norm(t, "backbone.patch_embed.norm", x, 1e-5)
    maps = []
    for layer, (depth, count) in enumerate(zip(sizes.depths, sizes.heads, strict=True)):
        for number in range(depth):
            block, shift = f"backbone.layers.{layer}.blocks.{number}", (number % 2) * (sizes.window // 2)
            height, width = x.shape[1:3]
            y = layer_norm(t, f"{block}.norm1", x, 1e-5)
            y = functional.pad(y, (0, 0, 0, -width % sizes.window, 0, -height % sizes.window))
            x = x + attended(t, f"{block}.attn", y, count, sizes.window, shift)[:, :height, :width]
            y = linear(t, f"{block}.mlp.fc1", layer_norm(t, f"{block}.norm2", x, 1e-5))
            x = x + linear(t, f"{block}.mlp.fc2", functional.gelu(y))
        maps.append(layer_norm(t, f"backbone.norm{layer}", x, 1e-5).permute(0, 3, 1, 2))
        if layer < 3:
            x = merged(t, f"backbone.layers.{layer}.downsample", x, unfolds)
    return maps


def merged(t: Tensors, name: str, x: Tensor, unfolds: bool) -> Tensor:
    x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    half = x.shape[1] // 2, x.shape[2] // 2
    if unfolds:
        x = functional.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2).unflatten(1, half)
    else:
        x = torch.cat((x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]), 3)
    return functional.linear(layer_norm(t, f"{name}.norm", x, 1e-5), t[f"{name}.reduction.weight"])


def decoded(t: Tensors, maps: list[Tensor]) -> Tensor:
    def through(name: str, x: Tensor) -> Tensor:
        name = f"decode_head.{name}"
        return normed(
            t, f"{name}.bn", convolved(t, f"{name}.conv", x, padding=t[f"{name}.conv.weight"].shape[2] // 2)
        ).relu()

    def larger(x: Tensor, like: Tensor) -> Tensor:
        return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    cells = [
        through(f"psp_modules.{n}.1", functional.adaptive_avg_pool2d(maps[3], side))
        for n, side in enumerate((1, 2, 3, 6))
    ]
    top = through("bottleneck", torch.cat([maps[3], *(larger(one, maps[3]) for one in cells)], 1))
    levels = [through(f"lateral_convs.{number}", maps[number]) for number in range(3)]
    levels[2] = levels[2] + larger(top, levels[2])
    levels[1] = levels[1] + larger(levels[2], levels[1])
    levels[0] = levels[0] + larger(levels[1], levels[0])
    levels = [*(through(f"fpn_convs.{number}", levels[number]) for number in range(3)), top]
    fused = through("fpn_bottleneck", torch.cat([larger(one, levels[0]) for one in levels], 1))
    return convolved(t, "decode_head.conv_seg", fused)
