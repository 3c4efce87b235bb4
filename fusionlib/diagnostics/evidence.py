"""What a verdict on a pair rests on, and from which figure on each of it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # whoever plans by these thresholds waits neither for torch nor for numpy
    from fusionlib.diagnostics.bootstrap import Units
    from fusionlib.diagnostics.survey import WeightSurvey

SEPARATE = 0.2
"""Cosine of the convolutions: below it two networks are taken for separate runs.

Strangers lie at 0.0 to 0.1, relatives at 0.8 and more.
"""

CLOSE = 0.99
"""Cosine of the parameters: from here on two networks are usually too close for a merge to gain."""

USEFUL = 0.93
"""Cosine above which Weight Fusion found its useful merges.

Drawn, but no rule: real pairs gain below it and lose above it.
"""

GAIN = 0.01
"""Fraction of mIoU: without an interval around it a difference below one point is none, in either direction."""

FLAT = 0.02
"""A loss barrier below this fraction of the ends' mean loss is none."""

FEW = 30
"""Pictures: pixels of one picture err together, so that with fewer pictures a point of mIoU more or less may be
chance.
"""

NEAR_ZERO = 0.05
"""Fraction of mIoU: a trained network that stays below it has been asked in a wrong way more often than it is bad."""

SHARE = 0.1
"""A point of a path counts as a merge where each network has at least this share: nearer to an end it is nearly that
network.
"""


@dataclass(frozen=True)
class Evidence:
    """What is known of a pair; None where it was not measured. mIoU and gains are fractions, losses nats.

    `cosine` is that of all parameters, `convolutions` that of the convolutions alone: scales of normalisation layers
    are alike in any two networks and can make strangers look related; `worst_block` has the lowest cosine of its
    convolutions. `gain` is what the best measured merge has over the better of the two, `interval` the 95 % interval
    around it from resampling `units` (None where these are too few); `unrefined` are alphas next to it that a verdict
    on the path still lacks. `ends` has the name and the figures of each network alone. `pictures` is how many mIoU was
    measured on; `third` is the best other checkpoint of the set, with what its mIoU leads the pair's
    best measured merge by (negative: trails). `runs`: the code of both networks is known, which an ensemble needs;
    `matches`: the permutations of their network are known, which matching needs.
    """

    cosine: float | None
    compatible: bool = True
    identical: bool = False
    convolutions: float | None = None
    worst_block: tuple[str, float] | None = None
    headroom: float | None = None
    gain: float | None = None
    interval: tuple[float, float] | None = None
    units: Units | None = None
    best_alpha: float | None = None
    unrefined: tuple[float, ...] = ()
    loss_barrier: float | None = None
    loss_scale: float | None = None
    ends: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    pictures: int | None = None
    third: tuple[str, float] | None = None
    runs: bool = True
    matches: bool = True

    @property
    def direction(self) -> float | None:
        """Cosine that tells strangers from relatives: of the convolutions, where there are some."""
        return self.cosine if self.convolutions is None else self.convolutions

    @property
    def separate(self) -> bool:
        """Whether the weights look like those of separate runs."""
        return self.direction is not None and self.direction < SEPARATE

    @property
    def change(self) -> int | None:
        """What measuring says of the best merge: 1 it gains, 0 the two cannot be told apart, -1 it loses; None where it
        was not measured.

        By the interval, where there is one, else by whole points.
        """
        if self.gain is None:
            return None
        if self.interval is None:
            return (self.gain >= GAIN) - (self.gain <= -GAIN)
        return (self.interval[0] > 0) - (self.interval[1] < 0)

    @property
    def guessing(self) -> list[str]:
        """Names of the networks that guess."""
        return [name for name, figures in self.ends if guesses(figures)]


def guesses(figures: Mapping[str, Any]) -> bool:
    """Whether a network's `miou` and `pixel_accuracy` are less than a point above those of whoever does not look
    (`blind`).

    Both have to be: a network that sees rare classes well may have fewer pixels right than the commonest class
    everywhere would.
    """
    blind, miou, accuracy = (figures.get(name) for name in ("blind", "miou", "pixel_accuracy"))
    if blind is None or miou is None or accuracy is None:
        return False
    return accuracy < blind["pixel_accuracy"] + GAIN and miou < max(blind["miou"], blind["drawn_miou"]) + GAIN


def weight_evidence(weights: WeightSurvey, a: int, b: int, **more: Any) -> Evidence:
    """What the weights of two checkpoints of a survey tell; `more` are further fields of `Evidence`."""
    from fusionlib.diagnostics.survey import CONVOLUTION

    return Evidence(
        weights.pair(a, b).cosine,
        compatible=weights.same_tensors(a, b),
        identical=weights.identical(a, b),
        convolutions=weights.pair(a, b, tensors=weights.of_group(CONVOLUTION)).cosine,
        worst_block=weights.worst_block(a, b),
        **more,
    )
