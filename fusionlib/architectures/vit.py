"""The Vision Transformer: patches of a picture as tokens, and blocks of attention over all of them, in timm's names.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", 2021, section
3.1, Equations 1 to 4; a second token beside the class token: Touvron et al., "Training data-efficient image
transformers & distillation through attention", 2021, section 4. Other networks put their decoders on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Literal

import torch
from torch import Tensor, nn

from fusionlib.architectures.sized import OWN_CODE
from fusionlib.contracts import Stage
from fusionlib.errors import ArchitectureError

HEAD = 64
"""Channels of a head in all published sizes up to L: no tensor tells them."""

DEEPEST = 200
LARGEST = 1 << 16
"""Of any size that is read off shapes, which may be anybody's."""

Tokens = tuple[Tensor, int, int]
"""Tokens (N, T, C), and the height h and width w of the grid of patches: the last h w of them, by rows."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ViTPlan:
    """Sizes of Table 1: channels, blocks, and `hidden` units of an MLP; `patch` pixels a side; `grid` patches a side of
    the stored positions, which are resized to other grids.

    `extra` tokens stand before those of patches: 1 for the class, 2 with one for distillation. `labels` are outputs of
    the classifier that training began with: it is kept, and nothing reads it; 0 where there is none.
    """

    width: int
    depth: int
    patch: int
    grid: int
    heads: int
    hidden: int
    extra: int = 1
    labels: int = 0
    epsilon: float = 1e-6
    resizing: Literal["bilinear", "bicubic"] = "bicubic"

    @property
    def side(self) -> int:
        """Pixels a side of the pictures whose positions are stored."""
        return self.grid * self.patch


class PatchEmbedding(nn.Module):
    """A convolution that sees each patch once (Equation 1)."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values come from one layer, in that order."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(found.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention (Equation 2) and MLP (Equation 3), each behind a norm and added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, epsilon: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Input `(N, 3, H, W)` float32, output tokens of patches `(N, h w, C)` behind the last norm, h = ceil(H / patch).

    Sides that are no multiples of the patch are continued with zeros at the right and at the bottom.
    """

    def __init__(self, plan: ViTPlan) -> None:
        super().__init__()
        self.plan = plan
        self.cls_token = nn.Parameter(torch.zeros(1, 1, plan.width))
        if plan.extra > 1:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, plan.width))
        self.pos_embed = nn.Parameter(torch.empty(1, plan.extra + plan.grid**2, plan.width))
        self.patch_embed = PatchEmbedding(plan.width, plan.patch)
        if plan.extra > 1 and plan.labels:
            self.head_dist = nn.Linear(plan.width, plan.labels)
        self.blocks = nn.ModuleList(Block(plan.width, plan.heads, plan.hidden, plan.epsilon) for _ in range(plan.depth))
        self.norm = nn.LayerNorm(plan.width, plan.epsilon)
        if plan.labels:
            self.head = nn.Linear(plan.width, plan.labels)
        for tokens in (self.cls_token, self.pos_embed, *([self.dist_token] if plan.extra > 1 else [])):
            nn.init.trunc_normal_(tokens, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        state: Tensor | Tokens = x
        for stage in self.stages(""):
            state = stage.call(state)
        return state[0]

    def stages(self, prefix: str) -> list[Stage]:
        """Patches, every block, and the norm of a network that has it as `prefix`, a name that ends in a dot or is
        empty.
        """
        tokens = ("patch_embed", "cls_token", "dist_token", "pos_embed")
        return [
            Stage(f"{prefix}patch_embed", self.embed, tuple(f"{prefix}{name}" for name in tokens)),
            *(
                Stage(f"{prefix}blocks.{number}", partial(transformed, block))
                for number, block in enumerate(self.blocks)
            ),
            Stage(f"{prefix}norm", self.finish),
        ]

    def embed(self, x: Tensor) -> Tokens:
        """Pictures as tokens with their positions, the extra ones first."""
        patch = self.plan.patch
        height, width = x.shape[2:]
        if height % patch or width % patch:
            x = nn.functional.pad(x, (0, -width % patch, 0, -height % patch))
        x = self.patch_embed(x)
        height, width = x.shape[2:]
        extra = [self.cls_token, *([self.dist_token] if self.plan.extra > 1 else [])]
        tokens = [*(token.expand(len(x), -1, -1) for token in extra), x.flatten(2).transpose(1, 2)]
        return torch.cat(tokens, 1) + self.positions(height, width), height, width

    def positions(self, height: int, width: int) -> Tensor:
        """Embeddings (1, T, C) of the places of a grid: the stored ones, resized where theirs is another."""
        grid, extra = self.plan.grid, self.plan.extra
        if (height, width) == (grid, grid):
            return self.pos_embed
        table = self.pos_embed[:, extra:].transpose(1, 2).unflatten(2, (grid, grid))
        table = nn.functional.interpolate(table, size=(height, width), mode=self.plan.resizing, align_corners=False)
        return torch.cat((self.pos_embed[:, :extra], table.flatten(2).transpose(1, 2)), 1)

    def finish(self, state: Tokens) -> Tokens:
        """The last norm (Equation 4) of the tokens of patches."""
        x, height, width = state
        return self.norm(x)[:, self.plan.extra :], height, width


def transformed(block: nn.Module, state: Tokens) -> Tokens:
    """The tokens through a block."""
    x, height, width = state
    return block(x), height, width


def as_map(x: Tensor, height: int, width: int) -> Tensor:
    """Tokens (N, h w, C) as (N, C, h, w)."""
    return x.transpose(1, 2).unflatten(2, (height, width))


def block_count(shapes: Shapes, prefix: str) -> int:
    """How many blocks tensors named `prefix`, a number and a dot belong to, those left out before the last counted.

    Raises `ArchitectureError` for more than any network has.
    """
    of_block = re.compile(rf"{re.escape(prefix)}(\d{{1,9}})\.")
    count = 1 + max((int(found[1]) for name in shapes if (found := of_block.match(name))), default=-1)
    if count > DEEPEST:
        raise ArchitectureError(f"{prefix}{count - 1} is in it", f"at most {DEEPEST} blocks", OWN_CODE)
    return count


def within(name: str, *sizes: int) -> None:
    """Raises `ArchitectureError` for sizes of a tensor that no network has."""
    if any(not 1 <= size <= LARGEST for size in sizes):
        raise ArchitectureError(f"{name} has a size of {max(sizes)} or of 0", f"sizes from 1 to {LARGEST}", OWN_CODE)


def heads_of(width: int, name: str) -> int:
    """How many heads of 64 channels. Raises `ArchitectureError` where they do not add up to the width."""
    within(name, width)
    if width % HEAD:
        raise ArchitectureError(
            f"{name} has {width} channels, from which no number of heads follows", f"a multiple of {HEAD}", OWN_CODE
        )
    return width // HEAD


def vit_plan(
    shapes: Shapes, prefix: str, epsilon: float = 1e-6, resizing: Literal["bilinear", "bicubic"] = "bicubic"
) -> ViTPlan | None:
    """The sizes of the Vision Transformer under `prefix`, a name that ends in a dot or is empty; None without one.

    Raises `ArchitectureError` for one whose heads, positions or number of blocks cannot be told.
    """
    patches = shapes.get(f"{prefix}patch_embed.proj.weight", ())
    hidden = shapes.get(f"{prefix}blocks.0.mlp.fc1.weight", ())
    if f"{prefix}blocks.0.attn.qkv.weight" not in shapes or len(patches) != 4 or len(hidden) != 2:
        return None
    width, _, patch, _ = patches
    extra = 2 if f"{prefix}dist_token" in shapes else 1
    classifier = shapes.get(f"{prefix}head.weight", ())
    labels = classifier[0] if len(classifier) == 2 else 0
    for name, sizes in (("patch_embed.proj", patches), ("blocks.0.mlp.fc1", hidden), ("head", classifier)):
        within(f"{prefix}{name}.weight", *sizes)
    return ViTPlan(
        width,
        block_count(shapes, f"{prefix}blocks."),
        patch,
        _grid(shapes, f"{prefix}pos_embed", extra),
        heads_of(width, f"{prefix}patch_embed.proj.weight"),
        hidden[0],
        extra,
        labels,
        epsilon,
        resizing,
    )


def _grid(shapes: Shapes, name: str, extra: int) -> int:
    shape = shapes.get(name)
    needs = f"(1, {extra} + n x n, channels): positions of {extra} extra token{'s' * (extra > 1)} and of a square"
    if shape is None or len(shape) != 3:
        what = f"{name} is missing" if shape is None else f"{name} has the shape {shape}"
        raise ArchitectureError(what, needs, OWN_CODE)
    places = shape[1] - extra
    within(name, max(1, isqrt(max(0, places))))
    if places < 1 or isqrt(places) ** 2 != places:
        raise ArchitectureError(f"{name} has {max(0, places)} places of patches, which are no square", needs, OWN_CODE)
    return isqrt(places)
