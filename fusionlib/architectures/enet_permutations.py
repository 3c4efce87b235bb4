"""Which hidden units of ENet may change places without changing what it computes.

Within a bottleneck the reduced channels are free: nothing outside sees them. The channels of the main branches are tied
across the whole network, because nothing mixes them: max-pooling hands channel i on as channel i, padding adds zero
channels behind the others, residual sums need equal places, and unpooling puts channel i of the decoder where channel i
of the encoder had its maxima. Therefore three groups run through all of it:

- the 13 convolution channels of the initial block, which are channels 0 to 12 of every stage, decoder included;
- channels 16 to 63, which begin as zeros at the first downsampling, up to the decoder's 64 channels;
- channels 64 to 127, which begin as zeros at the second downsampling and end at the first upsampling.

Channels 13 to 15 are red, green and blue of the pooled picture and stay. Activations have one parameter for all
channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fusionlib.contracts import Permutation

Axes = list[tuple[str, int, int]]

_KINDS = ("regular", "dilated", "asymmetric", "dilated", "regular", "dilated", "asymmetric", "dilated")
_DEEP = tuple(f"{kind}{stage}_{first + step}" for stage, first in ((2, 1), (3, 0)) for step, kind in enumerate(_KINDS))
_QUARTER = tuple(f"regular1_{number}" for number in range(1, 5))
_GROUPS = {"picture": (0, 13), "quarter": (16, 48), "eighth": (64, 64)}
"""Start and size of the groups that run through the main branches."""


def enet_permutations() -> tuple[Permutation, ...]:
    """All of them, in order of the network."""
    return (*_main_branches(), *_inner())


def _norm(name: str, start: int = 0) -> Axes:
    return [(f"{name}.{leaf}", 0, start) for leaf in ("weight", "bias", "running_mean", "running_var")]


def _main_branches() -> Iterator[Permutation]:
    for name, (start, size) in _GROUPS.items():
        axes: Axes = []
        if name == "picture":
            axes += [("initial_block.main_branch.weight", 0, 0), *_norm("initial_block.batch_norm")]
            axes += [("downsample1_0.ext_conv1.0.weight", 1, 0)]
            axes += [*_widened("upsample5_0", 0), *_residual("regular5_1", 0), ("transposed_conv.weight", 0, 0)]
        if name in ("picture", "quarter"):
            axes += [
                *_written("downsample1_0.ext_conv3", start),
                *(axis for block in _QUARTER for axis in _residual(block, start)),
            ]
            axes += [("downsample2_0.ext_conv1.0.weight", 1, start), *_widened("upsample4_0", start)]
            axes += [axis for block in ("regular4_1", "regular4_2") for axis in _residual(block, start)]
            axes += [("upsample5_0.main_conv1.0.weight", 1, start), ("upsample5_0.ext_conv1.0.weight", 1, start)]
        axes += [
            *_written("downsample2_0.ext_conv3", start),
            *(axis for block in _DEEP for axis in _residual(block, start)),
        ]
        axes += [("upsample4_0.main_conv1.0.weight", 1, start), ("upsample4_0.ext_conv1.0.weight", 1, start)]
        yield Permutation(name, size, tuple(axes))


def _written(unit: str, start: int) -> Axes:
    """A convolution and its norm that write to a main branch."""
    return [(f"{unit}.0.weight", 0, start), *_norm(f"{unit}.1", start)]


def _residual(block: str, start: int) -> Axes:
    """A bottleneck that reads a main branch and writes to it."""
    return [(f"{block}.ext_conv1.0.weight", 1, start), *_written(f"{block}.ext_conv3", start)]


def _widened(block: str, start: int) -> Axes:
    """An upsampling that writes to the decoder's main branch from both of its sides."""
    return [*_written(f"{block}.main_conv1", start), *_written(f"{block}.ext_conv2", start)]


def _inner() -> Iterator[Permutation]:
    down = {"downsample1_0": 4, "downsample2_0": 16}
    blocks = {
        **down,
        **dict.fromkeys(_QUARTER, 16),
        **dict.fromkeys(_DEEP, 32),
        "regular4_1": 16,
        "regular4_2": 16,
        "regular5_1": 4,
    }
    for block, size in blocks.items():
        convolutions = [
            "ext_conv1.0",
            "ext_conv2.0",
            *(["ext_conv2.3"] if block.startswith("asymmetric") else []),
            "ext_conv3.0",
        ]
        for before, after in pairwise(convolutions):
            unit, _, place = before.partition(".")
            norm = _norm(f"{block}.{unit}.{int(place) + 1}")
            yield Permutation(
                f"{block}.{before}",
                size,
                ((f"{block}.{before}.weight", 0, 0), *norm, (f"{block}.{after}.weight", 1, 0)),
            )
    for block, size in {
        "upsample4_0": 32,
        "upsample5_0": 16,
    }.items():  # transposed convolutions have their inputs on axis 0
        yield Permutation(
            f"{block}.ext_conv1.0",
            size,
            (
                (f"{block}.ext_conv1.0.weight", 0, 0),
                *_norm(f"{block}.ext_conv1.1"),
                (f"{block}.ext_tconv1.weight", 0, 0),
            ),
        )
        yield Permutation(
            f"{block}.ext_tconv1",
            size,
            (
                (f"{block}.ext_tconv1.weight", 1, 0),
                *_norm(f"{block}.ext_tconv1_bnorm"),
                (f"{block}.ext_conv2.0.weight", 1, 0),
            ),
        )
