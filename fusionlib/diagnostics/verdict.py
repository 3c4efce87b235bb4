"""The verdict: the one place where figures become advice, with the rules and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

USEFUL, FAILING, BASIN = 0.93, 0.925, 0.5
"""Cosine: useful above, failing below; under `BASIN` two networks are taken for separate runs."""

GAIN = 0.001
"""Fraction of mIoU: less than a tenth of a point is noise, not a gain."""

HEADROOM = 0.005
"""Fraction of mIoU: an oracle that adds less than half a point leaves a merge nothing to win."""

FLAT = 0.02
"""A barrier below this is none: fraction of mIoU, and fraction of the ends' mean loss."""

FEW = 30
"""Pictures: pixels of one picture err together, so that with fewer pictures a point of mIoU more or less may be chance."""


@dataclass(frozen=True)
class Rule:
    """One rule of the verdict. The first that applies decides the level."""

    when: str
    then: str
    source: str


RULES = (
    Rule("tensors are missing or of other shapes", "do not merge", "an average needs both values"),
    Rule("the weights are the same", "do not merge", "every mixture of equal vectors is that vector"),
    Rule(f"the best measured merge beats both networks by {100 * GAIN:g} points of mIoU or more", "merge",
         "measured; Weight Fusion, section 2.2 (alpha by validation)"),
    Rule(f"the path was measured, no gain, mIoU barrier under {100 * FLAT:g} points and cosine above {USEFUL:g}", "try",
         "linearly connected: Frankle et al. 2020, section 2; the threshold is this tool's default"),
    Rule("the path was measured, no gain otherwise", "do not merge", "measured"),
    Rule(f"cosine under {FAILING:g}", "do not merge", "Weight Fusion, Finding 2"),
    Rule(f"cosine from {FAILING:g} to {USEFUL:g}", "try", "Weight Fusion, Finding 2 and appendix E"),
    Rule(f"the oracle adds less than {100 * HEADROOM:g} points", "try", "Weight Fusion, oracle test; the threshold is this tool's default"),
    Rule(f"cosine above {USEFUL:g}", "merge", "Weight Fusion, appendix E"),
)

CAUTIONS = (
    Rule(f"mIoU was measured on fewer than {FEW} pictures", "caution: the figures are rough", "the number is this tool's default"),
    Rule(f"a third checkpoint of the set alone beats the pair's best measured merge by {100 * GAIN:g} points of mIoU or more",
         "said among the reasons", "measured; a merge that loses to a checkpoint at hand is not worth having"),
)
"""What is said beside the verdict without changing its level."""

Level = Literal["merge", "try", "do not merge"]


@dataclass(frozen=True)
class Evidence:
    """What is known of a pair; None where it was not measured. mIoU and gains are fractions, losses nats.

    `cosine` is that of all parameters, `convolutions` that of the convolutions alone: scales of normalisation layers are alike in any two
    networks and can make strangers look related. `pictures` is how many mIoU was measured on; `third` is the best other checkpoint of the
    set, with what its mIoU leads the pair's best measured merge by (negative: trails). `runs`: the code of both networks is known, which
    an ensemble needs; `matches`: the permutations of their network are known, which matching needs.
    """

    cosine: float | None
    compatible: bool = True
    identical: bool = False
    convolutions: float | None = None
    headroom: float | None = None
    gain: float | None = None
    best_alpha: float | None = None
    loss_barrier: float | None = None
    loss_scale: float | None = None
    miou_barrier: float | None = None
    pictures: int | None = None
    third: tuple[str, float] | None = None
    runs: bool = True
    matches: bool = True


@dataclass(frozen=True)
class Verdict:
    """`level`, reasons in plain words with their figures, what to do, and the alpha to start at (None where no merge is advised)."""

    level: Level
    reasons: tuple[str, ...]
    advice: str
    alpha: float | None

    @property
    def sentence(self) -> str:
        """Reasons and advice as one sentence."""
        return f"{'; '.join(self.reasons)}: {self.advice}."


def judge(evidence: Evidence) -> Verdict:
    """Apply `RULES` to what is known. Weight-space evidence alone is enough for a verdict; a measured path outranks it."""
    level = _level(evidence)
    reasons = _reasons(evidence)
    alpha = None if level == "do not merge" else (evidence.best_alpha if evidence.best_alpha is not None else 0.5)
    return Verdict(level, reasons, _advice(level, evidence, alpha), alpha)


def _level(known: Evidence) -> Level:
    if not known.compatible or known.identical or known.cosine is None:
        return "do not merge"
    if known.gain is not None:
        if known.gain >= GAIN:
            return "merge"
        flat = known.miou_barrier is not None and known.miou_barrier < FLAT and known.cosine > USEFUL
        return "try" if flat else "do not merge"
    if known.cosine < FAILING:
        return "do not merge"
    if known.cosine <= USEFUL or (known.headroom is not None and known.headroom < HEADROOM):
        return "try"
    return "merge"


def _reasons(known: Evidence) -> tuple[str, ...]:
    if not known.compatible:
        start = ["their tensors differ in name or shape, so they cannot be averaged tensor by tensor"]
    elif known.identical:
        return ("both hold the same weights, so every merge is the same network",)
    else:
        start = []
    return (*start, *_about_direction(known), *_about_oracle(known), *_about_path(known), *_about_third(known), *_about_pictures(known))


def _about_direction(known: Evidence) -> list[str]:
    if known.cosine is None:
        return ["they share no weights to compare"]
    if known.cosine >= FAILING:
        zone = "inside the useful zone" if known.cosine > USEFUL else "at the edge of the useful zone"
        shown = f"{known.cosine:.2f}" if known.cosine < 0.99 else f"{known.cosine:.3f}"
        return [f"these two share {shown} of direction ({zone}, above {USEFUL:g})"]
    if known.cosine < BASIN:
        return [f"cosine {known.cosine:.2f}: separate basins"]
    if known.convolutions is not None and known.convolutions < BASIN:
        return [f"cosine {known.cosine:.2f}, of the convolutions alone {known.convolutions:.2f}: separate basins"]
    return [f"cosine {known.cosine:.2f}: below {FAILING:g}, where merges fail"]


def _about_oracle(known: Evidence) -> list[str]:
    if known.headroom is None:
        return []
    little = " only, they make nearly the same errors" if known.headroom < HEADROOM else ""
    return [f"the oracle would add {100 * known.headroom:.1f} points{little}"]


def _about_path(known: Evidence) -> list[str]:
    reasons = []
    if known.loss_barrier is not None:
        flat = known.loss_scale is not None and known.loss_barrier <= FLAT * known.loss_scale
        reasons.append("loss barrier none" if flat else f"loss barrier {known.loss_barrier:.2f} nats")
    if known.gain is not None:
        if known.gain >= GAIN:
            reasons.append(f"the best measured merge gains {100 * known.gain:.1f} points over the better of the two")
        elif known.gain > -GAIN:
            reasons.append("no measured merge gains anything over the better of the two")
        else:
            reasons.append(f"the best measured merge loses {-100 * known.gain:.1f} points against the better of the two")
    return reasons


def _about_third(known: Evidence) -> list[str]:
    if known.third is None or known.third[1] < GAIN:
        return []
    name, lead = known.third
    return [f"another of the set, {name}, alone is {100 * lead:.1f} points better than the best measured merge of these two"]


def _about_pictures(known: Evidence) -> list[str]:
    if known.pictures is None:
        return []
    count = f"{known.pictures} picture{'' if known.pictures == 1 else 's'}"
    if known.pictures < FEW:
        return [f"caution, the figures are rough, measured on {count} only ({FEW} or more tell better)"]
    return [f"measured on {count}"]


def _advice(level: Level, known: Evidence, alpha: float | None) -> str:
    if level == "merge":
        measured = "" if known.best_alpha is not None else " (the middle: measure the path to find the best)"
        return f"merge them; start at alpha {alpha:g}{measured}"
    if level == "try":
        return "worth a try, expect little" if known.gain is None else "a merge costs little and gains no mIoU; look at calibration too"
    code = "" if known.runs else " (it needs their model code: --model)"
    if not known.compatible:
        return f"do not merge; an ensemble of their outputs needs no common shape{code}"
    if known.identical:
        return "do not merge, choose another checkpoint"
    if known.cosine is not None and known.cosine < FAILING:
        if known.matches:
            return f"do not merge; try permutation matching or an ensemble of outputs{code}"
        return f"do not merge; try an ensemble of outputs{code}; permutation matching knows built-in networks alone"
    return "do not merge; an ensemble of outputs may still gain"
