"""SenFormer: an ensemble inside one network, a learner for each level of a feature pyramid.

Source: Bousselham, Thibault, Pagano, Machireddy, Gray, Chang, Song, "Efficient Self-Ensemble for Semantic
Segmentation", 2021, section 3 and Annex B. Where text and released code differ, the code is followed: the pyramid is
cumulative and has a block on every level, tokens and final embeddings are normed, heads and projections are as usual.
`senformer_plan.Plan` has the other readings. Its names of tensors are taken; a released file, which shares nothing,
loads with every tensor, its unused `decode_head.conv_seg` and its auxiliary head aside. What the paper calls repeated
is not in that code: here such a network keeps `decode_head.turns`, as many 0 as its block is gone through. A network
with norms behind the sums keeps `decode_head.post_norm`: its tensors are those of the other one.

The network returns the logarithm of the fused probabilities, at a quarter of the picture's sides. With the average it
is that of the mean; the released code returns the sum, which has the same largest class.

Parameters with 150 classes (millions; a block 4.20, a window block 3.15): repeated, ResNet-50, 55.2 whatever L is,
which takes window blocks on all four levels, 52.1 with the three of Equation 8; nothing shared, 139.3; ResNet-101 18.99
more. The paper prints 55, 144, 79 and 163. All but the first agree with the auxiliary head of training (4.80), which is
never run here: 139.3, 74.2 and 158.3 with it are 144.1, 79.0 and 163.1. So does its 68 for one decoder (63.6 here). Its
67 for shared class embeddings contradicts its text, by which they are 89 above 55, as nothing shared is: 139.1 here.
The baseline that fuses levels first has 51.8, printed as 52. At 512x512 there are 202.9 G multiplications with the deep
stem (baseline 324.9); the paper's 179 (307) are these without the products inside of attention and of the logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures import backbones, resnet, swin
from fusionlib.architectures.backbones import STRIDES, TINY
from fusionlib.architectures.built_in import BuiltIn, Shapes, in_turn
from fusionlib.architectures.pyramids import Maps, Pyramid
from fusionlib.architectures.self_ensemble import SelfEnsemble, SelfEnsembleNetwork, State
from fusionlib.architectures.senformer_learner import ClassEmbeddings, Decoder
from fusionlib.architectures.senformer_plan import (
    FUSED,
    LEARNERS,
    MERGE,
    POST_NORM,
    QUERIES,
    TURNS,
    Plan,
    plan_of,
    plan_with,
)
from fusionlib.architectures.senformer_plan import usual_plan as usual
from fusionlib.architectures.senformer_printed import printed
from fusionlib.architectures.sized import by_name, of_any_size, unfit
from fusionlib.architectures.upernet import Unit, resized
from fusionlib.contracts import ARCHITECTURES, FUSIONS, ParameterGroup, Stage, UsualTraining
from fusionlib.errors import ArchitectureError

_UNUSED = ("decode_head.conv_seg.",)
"""A classifier that the released code makes and never calls."""


class Head(nn.Module):
    """The learners, with what they share."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        decoder = partial(
            Decoder,
            plan.width,
            plan.heads,
            plan.blocks,
            plan.depth,
            reading=plan.reading,
            post_norm=plan.post_norm,
        )
        self.register_buffer("turns", torch.zeros(plan.depth, dtype=torch.long) if plan.sharing == "repeated" else None)
        self.register_buffer("post_norm", torch.tensor(1) if plan.post_norm else None)
        if plan.fused:
            self.fpn_bottleneck = Unit(len(STRIDES) * plan.width, plan.width, 3)
            self.learner = decoder(classes=classes)
            return
        if plan.sharing == "cls":
            self.queries = nn.Parameter(torch.zeros(1, classes, plan.width))
        if plan.sharing == "decoder":
            self.decoder = decoder()
            self.learners = nn.ModuleList(ClassEmbeddings(classes, plan.width) for _ in range(plan.count))
        else:
            own = 0 if plan.sharing == "cls" else classes
            self.learners = nn.ModuleList(decoder(classes=own) for _ in range(plan.count))
        self.per_level = plan.learners

    def decoder_of(self, number: int) -> tuple[nn.Module, Tensor]:
        """Decoder and class embeddings of a learner."""
        learner = self.learners[number]
        queries = self.queries if hasattr(self, "queries") else learner.queries
        return getattr(self, "decoder", learner), queries  # type: ignore[return-value]

    def answer(self, number: int, state: Maps | State) -> State:
        """Logits of one learner, at the sides of the finest level, beside those that are there."""
        maps, done = state if number else (state, ())
        decoder, queries = self.decoder_of(number)
        answer = resized(decoder(maps[number // self.per_level], queries), maps[0])  # type: ignore[arg-type]
        return maps, (*done, answer)  # type: ignore[return-value]

    def put_together(self, maps: Maps) -> Tensor:
        """All levels at the sides of the finest, and a convolution over them (Figure 3)."""
        return self.fpn_bottleneck(torch.cat([resized(one, maps[0]) for one in maps], 1))

    def answer_of_all(self, x: Tensor) -> Tensor:
        """Logits of the one decoder of the baseline."""
        return self.learner(x, self.learner.queries)

    def stages(self, prefix: str) -> Iterator[Stage]:
        """A learner each; of the baseline, what puts levels together and its decoder."""
        if hasattr(self, "learner"):
            yield Stage(f"{prefix}fpn_bottleneck", self.put_together)
            yield Stage(f"{prefix}learner", self.answer_of_all)
            return
        shared = tuple(f"{prefix}{name}" for name in ("decoder", "queries"))
        for number in range(len(self.learners)):
            name = f"{prefix}learners.{number}"
            yield Stage(name, partial(self.answer, number), (name, *shared))


class SenFormer(SelfEnsembleNetwork):
    """See `SelfEnsembleNetwork`."""

    decode_head: Head

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        _build(self, plan, classes)
        self.fusion_name = plan.fusion
        self.fusion = FUSIONS.get(plan.fusion)()
        self.merge = self.fusion.attention(plan.count, classes)

    def steps(self) -> Sequence[Stage]:
        """Every block of the backbone, every level of the pyramid, every learner."""
        return _steps(self)

    def embeddings(self) -> Sequence[Tensor]:
        """Those of each learner, the same for all where they are shared."""
        head = self.decode_head
        return tuple(head.decoder_of(number)[1][0].detach() for number in range(len(head.learners)))


class FeaturesFusion(nn.Module):
    """The baseline: input `(N, 3, H, W)` float32, output logits `(N, classes, H / 4, W / 4)`, sides rounded up."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        _build(self, plan, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Every block of the backbone, every level of the pyramid, what puts them together, and the decoder."""
        return _steps(self)

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


def _build(network: Any, plan: Plan, classes: int) -> None:
    network.backbone = backbones.made(plan.backbone)
    widths = backbones.widths(plan.backbone)
    network.neck = Pyramid(widths, plan.width, plan.pyramid, plan.heads, plan.window, plan.literal)
    network.decode_head = Head(plan, classes)


def _steps(network: Any) -> tuple[Stage, ...]:
    pyramid, head = network.neck.stages("neck."), network.decode_head.stages("decode_head.")
    return *backbones.stages(network.backbone, "backbone."), *pyramid, *head


class PlannedArchitecture(BuiltIn):
    """The network of a plan; `listed` where it is one of those that lists name. Its units keep their places.

    Class embeddings have no weight decay, as in the released code. A ResNet learns at a tenth of the rate (section
    4.1), since it is meant to begin at a classifier; the tiny one begins at random, and learns like all the rest.
    """

    def __init__(self, plan: Plan, listed: bool = True) -> None:
        embeddings = [(f"{FUSED}queries", 1)]
        if not plan.fused:
            one = plan.sharing == "cls"
            embeddings = [(QUERIES, 1)] if one else [(f"{LEARNERS}{n}.queries", 1) for n in range(plan.count)]
        masks = {"hierarchical": plan.count - 1, "explicit": plan.count}.get(plan.fusion, 0)
        super().__init__(
            plan.title,
            "Bousselham et al. 2021, Efficient Self-Ensemble for Semantic Segmentation",
            partial(FeaturesFusion if plan.fused else SenFormer, plan),
            head=("neck", "decode_head", "merge", "auxiliary_head"),
            outputs=(*embeddings, *((f"{MERGE}{number}.0.weight", 1) for number in range(masks))),
            names="WalBouss/SenFormer (neck.lateral_convs, decode_head.learners); other sizes too",
            stride=32,
            movable=False,
            unused=_UNUSED,
        )
        trained_before = isinstance(plan.backbone, resnet.Plan) and plan.backbone != TINY
        slow = (ParameterGroup(r"^backbone\.", rate=0.1),) if trained_before else ()
        self.groups = (ParameterGroup(r"\.queries$", decay=False), *slow)
        self.usual = UsualTraining("adamw", 1e-4, 1e-4, "poly", 3.0)
        self.code = f"{self.code} {plan} {FUSIONS.get(plan.fusion).version}"
        self.plan, self.listed, self.printed = plan, listed, printed(plan)

    def recognise(self, shapes: Shapes) -> int | None:
        """As `BuiltIn`, without making networks of other sizes than the tensors have."""
        if self.class_axes[0][0] not in shapes or _plan_or_none(shapes) != self.plan:
            return None
        return super().recognise(shapes)

    def check(self, module: nn.Module) -> None:
        """Raises `ArchitectureError` where a checkpoint has other positions in a window, or other turns, than are."""
        swin.check_positions(module)
        state = module.state_dict()
        for name, value in ((TURNS, 0), (POST_NORM, 1)):
            if name in state and not bool((state[name] == value).all()):
                raise ArchitectureError(
                    f"{name} of the checkpoint holds other numbers", f"{value} throughout", "Save the checkpoint again"
                )

    def misfit(self, shapes: Shapes) -> ArchitectureError:
        """What keeps tensors that are meant for this network from being all of it."""
        name, axis = self.class_axes[0]
        own = self.shapes(shapes[name][axis])
        prefixes = ("backbone.", "neck.", "decode_head.", MERGE)
        inside = (name for name in shapes if name.startswith(prefixes) and not name.startswith(_UNUSED))
        return unfit(self.title, own, shapes, [one for one in inside if one not in own and one.endswith(".weight")])


class SenFormerArchitecture(SelfEnsemble, PlannedArchitecture):
    """One that has learners inside."""

    @property
    def per_level(self) -> int:  # type: ignore[override]
        """Learners of a level."""
        return self.plan.learners


@of_any_size
def of_shapes(shapes: Shapes) -> tuple[str, PlannedArchitecture] | None:
    """The SenFormer of these tensors. Raises `ArchitectureError` for a part of one, and sizes that no network has."""
    plan = plan_of(shapes)
    if plan is None:
        return None
    network = _of_plan(plan)
    if network.recognise(shapes) is None:
        raise network.misfit(shapes)
    return plan.name, network


@by_name
def of_name(listed: str, wanted: Mapping[str, str]) -> tuple[str, PlannedArchitecture] | None:
    """A listed one with other values, as `senformer-tiny:sharing=none,fusion=hierarchical`."""
    item = ARCHITECTURES.get(listed)
    if not isinstance(item, PlannedArchitecture):
        return None
    plan = plan_with(item.plan, wanted)
    return plan.name, _of_plan(plan)


def _plan_or_none(shapes: Shapes) -> Plan | None:
    try:
        return plan_of(shapes)
    except ArchitectureError:
        return None


@lru_cache(maxsize=16)
def _of_plan(plan: Plan) -> PlannedArchitecture:
    known = (item for _, item in ARCHITECTURES.items() if isinstance(item, PlannedArchitecture) and item.listed)
    found = next((item for item in known if item.plan == plan), None)
    return found or (PlannedArchitecture if plan.fused else SenFormerArchitecture)(plan, listed=False)


ARCHITECTURES.register("senformer-tiny")(SenFormerArchitecture(usual(TINY)))
ARCHITECTURES.register("senformer-resnet18")(SenFormerArchitecture(usual(resnet.PLANS[18])))
ARCHITECTURES.register("senformer-resnet50")(SenFormerArchitecture(usual(resnet.PLANS[50])))
ARCHITECTURES.register("senformer-resnet101")(SenFormerArchitecture(usual(resnet.PLANS[101])))
ARCHITECTURES.register("senformer-swin-t")(SenFormerArchitecture(usual(swin.PLANS["t"])))
ARCHITECTURES.register("features-fusion-tiny")(PlannedArchitecture(replace(usual(TINY), fused=True)))
ARCHITECTURES.register("features-fusion-resnet50")(PlannedArchitecture(replace(usual(resnet.PLANS[50]), fused=True)))
