"""What users of merges choose between by name: texts alone, so that listing them loads no torch."""

from __future__ import annotations

from collections.abc import Mapping

from fusionlib.errors import UsageError

POLICIES: Mapping[str, str] = {
    "average": "Average running means and variances with the same weights as the parameters",
    "gaussian": (
        "Pool the checkpoints' Gaussians: means weighted by batches seen, variance with the spread of the means"
    ),
    "anchor": "Keep the statistics of the anchor (the first checkpoint)",
    "recalibrate": "Measure the statistics anew on unlabelled pictures with the merged weights",
}
"""Policy name to what it does, in one line."""

GRANULARITIES = ("tensor", "module", "block", "learner", "part")
"""What shares one weight: a tensor; the tensors of a module; a block, named by the first part of the name; a learner of
an ensemble inside the network, and the blocks of all the rest; backbone and head.
"""

RULES = {
    "softmax": "mean of the probabilities",
    "logit": "mean of the logits",
    "product": "product of the probabilities, normalised",
    "majority": "each network votes for its best class with its confidence; the sum is divided by M",
}
"""How outputs are combined: `fusionlib.engine.ensemble` does it."""


def check_policy(policy: str) -> str:
    """`policy` itself. Raises `UsageError` that lists the valid ones."""
    if policy not in POLICIES:
        raise UsageError(f"Unknown buffer policy {policy!r}", f"one of {', '.join(POLICIES)}", "Correct --buffers")
    return policy
