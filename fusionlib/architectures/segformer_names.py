"""Other names under which SegFormer is stored, and what they are called here.

- Recent `transformers` names its modules otherwise than its files, as `segformer.stages.0.blocks.1.attention.q_proj`:
  `save_pretrained` writes the names of old, `torch.save(network.state_dict(), ...)` those of the modules.
- The authors' code (NVlabs/SegFormer) keeps keys and values in one tensor, and has a classifier that nothing reads.
- mmsegmentation keeps queries, keys and values in one tensor, and linear layers of the Mix-FFN as 1x1 convolutions.
"""

from __future__ import annotations

from fusionlib.architectures.spelling import LEFT_OUT, Rule, TableOfNames
from fusionlib.contracts import SPELLINGS

_BLOCK = r"segformer.encoder.block.\1.\2."
_SELF = f"{_BLOCK}attention.self."

_MODULES = r"^segformer\.stages\.(\d)\."
_OF_MODULES = rf"{_MODULES}blocks\.(\d+)\."
SPELLINGS.register("segformer-transformers")(
    TableOfNames(
        "the modules of transformers",
        "segformer.stages.0.patch_embeddings.proj.weight",
        (
            Rule(rf"{_MODULES}patch_embeddings\.", r"segformer.encoder.patch_embeddings.\1."),
            Rule(rf"{_MODULES}layer_norm\.", r"segformer.encoder.layer_norm.\1."),
            Rule(rf"{_OF_MODULES}layernorm_before\.", f"{_BLOCK}layer_norm_1."),
            Rule(rf"{_OF_MODULES}layernorm_after\.", f"{_BLOCK}layer_norm_2."),
            Rule(rf"{_OF_MODULES}attention\.q_proj\.", f"{_SELF}query."),
            Rule(rf"{_OF_MODULES}attention\.k_proj\.", f"{_SELF}key."),
            Rule(rf"{_OF_MODULES}attention\.v_proj\.", f"{_SELF}value."),
            Rule(rf"{_OF_MODULES}attention\.sequence_reduction\.sequence_reduction\.", f"{_SELF}sr."),
            Rule(rf"{_OF_MODULES}attention\.sequence_reduction\.layer_norm\.", f"{_SELF}layer_norm."),
            Rule(rf"{_OF_MODULES}attention\.o_proj\.", f"{_BLOCK}attention.output.dense."),
            Rule(rf"{_OF_MODULES}mlp\.fc(\d)\.", rf"{_BLOCK}mlp.dense\3."),
            Rule(rf"{_OF_MODULES}mlp\.dwconv\.dwconv\.", f"{_BLOCK}mlp.dwconv.dwconv."),
            Rule(r"^decode_head\.linear_projections\.", "decode_head.linear_c."),
        ),
    )
)

_AUTHORS = r"^backbone\.block([1-4])\.(\d+)\."
SPELLINGS.register("segformer-nvlabs")(
    TableOfNames(
        "NVlabs/SegFormer",
        "backbone.patch_embed1.proj.weight",
        (
            Rule(
                r"^backbone\.patch_embed([1-4])\.proj\.", r"segformer.encoder.patch_embeddings.\1.proj.", counted=True
            ),
            Rule(
                r"^backbone\.patch_embed([1-4])\.norm\.",
                r"segformer.encoder.patch_embeddings.\1.layer_norm.",
                counted=True,
            ),
            Rule(r"^backbone\.norm([1-4])\.", r"segformer.encoder.layer_norm.\1.", counted=True),
            Rule(rf"{_AUTHORS}norm([12])\.", rf"{_BLOCK}layer_norm_\3.", counted=True),
            Rule(rf"{_AUTHORS}attn\.q\.", f"{_SELF}query.", counted=True),
            Rule(rf"{_AUTHORS}attn\.kv\.", (f"{_SELF}key.", f"{_SELF}value."), counted=True),
            Rule(rf"{_AUTHORS}attn\.sr\.", f"{_SELF}sr.", counted=True),
            Rule(rf"{_AUTHORS}attn\.norm\.", f"{_SELF}layer_norm.", counted=True),
            Rule(rf"{_AUTHORS}attn\.proj\.", f"{_BLOCK}attention.output.dense.", counted=True),
            Rule(rf"{_AUTHORS}mlp\.fc([12])\.", rf"{_BLOCK}mlp.dense\3.", counted=True),
            Rule(rf"{_AUTHORS}mlp\.dwconv\.dwconv\.", f"{_BLOCK}mlp.dwconv.dwconv.", counted=True),
            Rule(r"^decode_head\.linear_c([1-4])\.proj\.", r"decode_head.linear_c.\1.proj.", counted=True),
            Rule(r"^decode_head\.linear_fuse\.conv\.", "decode_head.linear_fuse."),
            Rule(r"^decode_head\.linear_fuse\.bn\.", "decode_head.batch_norm."),
            Rule(r"^decode_head\.linear_pred\.", "decode_head.classifier."),
            Rule(r"^decode_head\.conv_seg\.", LEFT_OUT),
        ),
    )
)

_MMSEG = r"^backbone\.layers\.([0-3])\.1\.(\d+)\."
SPELLINGS.register("segformer-mmseg")(
    TableOfNames(
        "mmsegmentation",
        "backbone.layers.0.0.projection.weight",
        (
            Rule(r"^backbone\.layers\.([0-3])\.0\.projection\.", r"segformer.encoder.patch_embeddings.\1.proj."),
            Rule(r"^backbone\.layers\.([0-3])\.0\.norm\.", r"segformer.encoder.patch_embeddings.\1.layer_norm."),
            Rule(r"^backbone\.layers\.([0-3])\.2\.", r"segformer.encoder.layer_norm.\1."),
            Rule(rf"{_MMSEG}norm([12])\.", rf"{_BLOCK}layer_norm_\3."),
            Rule(
                rf"{_MMSEG}attn\.attn\.in_proj_(weight|bias)$",
                (rf"{_SELF}query.\3", rf"{_SELF}key.\3", rf"{_SELF}value.\3"),
            ),
            Rule(rf"{_MMSEG}attn\.attn\.out_proj\.", f"{_BLOCK}attention.output.dense."),
            Rule(rf"{_MMSEG}attn\.sr\.", f"{_SELF}sr."),
            Rule(rf"{_MMSEG}attn\.norm\.", f"{_SELF}layer_norm."),
            Rule(rf"{_MMSEG}ffn\.layers\.0\.", f"{_BLOCK}mlp.dense1.", flat=True),
            Rule(rf"{_MMSEG}ffn\.layers\.1\.", f"{_BLOCK}mlp.dwconv.dwconv."),
            Rule(rf"{_MMSEG}ffn\.layers\.4\.", f"{_BLOCK}mlp.dense2.", flat=True),
        ),
    )
)
