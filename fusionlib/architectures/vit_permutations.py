"""Which units of blocks of attention may change places without changing what they compute.

- The channels along the blocks: norms look at all of them alike, sums need equal places, so one order runs through.
- The hidden units of an MLP, each on its own between its two layers.
- The channels of a head: queries and keys together, which meet in a sum over them, and values by themselves.

Whole heads may change places too, but that is an order of groups of units, which a `Permutation` cannot say: they keep
theirs, so a match of two networks finds the best order inside of heads that are taken to correspond by their number.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusionlib.architectures.vit import ViTPlan
from fusionlib.contracts import Permutation

Axes = tuple[tuple[str, int, int], ...]


def made_by(layer: str) -> Axes:
    """Where the outputs of a layer are."""
    return (f"{layer}.weight", 0, 0), (f"{layer}.bias", 0, 0)


def read_by(layer: str) -> Axes:
    """Where its inputs are."""
    return ((f"{layer}.weight", 1, 0),)


def along_blocks(prefix: str, depth: int) -> Axes:
    """Where the channels that all blocks named `prefix` and a number add to are in them."""
    found: Axes = ()
    for name in (f"{prefix}{number}" for number in range(depth)):
        found += (*made_by(f"{name}.norm1"), *read_by(f"{name}.attn.qkv"), *made_by(f"{name}.attn.proj"))
        found += (*made_by(f"{name}.norm2"), *read_by(f"{name}.mlp.fc1"), *made_by(f"{name}.mlp.fc2"))
    return found


def inside_blocks(prefix: str, depth: int, width: int, heads: int, hidden: int) -> Iterator[Permutation]:
    """Units that one block alone sees."""
    size = width // heads
    for name in (f"{prefix}{number}" for number in range(depth)):
        qkv = f"{name}.attn.qkv"
        for head in range(heads):
            query, key, value = (part * width + head * size for part in range(3))
            both = tuple((f"{qkv}.{leaf}", 0, start) for start in (query, key) for leaf in ("weight", "bias"))
            yield Permutation(f"{qkv}.keys.{head}", size, both)
            made = tuple((f"{qkv}.{leaf}", 0, value) for leaf in ("weight", "bias"))
            yield Permutation(f"{qkv}.values.{head}", size, (*made, (f"{name}.attn.proj.weight", 1, head * size)))
        yield Permutation(f"{name}.mlp.fc1", hidden, (*made_by(f"{name}.mlp.fc1"), *read_by(f"{name}.mlp.fc2")))


def vit_permutations(prefix: str, plan: ViTPlan, readers: Axes) -> Iterator[Permutation]:
    """Those of a Vision Transformer under `prefix`, whose output is read at `readers`."""
    tokens = ("cls_token", "pos_embed", *(["dist_token"] if plan.extra > 1 else []))
    classifiers = (("head", "head_dist")[: plan.extra]) if plan.labels else ()
    stream = (
        *made_by(f"{prefix}patch_embed.proj"),
        *((f"{prefix}{name}", 2, 0) for name in tokens),
        *along_blocks(f"{prefix}blocks.", plan.depth),
        *made_by(f"{prefix}norm"),
        *(axis for name in classifiers for axis in read_by(f"{prefix}{name}")),
        *readers,
    )
    yield Permutation(f"{prefix}patch_embed.proj", plan.width, stream)
    yield from inside_blocks(f"{prefix}blocks.", plan.depth, plan.width, plan.heads, plan.hidden)
