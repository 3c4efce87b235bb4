"""Other names under which UperNet is stored, and what they are called here.

- The Swin release keeps its indices of positions in the file; files that leave them out get them here.
- mmsegmentation has another Swin than the release: its attention is called `attn.w_msa`, its MLP `ffn.layers`, and its
  merging of patches takes the four pixels of a channel one after another, row by row, where the release takes the
  channels of a pixel, column by column. Its tensors are put into that order, which is exact.
- Hugging Face keeps queries, keys and values apart, and recent `transformers` names its modules otherwise than its
  files: `save_pretrained` writes the names of old, `torch.save(network.state_dict(), ...)` those of the modules.
"""

from __future__ import annotations

from fusionlib.architectures.spelling import LEFT_OUT, Additions, Rule, Shape, TableOfNames
from fusionlib.architectures.swin import index_of_shape, missing_indices
from fusionlib.contracts import SPELLINGS, Turn

INDICES = Additions(missing_indices, index_of_shape)


def _by_pixels(shape: Shape) -> Turn | None:
    """The last axis, 2x2 pixels of each channel, as the channels of each of these pixels, column by column."""
    if not shape or shape[-1] % 4:
        return None
    before = tuple(range(len(shape) - 1))
    channel, row, column = len(before), len(before) + 1, len(before) + 2
    return Turn((*shape[:-1], shape[-1] // 4, 2, 2), (*before, column, row, channel))


SPELLINGS.register("upernet-swin-release")(
    TableOfNames("the Swin release, without its indices of positions", "backbone.patch_embed.proj.weight", (), INDICES)
)

_STAGE = r"^backbone\.stages\.(\d+)\."
_MMSEG = rf"{_STAGE}blocks\.(\d+)\."
_BLOCK = r"backbone.layers.\1.blocks.\2."
MMSEG_SWIN = (
    Rule(r"^backbone\.patch_embed\.projection\.", "backbone.patch_embed.proj."),
    Rule(rf"{_MMSEG}attn\.w_msa\.", f"{_BLOCK}attn."),
    Rule(rf"{_MMSEG}ffn\.layers\.0\.0\.", f"{_BLOCK}mlp.fc1."),
    Rule(rf"{_MMSEG}ffn\.layers\.1\.", f"{_BLOCK}mlp.fc2."),
    Rule(rf"{_MMSEG}norm([12])\.", rf"{_BLOCK}norm\3."),
    Rule(rf"{_STAGE}downsample\.", r"backbone.layers.\1.downsample.", turn=_by_pixels),
)
"""What the names of its Swin become here."""

SPELLINGS.register("upernet-swin-mmseg")(
    TableOfNames(
        "mmsegmentation's Swin",
        "backbone.patch_embed.projection.weight",
        MMSEG_SWIN,
        INDICES,
    )
)

_HEADS = (
    Rule(r"^(decode_head|auxiliary_head)\.([\w.]+?)\.batch_norm\.", r"\1.\2.bn."),
    Rule(r"^(decode_head|auxiliary_head)\.classifier\.", r"\1.conv_seg."),
)


def _of_hugging_face(swin: str, attention: tuple[str, str, str], table: str, output: str, mlp: tuple[str, str]):
    """Rules of its Swin: where it is, and what queries, keys and values, the table, the output and the MLP are."""
    block = rf"^backbone\.{swin}encoder\.layers\.(\d+)\.blocks\.(\d+)\."
    return (
        Rule(rf"^backbone\.{swin}embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
        Rule(rf"^backbone\.{swin}embeddings\.norm\.", "backbone.patch_embed.norm."),
        *(
            Rule(rf"{block}attention\.{name}\.", f"{_BLOCK}attn.qkv.", place=place)
            for place, name in enumerate(attention)
        ),
        Rule(rf"{block}attention\.{table}relative_position_", f"{_BLOCK}attn.relative_position_"),
        Rule(rf"{block}attention\.{output}\.", f"{_BLOCK}attn.proj."),
        Rule(rf"{block}{mlp[0]}\.", f"{_BLOCK}mlp.fc1."),
        Rule(rf"{block}{mlp[1]}\.", f"{_BLOCK}mlp.fc2."),
        Rule(rf"{block}layernorm_before\.", f"{_BLOCK}norm1."),
        Rule(rf"{block}layernorm_after\.", f"{_BLOCK}norm2."),
        Rule(rf"^backbone\.{swin}encoder\.layers\.(\d+)\.downsample\.", r"backbone.layers.\1.downsample."),
        Rule(r"^backbone\.hidden_states_norms\.stage([1-4])\.", r"backbone.norm\1.", counted=True),
        Rule(r"^backbone\.swin\.layernorm\.", LEFT_OUT),
        *_HEADS,
    )


SPELLINGS.register("upernet-swin-files")(
    TableOfNames(
        "the files of Hugging Face",
        "backbone.embeddings.patch_embeddings.projection.weight",
        _of_hugging_face(
            "",
            (r"self\.query", r"self\.key", r"self\.value"),
            r"self\.",
            r"output\.dense",
            (r"intermediate\.dense", r"output\.dense"),
        ),
        INDICES,
    )
)
SPELLINGS.register("upernet-swin-modules")(
    TableOfNames(
        "the modules of transformers",
        "backbone.swin.embeddings.patch_embeddings.projection.weight",
        _of_hugging_face(
            r"swin\.",
            ("q_proj", "k_proj", "v_proj"),
            r"relative_position_bias\.",
            "o_proj",
            (r"mlp\.fc1", r"mlp\.fc2"),
        ),
        INDICES,
    )
)

_RESNET = r"^backbone\.encoder\.stages\."
SPELLINGS.register("upernet-resnet-transformers")(
    TableOfNames(
        "Hugging Face",
        "backbone.embedder.embedder.convolution.weight",
        (
            Rule(r"^backbone\.embedder\.embedder\.convolution\.", "backbone.conv1."),
            Rule(r"^backbone\.embedder\.embedder\.normalization\.", "backbone.bn1."),
            *(
                Rule(
                    rf"{_RESNET}{stage}\.layers\.(\d+)\.layer\.{place}\.{theirs}\.",
                    rf"backbone.layer{stage + 1}.\1.{ours}{place + 1}.",
                )
                for stage in range(4)
                for place in range(3)
                for theirs, ours in (("convolution", "conv"), ("normalization", "bn"))
            ),
            *(
                Rule(
                    rf"{_RESNET}{stage}\.layers\.(\d+)\.shortcut\.{theirs}\.",
                    rf"backbone.layer{stage + 1}.\1.downsample.{place}.",
                )
                for stage in range(4)
                for place, theirs in enumerate(("convolution", "normalization"))
            ),
            *_HEADS,
        ),
    )
)
