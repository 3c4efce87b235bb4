"""SenUperNet: the pyramid of UperNet with a small convolutional decoder at each level, whose answers are averaged.

Source: "Efficient Self-Ensemble for Semantic Segmentation", section 4.2 and Table 4. Its code is not released: names
are those of mmsegmentation's UperNet, with `decode_head.learners` in place of its fusion. A decoder is a 3x3
convolution with batch norm and ReLU and a 1x1 classifier: with ResNet-50, 150 classes and its deep stem that takes the
135 G multiplications at 512x512 that Table 4 prints. Its 70 M parameters are 64.3 here, 66.7 with the auxiliary head
that its 67 for UperNet has; what the others are is not said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

from torch import Tensor, nn

from fusionlib.architectures import backbones, resnet
from fusionlib.architectures.built_in import BuiltIn, Shapes
from fusionlib.architectures.self_ensemble import Maps, SelfEnsemble, SelfEnsembleNetwork, State
from fusionlib.architectures.sized import of_any_size, unfit
from fusionlib.architectures.upernet import PooledPyramid, Unit, resized
from fusionlib.architectures.upernet_plan import Plan, backbone_of
from fusionlib.architectures.vit import within
from fusionlib.contracts import ARCHITECTURES, FUSIONS, Stage
from fusionlib.errors import ArchitectureError

_LEARNER, _CONV = "decode_head.learners.", "decode_head.learners.0.conv.conv.weight"


class Learner(nn.Module):
    """The decoder of one level."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = Unit(channels, channels, 3)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_seg(self.conv(x))


class Head(PooledPyramid):
    """The pyramid, and a decoder at each of its levels."""

    def __init__(self, widths: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__(widths, channels)
        self.learners = nn.ModuleList(Learner(channels, classes) for _ in widths)

    def answer(self, number: int, state: Maps | State) -> State:
        """Logits of one learner, at the sides of the finest level, beside those that are there."""
        maps, done = state if number else (state, ())
        return maps, (*done, resized(self.learners[number](maps[number]), maps[0]))  # type: ignore[return-value, arg-type]

    def stages(self, prefix: str) -> list[Stage]:
        """The pyramid, then every learner."""
        learners = range(len(self.learners))
        own = [Stage(f"{prefix}learners.{number}", partial(self.answer, number)) for number in learners]
        return [*super().stages(prefix), *own]


class SenUperNet(SelfEnsembleNetwork):
    """See `SelfEnsembleNetwork`."""

    fusion_name, merge = "average", None

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.backbone = backbones.made(plan.backbone)
        self.decode_head = Head(plan.widths, plan.channels, classes)
        self.fusion = FUSIONS.get(self.fusion_name)()

    def steps(self) -> Sequence[Stage]:
        """Every block of the backbone, the pyramid, every learner."""
        return *backbones.stages(self.backbone, "backbone."), *self.decode_head.stages("decode_head.")


class SenUperNetArchitecture(SelfEnsemble, BuiltIn):
    """The network of a plan; `listed` where it is one of those that lists name. Its units keep their places."""

    def __init__(self, plan: Plan, listed: bool = True) -> None:
        classifiers = [f"{_LEARNER}{number}.conv_seg" for number in range(len(backbones.STRIDES))]
        super().__init__(
            f"Sen{plan.title}",
            "Bousselham et al. 2021, Efficient Self-Ensemble for Semantic Segmentation, section 4.2",
            partial(SenUperNet, plan),
            head=("decode_head", "auxiliary_head"),
            outputs=tuple(f"{name}.{leaf}" for name in classifiers for leaf in ("weight", "bias")),
            names="mmsegmentation's UperNet (decode_head.psp_modules), with decode_head.learners; other sizes too",
            stride=32,
            movable=False,
        )
        self.code = f"{self.code} {plan} {FUSIONS.get(SenUperNet.fusion_name).version}"
        self.plan, self.listed = plan, listed

    def recognise(self, shapes: Shapes) -> int | None:
        """As `BuiltIn`, without making networks of other sizes than the tensors have."""
        fits = _CONV in shapes and _plan_or_none(shapes) == self.plan
        return super().recognise(shapes) if fits else None


@of_any_size
def of_shapes(shapes: Shapes) -> tuple[str, SenUperNetArchitecture] | None:
    """The SenUperNet of these tensors. Raises `ArchitectureError` for a part of one, and sizes that no network has."""
    plan = _plan_of(shapes)
    if plan is None:
        return None
    network = _of_plan(plan)
    if network.recognise(shapes) is None:
        own = network.shapes(next((shapes[name][0] for name, _ in network.class_axes if shapes.get(name)), 0))
        inside = (name for name in shapes if name.startswith(("backbone.", "decode_head.")) and name not in own)
        raise unfit(network.title, own, shapes, [name for name in inside if name.endswith(".weight")])
    return f"sen{plan.name}", network


def _plan_of(shapes: Shapes) -> Plan | None:
    backbone = backbone_of(shapes) if len(shapes.get(_CONV, ())) == 4 else None
    if backbone is None:
        return None
    within(_CONV, shapes[_CONV][0])
    return Plan(backbone, shapes[_CONV][0])


def _plan_or_none(shapes: Shapes) -> Plan | None:
    try:
        return _plan_of(shapes)
    except ArchitectureError:
        return None


@lru_cache(maxsize=16)
def _of_plan(plan: Plan) -> SenUperNetArchitecture:
    known = (item for _, item in ARCHITECTURES.items() if isinstance(item, SenUperNetArchitecture) and item.listed)
    return next((item for item in known if item.plan == plan), None) or SenUperNetArchitecture(plan, listed=False)


ARCHITECTURES.register("senupernet-tiny")(SenUperNetArchitecture(Plan(backbones.TINY, 64)))
ARCHITECTURES.register("senupernet-resnet50")(SenUperNetArchitecture(Plan(resnet.PLANS[50])))
