"""What looks at a learner's logits and says where to trust it: the part that fusions by attention share."""

from __future__ import annotations

from torch import nn

HIDDEN = 64
"""Channels between its convolutions, which the paper does not state."""


def mask_of_logits(classes: int) -> nn.Sequential:
    """Twice a 3x3 convolution with batch norm and ReLU, then a 1x1 one to a single map: logits (N, C, h, w) ->
    (N, 1, h, w), before any sigmoid.

    Source: "Efficient Self-Ensemble for Semantic Segmentation", section 3.2, which borrows it from Tao, Sapra,
    Catanzaro, "Hierarchical Multi-Scale Attention for Semantic Segmentation", 2020, section 3.1.
    """
    return nn.Sequential(
        nn.Conv2d(classes, HIDDEN, 3, padding=1, bias=False),
        nn.BatchNorm2d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1, bias=False),
        nn.BatchNorm2d(HIDDEN),
        nn.ReLU(inplace=True),
        nn.Conv2d(HIDDEN, 1, 1),
    )
