"""The names of mmsegmentation, and what they are called here.

Its two decoders have a table each: the class `conv_seg` that the linear one is lies unread in early files of the mask
transformer, where it keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from fusionlib.architectures.segmenter import of_shapes
from fusionlib.architectures.sized import of_any_size
from fusionlib.architectures.spelling import Rule, TableOfNames
from fusionlib.contracts import SPELLINGS, Architecture
from fusionlib.errors import ArchitectureError

TITLE = "mmsegmentation"
_BACKBONE = "backbone.layers.0.attn.attn.in_proj_weight"


def _of_blocks(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for blocks whose names begin with `theirs` and a number."""
    block, named = rf"^{theirs}(\d+)\.", rf"{ours}\1."
    return (
        Rule(rf"{block}ln([12])\.", rf"{named}norm\2."),
        Rule(rf"{block}attn\.attn\.in_proj_(weight|bias)$", rf"{named}attn.qkv.\2"),
        Rule(rf"{block}attn\.attn\.out_proj\.", f"{named}attn.proj."),
        Rule(rf"{block}ffn\.layers\.0\.0\.", f"{named}mlp.fc1."),
        Rule(rf"{block}ffn\.layers\.1\.", f"{named}mlp.fc2."),
    )


_ENCODER = (
    Rule(r"^backbone\.patch_embed\.projection\.", "encoder.patch_embed.proj."),
    Rule(r"^backbone\.ln1\.", "encoder.norm."),
    *_of_blocks(r"backbone\.layers\.", "encoder.blocks."),
    Rule(r"^backbone\.", "encoder."),
)
MASKS = TableOfNames(
    TITLE,
    "decode_head.cls_emb",
    (
        *_ENCODER,
        *_of_blocks(r"decode_head\.layers\.", "decoder.blocks."),
        Rule(r"^decode_head\.dec_proj\.", "decoder.proj_dec."),
        Rule(r"^decode_head\.patch_proj\.", "decoder.proj_patch."),
        Rule(r"^decode_head\.classes_proj\.", "decoder.proj_classes."),
        Rule(r"^decode_head\.(cls_emb$|decoder_norm\.|mask_norm\.)", r"decoder.\1"),
    ),
)
LINEAR = TableOfNames(TITLE, "decode_head.conv_seg.weight", (*_ENCODER, Rule(r"^decode_head\.", "decoder.")))
SPELLINGS.register("segmenter-mmseg-mask")(MASKS)
SPELLINGS.register("segmenter-mmseg-linear")(LINEAR)


@of_any_size
def unfit_of_mmseg(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, Architecture] | None:
    """None: a table gives whole networks other names. Raises `ArchitectureError` for a part of one."""
    if _BACKBONE in shapes:
        masks = any(
            name.startswith(("decode_head.cls_emb", "decode_head.dec_proj.", "decode_head.layers.")) for name in shapes
        )
        try:
            of_shapes((MASKS if masks else LINEAR).renamed(shapes) or {})
        except ArchitectureError as problem:
            raise ArchitectureError(
                f"under the names that they have here, {problem.got}", problem.needs, problem.do
            ) from problem
    return None
