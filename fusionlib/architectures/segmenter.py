"""Segmenter: a Vision Transformer, and a decoder of its patches, linear or a mask transformer.

Source: Strudel, Garcia, Laptev, Schmid, "Segmenter: Transformer for Semantic Segmentation", 2021, sections 3.1 and 3.2.
Tensors are named as in rstrudel/segmenter. What its code does and the paper does not say: norms have an epsilon of
1e-5; positions are resized bilinearly; patches and classes have length 1 before their product (Equation 5), and a norm
over the classes follows it. That code compares numbers of patches, and this one the sides of the grid: the two differ
for a picture of another shape and as many patches.

mmsegmentation has the same networks with 1e-6 in the encoder, bicubic positions, and projections as layers: networks of
their own here. Its names are in `fusionlib.architectures.segmenter_names`.

Width, depth, patch, grid and the decoder's blocks are read off the shapes; heads have 64 channels. Pictures are seen
through windows of the side that the positions are stored for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor, nn

from fusionlib.architectures.built_in import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BuiltIn,
    Shapes,
    in_turn,
    repeated,
    with_classes,
)
from fusionlib.architectures.segmenter_plan import Plan, backbone_of, plan_of, published
from fusionlib.architectures.sized import WHOLE, of_any_size, unfit
from fusionlib.architectures.vit import HEAD, Block, Tokens, ViT, as_map, transformed
from fusionlib.architectures.vit_permutations import along_blocks, inside_blocks, made_by, read_by, vit_permutations
from fusionlib.contracts import ARCHITECTURES, Architecture, Permutation, Preprocessing, Stage
from fusionlib.errors import ArchitectureError

_NAMES = "rstrudel/segmenter (encoder.blocks, decoder.head or decoder.cls_emb); other sizes, patches and sides too"
_MMSEG_NAMES = "mmsegmentation (backbone.layers, decode_head.conv_seg or decode_head.cls_emb); other sizes too"
_CLASSES = "decoder.cls_emb"
_BLOCKS = ("encoder.blocks.", "decoder.blocks.")
_PROFILED = ("total_ops", "total_params")
_HALF = (0.5, 0.5, 0.5)


class LinearDecoder(nn.Module):
    """Each patch by itself (section 3.2)."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        if plan.mmseg:
            self.conv_seg = nn.Conv2d(plan.encoder.width, classes, 1)
        else:
            self.head = nn.Linear(plan.encoder.width, classes)

    def forward(self, state: Tokens) -> Tensor:
        x, height, width = state
        if hasattr(self, "conv_seg"):
            return self.conv_seg(as_map(x, height, width))
        return as_map(self.head(x), height, width)

    def stages(self, prefix: str) -> Iterator[Stage]:
        """One."""
        yield Stage(prefix.rstrip("."), self)


class MaskTransformer(nn.Module):
    """Patches and one embedding a class through blocks together, then how much each patch is like each class."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        width = plan.width
        self.cls_emb = nn.Parameter(torch.empty(1, classes, width))
        nn.init.trunc_normal_(self.cls_emb, std=0.02)
        if not plan.mmseg:
            self.proj_patch = nn.Parameter(torch.empty(width, width))
            self.proj_classes = nn.Parameter(torch.empty(width, width))
            for table in (self.proj_patch, self.proj_classes):
                nn.init.trunc_normal_(table, std=width**-0.5)
        self.blocks = nn.ModuleList(Block(width, width // HEAD, plan.hidden, 1e-5) for _ in range(plan.layers or 0))
        self.proj_dec = nn.Linear(plan.encoder.width, width)
        if plan.mmseg:
            self.proj_patch = nn.Linear(width, width, bias=False)
            self.proj_classes = nn.Linear(width, width, bias=False)
        self.decoder_norm = nn.LayerNorm(width)
        self.mask_norm = nn.LayerNorm(classes)

    def stages(self, prefix: str) -> Iterator[Stage]:
        """The projection, every block, the masks."""
        yield Stage(f"{prefix}proj_dec", self.enter, (f"{prefix}proj_dec", f"{prefix}cls_emb"))
        for number, block in enumerate(self.blocks):
            yield Stage(f"{prefix}blocks.{number}", partial(transformed, block))
        reads = ("decoder_norm", "proj_patch", "proj_classes", "mask_norm")
        yield Stage(f"{prefix}mask_norm", self.leave, tuple(f"{prefix}{name}" for name in reads))

    def enter(self, state: Tokens) -> Tokens:
        """Patches at the decoder's width, the classes behind them."""
        x, height, width = state
        return torch.cat((self.proj_dec(x), self.cls_emb.expand(len(x), -1, -1)), 1), height, width

    def leave(self, state: Tokens) -> Tensor:
        """Cosines of patches and classes (Equation 5, both of length 1), normed over the classes: `(N, C, h, w)`."""
        x, height, width = state
        patches, classes = self.decoder_norm(x).tensor_split((height * width,), 1)
        patches, classes = _unit(self.proj_patch, patches), _unit(self.proj_classes, classes)
        return as_map(self.mask_norm(patches @ classes.transpose(1, 2)), height, width)


def _unit(projection: nn.Module | Tensor, x: Tensor) -> Tensor:
    """Projected, and of length 1."""
    return nn.functional.normalize(projection(x) if isinstance(projection, nn.Module) else x @ projection, dim=-1)


class Segmenter(nn.Module):
    """Input `(N, 3, H, W)` float32, output logits `(N, classes, H / patch, W / patch)`, sides rounded up."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.encoder = ViT(plan.encoder)
        self.decoder = (MaskTransformer if plan.masks else LinearDecoder)(plan, classes)

    def stages(self) -> tuple[Stage, ...]:
        """Those of the encoder and of the decoder."""
        return *self.encoder.stages("encoder."), *self.decoder.stages("decoder.")

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self.stages(), x)


class SegmenterArchitecture(BuiltIn):
    """The network of a plan; `listed` where it is one of those that lists name.

    Units inside of heads, of MLPs and along the blocks may change places; whole heads keep theirs.
    """

    def __init__(self, plan: Plan, listed: bool = True) -> None:
        outputs = "mask_norm" if plan.masks else "conv_seg" if plan.mmseg else "head"
        super().__init__(
            plan.title,
            "Strudel et al. 2021, Segmenter: Transformer for Semantic Segmentation",
            partial(Segmenter, plan),
            head=("decoder",),
            outputs=(
                f"decoder.{outputs}.weight",
                f"decoder.{outputs}.bias",
                *([(_CLASSES, 1)] if plan.masks else []),
            ),
            names=_MMSEG_NAMES if plan.mmseg else _NAMES,
            stride=plan.encoder.patch,
            movable=False,
        )
        self.plan, self.listed = plan, listed
        self.code = f"{self.code} {plan}"
        of_deit = plan.encoder.extra > 1  # whose pictures are normed as those of ImageNet classifiers
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if of_deit else (_HALF, _HALF)
        self.preprocessing = Preprocessing(mean, std, channels_last=True, window=(plan.encoder.side, plan.step))

    @cached_property
    def permutations(self) -> Sequence[Permutation]:
        """Those that change no output, found out when they are first asked for."""
        return tuple(_permutations(self.plan))

    def recognise(self, shapes: Shapes) -> int | None:
        """As of every built-in network; nor may there be a further tensor in its blocks, such as a scale of layers."""
        classes = super().recognise(shapes)
        return None if classes is None or _further(self.shapes(classes), shapes) else classes

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape by name of its tensors. Blocks are alike: only the first of them are made."""
        found = with_classes(self._of_first_blocks, self.class_axes, classes)
        for start, count in zip(_BLOCKS, (self.plan.encoder.depth, self.plan.layers or 0), strict=True):
            found = repeated(found, start, count)
        return found

    @cached_property
    def _of_first_blocks(self) -> Shapes:
        layers = self.plan.layers and 1
        with torch.device("meta"):
            first = Segmenter(replace(self.plan, encoder=replace(self.plan.encoder, depth=1), layers=layers), 1)
        return {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()}


def _permutations(plan: Plan) -> Iterator[Permutation]:
    reader = "proj_dec" if plan.masks else "conv_seg" if plan.mmseg else "head"
    yield from vit_permutations("encoder.", plan.encoder, read_by(f"decoder.{reader}"))
    if plan.layers is None:
        return
    tables = [f"decoder.{name}{'.weight' * plan.mmseg}" for name in ("proj_patch", "proj_classes")]
    inputs, outputs = (1, 0) if plan.mmseg else (0, 1)
    stream = (
        *made_by("decoder.proj_dec"),
        (_CLASSES, 2, 0),
        *along_blocks("decoder.blocks.", plan.layers),
        *made_by("decoder.decoder_norm"),
        *((table, inputs, 0) for table in tables),
    )
    yield Permutation("decoder.proj_dec", plan.width, stream)
    yield from inside_blocks("decoder.blocks.", plan.layers, plan.width, plan.width // HEAD, plan.hidden)
    yield Permutation(tables[0], plan.width, tuple((table, outputs, 0) for table in tables))


@of_any_size
def of_shapes(shapes: Shapes) -> tuple[str, Architecture] | None:
    """The Segmenter of these tensors. Raises `ArchitectureError` for a part of one, and where sizes cannot be told."""
    plan = plan_of(shapes)
    if plan is None:
        if (backbone := backbone_of(shapes)) is not None:
            what = f"{backbone.depth} blocks of {backbone.width} channels, patches of {backbone.patch}"
            raise ArchitectureError(f"they are a Vision Transformer alone ({what})", "a decoder beside it", WHOLE)
        return None
    network = _of_plan(plan)
    if network.recognise(shapes) is None:
        raise _unfit(network, shapes)
    return plan.name, network


@lru_cache(maxsize=16)
def _of_plan(plan: Plan) -> SegmenterArchitecture:
    return SegmenterArchitecture(plan, listed=False)


def _unfit(network: SegmenterArchitecture, shapes: Shapes) -> ArchitectureError:
    told = [shapes[name][axis] for name, axis in network.class_axes if len(shapes.get(name, ())) > axis]
    own = network.shapes(max(told, default=0))
    return unfit(network.title, own, shapes, _further(own, shapes))


def _further(own: Shapes, shapes: Shapes) -> list[str]:
    """Tensors in blocks that are none of the network's; counts that profilers leave behind are no matter."""
    in_blocks = (name for name in shapes if name.startswith(_BLOCKS) and name not in own)
    return [name for name in in_blocks if name.rpartition(".")[2] not in _PROFILED]


def _listed(size: str, masks: bool = False, mmseg: bool = False) -> SegmenterArchitecture:
    return SegmenterArchitecture(published(size, masks, mmseg))


ARCHITECTURES.register("segmenter-t16")(_listed("t"))
ARCHITECTURES.register("segmenter-s16")(_listed("s"))
ARCHITECTURES.register("segmenter-b16")(_listed("b"))
ARCHITECTURES.register("segmenter-l16")(_listed("l"))
ARCHITECTURES.register("segmenter-t16-mask")(_listed("t", masks=True))
ARCHITECTURES.register("segmenter-s16-mask")(_listed("s", masks=True))
ARCHITECTURES.register("segmenter-b16-mask")(_listed("b", masks=True))
ARCHITECTURES.register("segmenter-l16-mask")(_listed("l", masks=True))
ARCHITECTURES.register("segmenter-mmseg-t16")(_listed("t", mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-s16")(_listed("s", mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-b16")(_listed("b", mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-l16")(_listed("l", mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-t16-mask")(_listed("t", masks=True, mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-s16-mask")(_listed("s", masks=True, mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-b16-mask")(_listed("b", masks=True, mmseg=True))
ARCHITECTURES.register("segmenter-mmseg-l16-mask")(_listed("l", masks=True, mmseg=True))
