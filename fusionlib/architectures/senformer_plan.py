"""Sizes of a SenFormer: as published, as read off the shapes of its tensors, and how they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusionlib.architectures import backbones, swin
from fusionlib.architectures.backbones import STRIDES, TINY, differences
from fusionlib.architectures.pyramids import KINDS
from fusionlib.architectures.senformer_learner import READINGS, heads_for
from fusionlib.architectures.upernet_plan import backbone_of
from fusionlib.architectures.vit import block_count, within
from fusionlib.errors import ArchitectureError, UsageError, shown

Shapes = Mapping[str, tuple[int, ...]]

TURNS, POST_NORM, QUERIES = "decode_head.turns", "decode_head.post_norm", "decode_head.queries"
LEARNERS, SHARED, FUSED = "decode_head.learners.", "decode_head.decoder.", "decode_head.learner."
MERGE = "merge."
MOST_TURNS = 64
MOST_LEARNERS = 64
WIDEST = 2048

SHARING = {
    "repeated": "one block a learner, gone through L times",
    "none": "L blocks of its own for every learner",
    "decoder": "one decoder of L blocks for all learners, class embeddings of their own",
    "cls": "L blocks of its own for every learner, the same class embeddings for all",
}
"""What learners share."""


@dataclass(frozen=True)
class Plan:
    """All that a SenFormer is made by, but the classes.

    `fused` is the baseline that puts all levels together before one decoder; `depth` is L; `learners` are those of a
    level; `literal` is Equation 7 as printed; `reading` one of `senformer_learner.READINGS`.
    """

    backbone: backbones.Plan
    width: int = 512
    depth: int = 6
    pyramid: str = "fpnt"
    sharing: str = "repeated"
    fused: bool = False
    learners: int = 1
    fusion: str = "average"
    heads: int = 8
    window: int = 7
    reading: str = "released"
    literal: bool = False
    post_norm: bool = False

    @property
    def blocks(self) -> int:
        """Different blocks of a decoder."""
        return 1 if self.sharing == "repeated" else self.depth

    @property
    def count(self) -> int:
        """Learners in all."""
        return 1 if self.fused else self.learners * len(STRIDES)

    @property
    def title(self) -> str:
        """In words."""
        what = "Features fusion baseline of SenFormer" if self.fused else "SenFormer"
        shared = {"none": ", nothing shared", "decoder": ", one decoder", "cls": ", one set of classes"}
        return f"{what}, {backbones.title(self.backbone)}{shared.get(self.sharing, '')}"

    @property
    def name(self) -> str:
        """That of the listed network of its size, and what is different."""
        name, usual = backbones.nearest(self.backbone)
        about = [*differences(self.backbone, usual)]
        about += differences(replace(self, backbone=usual), replace(usual_plan(usual), fused=self.fused))
        family = "features-fusion" if self.fused else "senformer"
        return f"{family}-{name}:{','.join(about)}" if about else f"{family}-{name}"


def usual_plan(backbone: backbones.Plan) -> Plan:
    """The paper's, and for the tiny backbone one of its size: 64 channels, L = 2."""
    return Plan(backbone, width=64, depth=2) if backbone == TINY else Plan(backbone)


CHOICES: Mapping[str, tuple[Any, ...]] = {
    "pyramid": KINDS,
    "sharing": tuple(SHARING),
    "fusion": ("average", "hierarchical", "explicit"),
    "reading": tuple(READINGS),
    "width": (1, WIDEST),
    "depth": (1, MOST_TURNS),
    "learners": (1, MOST_LEARNERS // len(STRIDES)),
    "window": (1, swin.LARGEST_WINDOW),
    "literal": (False, True),
    "post_norm": (False, True),
}
"""What of a plan may be asked for by name: one of some texts, a range of numbers, yes or no. Tensors tell all of it."""


def plan_with(plan: Plan, wanted: Mapping[str, str]) -> Plan:
    """The plan with other values, given as texts. Raises `UsageError` for a field or a value that cannot be."""
    fixed = {"fusion", "learners"} if plan.fused else set()
    fixed |= set() if wanted.get("pyramid", "fpnt") == "fpnt" else {"window"}
    offered = {name: choices for name, choices in CHOICES.items() if name not in fixed}
    for name, text in wanted.items():
        if name not in offered:
            raise UsageError(f"{shown(name)} of {plan.title}", f"one of {', '.join(offered)}", "Correct the name")
        plan = replace(plan, **{name: _value(name, text, offered[name])})
    if plan.fused and plan.sharing not in ("repeated", "none"):
        raise UsageError(f"sharing={plan.sharing} of one decoder", "repeated or none", "Correct it")
    if plan.literal and plan.pyramid == "none":
        raise UsageError("literal=True without a pyramid", "pyramid=fpnt or pyramid=fpn", "Leave it out")
    return replace(plan, heads=heads_for(plan.width))


def _value(name: str, text: str, choices: tuple[Any, ...]) -> Any:
    if type(choices[0]) is int:
        if text.isdecimal() and choices[0] <= int(text) <= choices[1]:
            return int(text)
        raise UsageError(f"{name}={shown(text)}", f"a number from {choices[0]} to {choices[1]}", "Correct it")
    found = next((one for one in choices if str(one) == text), None)
    if found is None:
        raise UsageError(f"{name}={shown(text)}", f"one of {', '.join(map(str, choices))}", "Correct it")
    return found


def plan_of(shapes: Shapes) -> Plan | None:
    """What tensors of these shapes are meant to be; None for other networks, or where a size cannot be told.

    L of repeated blocks is the length of `decode_head.turns`, which networks of this library keep: a file without it
    that has one block a learner is taken to go through it once.

    Raises `ArchitectureError` for sizes that no network has.
    """
    fused = f"{FUSED}queries" in shapes
    name = next((one for one in (QUERIES, f"{FUSED}queries", f"{LEARNERS}0.queries") if one in shapes), None)
    backbone = backbone_of(shapes) if name else None
    if name is None or backbone is None or len(shapes[name]) != 3 or "neck.lateral_convs.0.conv.weight" not in shapes:
        return None
    width = shapes[name][2]
    within(name, *shapes[name])
    sharing, decoder = _sharing(shapes, fused)
    turns = shapes.get(TURNS)
    depth = turns[0] if turns else block_count(shapes, f"{decoder}layers.")
    count = 1 if fused else block_count(shapes, LEARNERS)
    if not 1 <= depth <= MOST_TURNS or (not fused and (count % len(STRIDES) or not 1 <= count <= MOST_LEARNERS)):
        return None
    window, heads = _windows(shapes, width)
    pyramid = next((kind for kind, block in _BLOCKS.items() if f"neck.{block}.0.{_FIRST[kind]}" in shapes), "none")
    return Plan(
        backbone,
        width,
        depth,
        pyramid=pyramid,
        sharing=sharing,
        fused=fused,
        learners=1 if fused else count // len(STRIDES),
        fusion=_fusion(shapes, count),
        heads=heads,
        window=window,
        reading=_reading(shapes, decoder),
        literal=pyramid != "none" and block_count(shapes, f"neck.{_BLOCKS[pyramid]}.") < len(STRIDES),
        post_norm=POST_NORM in shapes,
    )


_BLOCKS = {"fpnt": "fpn_swins", "fpn": "fpn_convs"}
_FIRST = {"fpnt": "swin_blocks.blocks.0.norm1.weight", "fpn": "conv.weight"}


def _sharing(shapes: Shapes, fused: bool) -> tuple[str, str]:
    """What is shared, and where the first decoder is."""
    if fused:
        return ("repeated" if TURNS in shapes else "none"), FUSED
    if QUERIES in shapes:
        return "cls", f"{LEARNERS}0."
    if block_count(shapes, f"{SHARED}layers."):
        return "decoder", SHARED
    return ("repeated" if TURNS in shapes else "none"), f"{LEARNERS}0."


def _windows(shapes: Shapes, width: int) -> tuple[int, int]:
    """Side of a window and heads: those of the pyramid's first table, else the usual ones."""
    table = shapes.get(f"neck.fpn_swins.0.swin_blocks.blocks.0.attn.{swin.TABLE}", ())
    if len(table) != 2:
        return Plan.window, heads_for(width)
    window, heads = (math.isqrt(table[0]) + 1) // 2, table[1]
    if not 1 <= window <= swin.LARGEST_WINDOW or (2 * window - 1) ** 2 != table[0] or not heads or width % heads:
        raise ArchitectureError(
            f"the table of biases of its pyramid is {table[0]}x{table[1]} for {width} channels",
            f"(2w - 1)^2 rows of a window of up to {swin.LARGEST_WINDOW}, and heads that divide the channels",
            "Give the network's code with --model FILE.py:FACTORY",
        )
    return window, heads


def _reading(shapes: Shapes, decoder: str) -> str:
    if f"{decoder}norm_features.weight" not in shapes:
        return "paper"
    return "released" if f"{decoder}norm_embs.weight" in shapes else "raw"


def _fusion(shapes: Shapes, learners: int) -> str:
    masks = block_count(shapes, MERGE)
    return "average" if not masks else "explicit" if masks == learners else "hierarchical"
