"""Swin Transformer without its classifier: a backbone of four resolutions, at strides 4, 8, 16 and 32.

Source: Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo, "Swin Transformer: Hierarchical Vision Transformer using Shifted
Windows", 2021, section 3 and Figure 3; sizes in section 3.3. Names are those of the public release as it is used for
segmentation: a norm before each of the four outputs (`norm0` to `norm3`), no absolute positions.

Where the text leaves it open, as in the public code: pictures and maps are continued by zeros at the right and at the
bottom, to whole patches, windows and pairs, and in a window all tokens look at these zeros too; windows are shifted
whatever the size of the picture is; what a shift brings together from opposite edges is kept apart by -100.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.vit import MLP
from fusionlib.contracts import Stage
from fusionlib.errors import ArchitectureError

TABLE, INDEX = "relative_position_bias_table", "relative_position_index"

PATCH = 4
EXPANSION = 4
"""Of the channels inside of the MLP."""

LARGEST_WINDOW = 16
"""A side: the positions of two tokens in it grow with its fourth power."""

_APART = -100.0

State = tuple[tuple[Tensor, ...], Tensor]
"""Outputs (N, C, h, w) that are done, and the newest map (N, h, w, C)."""


@dataclass(frozen=True)
class Plan:
    """The sizes of section 3.3: channels C of the first resolution, blocks and heads of the four, side of a window."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int = 7

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four resolutions."""
        return tuple(self.width << number for number in range(len(self.depths)))


PLANS = {
    "t": Plan(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "s": Plan(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "b": Plan(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "l": Plan(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""Swin-T, S, B and L with windows of 7; those that were trained on ImageNet at 384 pixels have windows of 12."""


class PatchEmbedding(nn.Module):
    """Patches of 4x4 pixels as tokens, and a norm over their channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = nn.functional.pad(x, (0, -width % PATCH, 0, -height % PATCH))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class WindowAttention(nn.Module):
    """`softmax(Q K^T / sqrt(d) + B) V` among the tokens of each window (Equation 4), windows (N, tokens, C)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", position_index(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """`apart` (windows, tokens, tokens) is added to the scores of each picture's windows."""
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        index: Tensor = self.relative_position_index  # type: ignore[assignment]
        added = self.relative_position_bias_table[index.long()].permute(2, 0, 1)[None]
        if apart is not None:
            added = added + apart[:, None]
            added = added.expand(len(x) // len(apart), -1, -1, -1, -1).flatten(0, 1)
        found = nn.functional.scaled_dot_product_attention(queries, keys, values, added.to(queries.dtype))
        return self.proj(found.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention inside of windows, every other time shifted by half of one, and an MLP (Equation 3)."""

    def __init__(self, width: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, EXPANSION * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attended(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = nn.functional.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded, apart = x.shape, None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            apart = kept_apart(padded[1], padded[2], self.window, self.shift, x.device)
        x = self.attn(windows(x, self.window), apart)
        x = _whole(x, padded, self.window)
        x = torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """The tokens of every 2x2 side by side, column by column, and half of their channels kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = nn.functional.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        pixels = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(pixels, -1)))


class Layer(nn.Module):
    """The blocks of one resolution, and what leads to the next."""

    def __init__(self, width: int, depth: int, heads: int, window: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, window, number % 2 == 1) for number in range(depth))
        self.downsample = None if last else PatchMerging(width)


class Swin(nn.Module):
    """The backbone alone. Input `(N, 3, H, W)` float32; `widths` are the channels of its four outputs."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.widths = plan.widths
        self.patch_embed = PatchEmbedding(plan.width)
        sizes = zip(plan.widths, plan.depths, plan.heads, strict=True)
        self.layers = nn.ModuleList(
            Layer(*size, plan.window, last=number == len(plan.depths) - 1) for number, size in enumerate(sizes)
        )
        for number, width in enumerate(plan.widths):
            self.add_module(f"norm{number}", nn.LayerNorm(width))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs (N, C, h, w) of the four resolutions, the finest first."""
        state = x
        for stage in self.stages(""):
            state = stage.call(state)
        return state[0]  # type: ignore[return-value]

    def stages(self, prefix: str) -> list[Stage]:
        """Patches, every block, every output and every step to the next resolution; states are `State`."""
        found = [Stage(f"{prefix}patch_embed", self._enter)]
        for number, layer in enumerate(self.layers):
            name = f"{prefix}layers.{number}"
            found += [
                Stage(f"{name}.blocks.{place}", partial(_advance, block))
                for place, block in enumerate(layer.blocks)  # type: ignore[arg-type]
            ]
            found.append(Stage(f"{prefix}norm{number}", partial(self._output, self.get_submodule(f"norm{number}"))))
            if isinstance(layer.downsample, PatchMerging):
                found.append(Stage(f"{name}.downsample", partial(_advance, layer.downsample)))
        return found

    def _enter(self, x: Tensor) -> State:
        return (), self.patch_embed(x)

    def _output(self, norm: nn.Module, state: State) -> State:
        done, x = state
        return (*done, norm(x).permute(0, 3, 1, 2).contiguous()), x


def _advance(module: nn.Module, state: State) -> State:
    return state[0], module(state[1])


def position_index(window: int) -> Tensor:
    """Rows (tokens, tokens) of the table of biases: `(dy + w - 1) (2 w - 1) + dx + w - 1` of two tokens that are dy, dx
    apart in a window of side w.
    """
    places = torch.arange(window**2, device="cpu")  # on a device without numbers, arithmetic loads half of torch first
    down, right = (axis[:, None] - axis[None] + window - 1 for axis in (places // window, places % window))
    index = down * (2 * window - 1) + right
    return index.to(torch.get_default_device())


def missing_indices(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the indices that are not beside their tables, as recent files of Hugging Face have none."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        index, window = f"{name.removesuffix(TABLE)}{INDEX}", (math.isqrt(shape[0]) + 1) // 2 if shape else 0
        if name.endswith(f".{TABLE}") and index not in shapes and window <= LARGEST_WINDOW:
            found[index] = (window**2, window**2)
    return found


def index_of_shape(shape: tuple[int, ...]) -> Tensor:
    """The index (tokens, tokens) of as many tokens as a window has."""
    return position_index(math.isqrt(shape[0]))


def check_positions(network: nn.Module) -> None:
    """Raises `ArchitectureError` where an index that was loaded is not that of the positions in a window."""
    for name, module in network.named_modules():
        if isinstance(module, WindowAttention):
            index: Tensor = module.get_buffer(INDEX)
            if not torch.equal(index.cpu(), index_of_shape(tuple(index.shape)).to(index.dtype)):
                raise ArchitectureError(
                    f"{name}.{INDEX} of the checkpoint holds other numbers",
                    "the rows of the table of biases for the positions in a window of"
                    f" {math.isqrt(index.shape[0])}x{math.isqrt(index.shape[0])} tokens",
                    "Download or save the checkpoint again",
                )


def windows(x: Tensor, window: int) -> Tensor:
    """A map (N, h, w, C) of whole windows as (N windows, tokens, C), row by row."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _whole(x: Tensor, shape: torch.Size, window: int) -> Tensor:
    """The map of that shape whose windows (N windows, tokens, C) these are."""
    rows, columns = shape[1] // window, shape[2] // window
    x = x.unflatten(1, (window, window)).unflatten(0, (-1, rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def kept_apart(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """-100 (windows, tokens, tokens) between tokens that were not side by side before the shift, else 0 (Figure 4)."""
    rows, columns = (
        (torch.arange(side, device=device) >= side - window).long()
        + (torch.arange(side, device=device) >= side - shift).long()
        for side in (height, width)
    )
    region = windows((3 * rows[:, None] + columns[None])[None, :, :, None], window)[:, :, 0]
    return torch.where(region[:, :, None] == region[:, None], 0.0, _APART)
