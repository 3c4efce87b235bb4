"""Which units of a UperNet with a Swin may change places: with a ResNet they are read off its graph.

- The channels along the blocks of a resolution: what leads to the next one reads them four times, once a pixel.
- Inside of blocks as in a Vision Transformer, see `fusionlib.architectures.vit_permutations`: whole heads stay.
- The channels of the decoder: those of the pyramid are tied by its sums.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusionlib.architectures import swin
from fusionlib.architectures.upernet_plan import CELLS, Plan
from fusionlib.architectures.vit_permutations import Axes, along_blocks, inside_blocks, made_by
from fusionlib.contracts import Permutation

_NORM = ("weight", "bias", "running_mean", "running_var")


def upernet_permutations(plan: Plan) -> Iterator[Permutation]:
    """All of them, in order of the network; none of a backbone that is no Swin."""
    if isinstance(plan.backbone, swin.Plan):
        yield from _of_swin("backbone.", plan.backbone, [_reads(number) for number in range(4)])
        yield from _of_decoder(plan)


def _reads(number: int) -> Axes:
    """Where the decoder reads a map of the backbone."""
    if number < 3:
        return ((f"decode_head.lateral_convs.{number}.conv.weight", 1, 0),)
    pooled = (f"decode_head.psp_modules.{place}.1.conv.weight" for place in range(len(CELLS)))
    return tuple((name, 1, 0) for name in (*pooled, "decode_head.bottleneck.conv.weight"))


def _of_swin(prefix: str, plan: swin.Plan, readers: list[Axes]) -> Iterator[Permutation]:
    """Those of the backbone under `prefix`, whose maps are read at `readers`."""
    made: Axes = (*made_by(f"{prefix}patch_embed.proj"), *made_by(f"{prefix}patch_embed.norm"))
    for number, (width, depth, heads) in enumerate(zip(plan.widths, plan.depths, plan.heads, strict=True)):
        blocks, leads = f"{prefix}layers.{number}.blocks.", f"{prefix}layers.{number}.downsample"
        stream = (*made, *along_blocks(blocks, depth), *made_by(f"{prefix}norm{number}"), *readers[number])
        if number < len(plan.depths) - 1:
            for start in range(0, 4 * width, width):
                stream += (f"{leads}.norm.weight", 0, start), (f"{leads}.norm.bias", 0, start)
                stream += ((f"{leads}.reduction.weight", 1, start),)
        yield Permutation(made[0][0].rpartition(".")[0], width, stream)
        yield from inside_blocks(blocks, depth, width, heads, swin.EXPANSION * width)
        made = ((f"{leads}.reduction.weight", 0, 0),)


def _of_decoder(plan: Plan) -> Iterator[Permutation]:
    """The pooled maps, the pyramid, its levels and their fusion."""
    size, coarsest = plan.channels, plan.widths[-1]
    for place in range(len(CELLS)):
        unit = f"decode_head.psp_modules.{place}.1"
        reads = ("decode_head.bottleneck.conv.weight", 1, coarsest + place * size)
        yield Permutation(f"{unit}.conv", size, (*_unit(unit), reads))
    levels = range(len(plan.widths) - 1)
    pyramid = (
        *_unit("decode_head.bottleneck"),
        *(axis for level in levels for axis in _unit(f"decode_head.lateral_convs.{level}")),
        *((f"decode_head.fpn_convs.{level}.conv.weight", 1, 0) for level in levels),
        ("decode_head.fpn_bottleneck.conv.weight", 1, len(levels) * size),
    )
    yield Permutation("decode_head.bottleneck.conv", size, pyramid)
    for level in levels:
        unit, reads = f"decode_head.fpn_convs.{level}", ("decode_head.fpn_bottleneck.conv.weight", 1, level * size)
        yield Permutation(f"{unit}.conv", size, (*_unit(unit), reads))
    fused = (*_unit("decode_head.fpn_bottleneck"), ("decode_head.conv_seg.weight", 1, 0))
    yield Permutation("decode_head.fpn_bottleneck.conv", size, fused)


def _unit(name: str) -> Axes:
    """Where the outputs of a convolution and its norm are."""
    return (f"{name}.conv.weight", 0, 0), *((f"{name}.bn.{leaf}", 0, 0) for leaf in _NORM)
