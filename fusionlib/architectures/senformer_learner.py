"""The transformer that answers from one level of a pyramid: class embeddings that look at its tokens.

Source: "Efficient Self-Ensemble for Semantic Segmentation", section 3.3 and Annex B, Equation 6. Names are those of the
released code (`decode_head.learners`), and so are the steps that the text leaves open, see `READINGS`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fusionlib.architectures.vit import MLP, Attention

EXPANSION = 4
"""Of the channels inside of the MLP."""

READINGS = {
    "released": "tokens and final embeddings are normed; heads, biases and an output projection (the released code)",
    "raw": "attention reads normed tokens, the product has raw tokens and raw embeddings, as the text says",
    "paper": "Equation 6 as printed: raw tokens throughout, one head, scale sqrt(D), no bias and no projection",
}
"""How attention and the final product are read; tensors tell which."""


class CrossAttention(nn.Module):
    """Queries (N, C, d) look at tokens (N, T, d): `softmax(Q K^T / sqrt(d / heads)) V`, projected."""

    def __init__(self, width: int, heads: int, projected: bool = True) -> None:
        super().__init__()
        self.heads = heads if projected else 1
        self.kv = nn.Linear(width, 2 * width, bias=projected)
        if projected:
            self.proj = nn.Linear(width, width)
        self.to_q = nn.Linear(width, width, bias=projected)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """As declared."""
        keys, values = self.kv(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        asked = self.to_q(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(asked, keys, values).transpose(1, 2).flatten(2)
        return self.proj(found) if hasattr(self, "proj") else found


class DecoderBlock(nn.Module):
    """`cls += CA(LN cls, z)`, `cls += SA(LN cls)`, `cls += MLP(LN cls)`.

    With `post_norm` `cls = LN(cls + CA(cls, z))` and so on (Table 13b): the same tensors, which compute something else.
    """

    def __init__(self, width: int, heads: int, reading: str, post_norm: bool) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn = Attention(width, heads)
        self.cross_attn = CrossAttention(width, heads, projected=reading != "paper")
        self.mlp = MLP(width, EXPANSION * width)

    def forward(self, classes: Tensor, tokens: Tensor) -> Tensor:
        if self.post_norm:
            classes = self.norm1(classes + self.cross_attn(classes, tokens))
            classes = self.norm2(classes + self.attn(classes))
            return self.norm3(classes + self.mlp(classes))
        classes = classes + self.cross_attn(self.norm1(classes), tokens)
        classes = classes + self.attn(self.norm2(classes))
        return classes + self.mlp(self.norm3(classes))


class ClassEmbeddings(nn.Module):
    """One vector a class, 0 at first."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(1, classes, width))


class Decoder(nn.Module):
    """Blocks, and the norms around them; with its own class embeddings where `classes` is above 0.

    `blocks` of them are gone through in turn, again and again until it is `depth` turns: a single one is the sharing
    that the paper calls repeated.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        blocks: int,
        depth: int,
        classes: int = 0,
        reading: str = "released",
        post_norm: bool = False,
    ) -> None:
        super().__init__()
        self.depth, self.reading = depth, reading
        if classes:
            self.queries = nn.Parameter(torch.zeros(1, classes, width))
        self.layers = nn.ModuleList(DecoderBlock(width, heads, reading, post_norm) for _ in range(blocks))
        if reading != "paper":
            self.norm_features = nn.LayerNorm(width)
        if reading == "released":
            self.norm_embs = nn.LayerNorm(width)

    def forward(self, x: Tensor, queries: Tensor) -> Tensor:
        """A map (N, d, h, w) and class embeddings (1, C, d) -> logits (N, C, h, w): `z cls^T`."""
        raw = x.flatten(2).transpose(1, 2)
        tokens = raw if self.reading == "paper" else self.norm_features(raw)
        classes = queries.expand(len(x), -1, -1)
        for turn in range(self.depth):
            classes = self.layers[turn % len(self.layers)](classes, tokens)
        if self.reading == "released":
            logits = self.norm_embs(classes) @ tokens.transpose(1, 2)
        else:
            logits = classes @ raw.transpose(1, 2)
        return logits.unflatten(2, x.shape[2:])


def heads_for(width: int, usual: int = 8) -> int:
    """The most heads up to `usual` that share the channels out evenly."""
    return math.gcd(width, usual)
