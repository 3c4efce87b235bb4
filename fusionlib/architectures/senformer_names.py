"""Other names under which SenFormer is stored: the released code takes its window blocks from mmsegmentation.

Its attention is called `attn.w_msa` and its MLP `ffn.layers` there, in the pyramid as in the backbone of a Swin, whose
merging of patches has another order too (`fusionlib.architectures.upernet_names`).
"""

from __future__ import annotations

from fusionlib.architectures.spelling import Rule, TableOfNames
from fusionlib.architectures.upernet_names import INDICES, MMSEG_SWIN
from fusionlib.contracts import SPELLINGS

_THEIRS = r"^neck\.fpn_swins\.(\d+)\.swin_blocks\.blocks\.(\d+)\."
_OURS = r"neck.fpn_swins.\1.swin_blocks.blocks.\2."

SPELLINGS.register("senformer-release")(
    TableOfNames(
        "the release of SenFormer",
        "neck.fpn_swins.0.swin_blocks.blocks.0.attn.w_msa.qkv.weight",
        (
            Rule(rf"{_THEIRS}attn\.w_msa\.", f"{_OURS}attn."),
            Rule(rf"{_THEIRS}ffn\.layers\.0\.0\.", f"{_OURS}mlp.fc1."),
            Rule(rf"{_THEIRS}ffn\.layers\.1\.", f"{_OURS}mlp.fc2."),
            *MMSEG_SWIN,
        ),
        INDICES,
    )
)
