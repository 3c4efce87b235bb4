"""Sizes of a Segmenter: as published, as read off the shapes of its tensors, and how they are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace

from fusionlib.architectures.vit import HEAD, ViTPlan, block_count, heads_of, vit_plan, within
from fusionlib.errors import ArchitectureError

Shapes = Mapping[str, tuple[int, ...]]

SIZES = {(192, 12): "t", (384, 12): "s", (768, 12): "b", (1024, 24): "l"}
"""Width and depth of Table 1."""

LABELS = 1000
"""Classes of ImageNet, whose classifier the public files keep."""

_STEPS = {512: 512, 640: 640}
"""Windows of ADE20K lie side by side; others overlap by a third, as those of Cityscapes and Pascal Context."""


@dataclass(frozen=True)
class Plan:
    """The encoder, and the decoder: `layers` blocks of `width` channels and `hidden` units, None for a linear one.

    `mmseg`: as mmsegmentation has it.
    """

    encoder: ViTPlan
    layers: int | None = None
    width: int = 0
    hidden: int = 0
    mmseg: bool = False

    @property
    def masks(self) -> bool:
        """Whether the decoder is a mask transformer."""
        return self.layers is not None

    @property
    def step(self) -> int:
        """Pixels from window to window, as the public configurations have them for pictures of such a side."""
        side = self.encoder.side
        if self.mmseg:
            return max(side - 32, -(-side // 2))
        return _STEPS.get(side, max(1, side * 2 // 3))

    @property
    def title(self) -> str:
        """In words."""
        encoder = self.encoder
        size = SIZES.get((encoder.width, encoder.depth), f"{encoder.width}x{encoder.depth}").upper()
        blocks = f"mask decoder of {self.layers} block{'' if self.layers == 1 else 's'}"
        decoder = blocks if self.masks else "linear decoder"
        code = " of mmsegmentation" if self.mmseg else ""
        return f"Segmenter{code}, ViT-{size}/{encoder.patch}, {decoder}, {encoder.side} pixels"

    @property
    def name(self) -> str:
        """That of the listed network of its size, and what is different."""
        encoder = self.encoder
        usual = usual_plan(encoder.width, encoder.depth, encoder.patch, self.masks, self.mmseg)
        size = SIZES.get((encoder.width, encoder.depth), f"{encoder.width}x{encoder.depth}-")
        name = f"segmenter-{'mmseg-' * self.mmseg}{size}{encoder.patch}{'-mask' * self.masks}"
        other = [*_differences(encoder, usual.encoder), *_differences(replace(self, encoder=usual.encoder), usual)]
        return f"{name}:{','.join(other)}" if other else name


def published(size: str, masks: bool, mmseg: bool = False) -> Plan:
    """The network of a letter, with patches of 16."""
    width, depth = next(sizes for sizes, letter in SIZES.items() if letter == size)
    return usual_plan(width, depth, 16, masks, mmseg)


def usual_plan(width: int, depth: int, patch: int, masks: bool, mmseg: bool) -> Plan:
    """As the public configurations have it: trained on pictures of 512 pixels, of 640 where it is L."""
    side = 640 if (width, depth) == (1024, 24) else 512
    encoder = ViTPlan(width, depth, patch, max(1, side // patch), width // HEAD, 4 * width)
    if not mmseg:
        encoder = replace(encoder, labels=LABELS, epsilon=1e-5, resizing="bilinear")
    return Plan(encoder, 2, width, 4 * width, mmseg) if masks else Plan(encoder, mmseg=mmseg)


def plan_of(shapes: Shapes) -> Plan | None:
    """What tensors of these shapes are meant to be; None for other networks.

    Raises `ArchitectureError` where heads, the grid of positions or the number of blocks cannot be told.
    """
    marks = ("decoder.cls_emb", "decoder.proj_dec.weight", "decoder.mask_norm.weight")
    masks = any(name in shapes for name in marks)
    if not masks and "decoder.head.weight" not in shapes and "decoder.conv_seg.weight" not in shapes:
        return None
    mmseg = "decoder.proj_patch.weight" in shapes or "decoder.conv_seg.weight" in shapes
    encoder = vit_plan(shapes, "encoder.", 1e-6, "bicubic") if mmseg else vit_plan(shapes, "encoder.", 1e-5, "bilinear")
    if encoder is None or not masks:
        return encoder and Plan(encoder, mmseg=mmseg)
    projected, units = shapes.get("decoder.proj_dec.weight", ()), shapes.get("decoder.blocks.0.mlp.fc1.weight", ())
    width = projected[0] if projected else encoder.width
    hidden = units[0] if units else 4 * width
    within("decoder.blocks.0.mlp.fc1.weight", hidden)
    heads_of(width, "decoder.proj_dec.weight")
    return Plan(encoder, block_count(shapes, "decoder.blocks."), width, hidden, mmseg)


def backbone_of(shapes: Shapes) -> ViTPlan | None:
    """The Vision Transformer that all of these tensors belong to, with or without its classifier; None for others."""
    for prefix in ("encoder.", ""):
        with suppress(ArchitectureError):
            found = vit_plan(shapes, prefix)
            if found is not None and all(name.startswith(tuple(f"{prefix}{own}" for own in _OWN)) for name in shapes):
                return found
    return None


_OWN = ("cls_token", "dist_token", "pos_embed", "patch_embed.", "blocks.", "norm.", "head", "fc_norm.", "pre_logits.")


def _differences(one: object, other: object) -> Iterator[str]:
    for item in fields(one):  # type: ignore[arg-type]
        if (value := getattr(one, item.name)) != getattr(other, item.name):
            yield f"{item.name}={value}"
