"""The verdict: the one place where figures become advice, with the rules and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fusionlib.diagnostics.evidence import CLOSE, FEW, FLAT, GAIN, NEAR_ZERO, SEPARATE, SHARE, Evidence, guesses

Level = Literal["merge", "no difference", "measure to know", "do not merge"]


@dataclass(frozen=True)
class Rule:
    """One rule of the verdict. The first that applies decides the level; `short` and `advice` say it in words."""

    when: str
    then: Level
    source: str
    applies: Callable[[Evidence], bool]
    short: Callable[[Evidence], str]
    advice: Callable[[Evidence], str]


@dataclass(frozen=True)
class Remark:
    """What is said beside the verdict without changing its level."""

    when: str
    then: str
    source: str
    says: Callable[[Evidence], Sequence[str]]


@dataclass(frozen=True)
class Verdict:
    """`level`, reasons in plain words with their figures, what to do, and the alpha to start at (None where no merge is
    advised).

    `line` says it in a few words; `measured` whether it rests on networks that were run, else on the weights alone;
    `evidence` has the figures.
    """

    level: Level
    reasons: tuple[str, ...]
    advice: str
    alpha: float | None
    line: str
    measured: bool
    evidence: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """Reasons and advice as one sentence."""
        return f"{'; '.join(self.reasons)}: {self.advice}."

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "level": self.level,
            "reasons": list(self.reasons),
            "advice": self.advice,
            "alpha": self.alpha,
            "line": self.line,
            "sentence": self.sentence,
            "measured": self.measured,
            "evidence": dict(self.evidence),
        }


def judge(evidence: Evidence) -> Verdict:
    """Apply `RULES` to what is known. Weights alone never promise a gain: it takes a measured path to say `merge`."""
    rule = next(rule for rule in RULES if rule.applies(evidence))
    alpha = None if rule.then == "do not merge" else 0.5 if evidence.best_alpha is None else evidence.best_alpha
    return Verdict(
        rule.then,
        _reasons(evidence),
        rule.advice(evidence),
        alpha,
        f"{rule.then}: {rule.short(evidence)}",
        evidence.gain is not None or _both_guess(evidence),
        _figures(evidence),
    )


def _figures(known: Evidence) -> dict[str, Any]:
    worst = known.worst_block
    return {
        "cosine": known.cosine,
        "convolutions": known.convolutions,
        "worst_block": None if worst is None else {"block": worst[0], "cosine": worst[1]},
        "headroom": known.headroom,
        "gain": known.gain,
        "best_alpha": known.best_alpha,
        "pictures": known.pictures,
        "guessing": known.guessing,
    }


def _reasons(known: Evidence) -> tuple[str, ...]:
    if known.compatible and known.identical:
        return ("both hold the same weights, so every merge is the same network",)
    start = (
        []
        if known.compatible
        else [
            "their tensors differ in name or shape, so they cannot be averaged tensor by tensor (what they share can:"
            " --shared, layerwise, backbone, head_swap)"
        ]
    )
    said = [text for remark in CAUTIONS for text in remark.says(known)]
    return (*start, *_about_direction(known), *_about_oracle(known), *_about_path(known), *said)


def _about_direction(known: Evidence) -> list[str]:
    if known.cosine is None or known.direction is None:
        return ["they share no weights to compare"]
    if known.separate:
        of = "" if known.convolutions is None else f", of the convolutions alone {_cosine(known.convolutions)}"
        return [f"cosine {_cosine(known.cosine)}{of}: separate basins, as of two initialisations"]
    more = "" if known.convolutions is None else f", {_cosine(known.convolutions)} in their convolutions"
    worst = (
        ""
        if known.worst_block is None
        else f", {_cosine(known.worst_block[1])} in the worst block, {known.worst_block[0]}"
    )
    return [f"these two share {_cosine(known.cosine)} of direction{more}{worst}"]


def _about_oracle(known: Evidence) -> list[str]:
    return [] if known.headroom is None else [f"the oracle would add {100 * known.headroom:.1f} points"]


def _about_path(known: Evidence) -> list[str]:
    reasons = []
    if known.loss_barrier is not None:
        flat = known.loss_scale is not None and known.loss_barrier <= FLAT * known.loss_scale
        reasons.append("loss barrier none" if flat else f"loss barrier {known.loss_barrier:.2f} nats")
    if known.gain is not None:
        less = f": less than {100 * GAIN:g} point is no difference" if -GAIN < known.gain < GAIN else ""
        reasons.append(f"the best measured merge {_gained(known.gain)} against the better of the two{less}")
    return reasons


def _gained(gain: float) -> str:
    if f"{100 * abs(gain):.1f}" == "0.0":
        return "gains nothing"
    return f"{'gains' if gain > 0 else 'loses'} {100 * abs(gain):.1f} points"


def _about_closeness(known: Evidence) -> list[str]:
    near = known.gain is None and known.compatible and known.cosine is not None and known.cosine > CLOSE
    return [f"above {CLOSE:g} two are usually too close to gain"] if near else []


def _about_block(known: Evidence) -> list[str]:
    if known.separate or known.worst_block is None or known.worst_block[1] >= SEPARATE:
        return []
    return [f"block {known.worst_block[0]} was trained apart, though the rest is related"]


def _about_refining(known: Evidence) -> list[str]:
    if known.gain is None or known.gain >= GAIN or not known.unrefined:
        return []
    return [
        f"next to the best point alpha {' and '.join(f'{alpha:g}' for alpha in known.unrefined)} "
        f"{'is' if len(known.unrefined) == 1 else 'are'} not measured, where more may be gained"
    ]


def _about_guessing(known: Evidence) -> list[str]:
    return [
        f"{name} guesses: {100 * figures['miou']:.1f} % mIoU and {100 * figures['pixel_accuracy']:.1f} % of the pixels,"
        f" the commonest class everywhere has {100 * figures['blind']['miou']:.1f} and"
        f" {100 * figures['blind']['pixel_accuracy']:.1f}"
        for name, figures in known.ends
        if guesses(figures)
    ]


def _about_near_zero(known: Evidence) -> list[str]:
    low = [
        (name, figures["miou"])
        for name, figures in known.ends
        if figures.get("miou") is not None and figures["miou"] < NEAR_ZERO
    ]
    if not low:
        return []
    shown = " and ".join(f"{name} at {100 * miou:.1f} %" for name, miou in low)
    return [
        f"{shown} mIoU: a wrong label space or preprocessing is likelier than a bad network "
        "(ids shifted by one, another mean and std, BGR in place of RGB)"
    ]


def _about_third(known: Evidence) -> list[str]:
    if known.third is None or known.third[1] < GAIN:
        return []
    name, lead = known.third
    return [
        f"another of the set, {name}, alone is {100 * lead:.1f} points better than the best measured merge of these two"
    ]


def _about_pictures(known: Evidence) -> list[str]:
    if known.pictures is None:
        return []
    count = f"{known.pictures} picture{'' if known.pictures == 1 else 's'}"
    if known.pictures < FEW:
        return [f"caution, the figures are rough, measured on {count} only ({FEW} or more tell better)"]
    return [f"measured on {count}"]


def _both_guess(known: Evidence) -> bool:
    return len(known.ends) == 2 and len(known.guessing) == 2


def _what_to_know(known: Evidence) -> str:
    worst = "" if known.worst_block is None else f", worst block {known.worst_block[0]} {_cosine(known.worst_block[1])}"
    end = ", usually too close to gain" if known.cosine is not None and known.cosine > CLOSE else worst
    return _kind(known) + end


def _kind(known: Evidence) -> str:
    return f"{'cosine' if known.convolutions is None else 'convolutions'} {_cosine(known.direction)}"


def _points(known: Evidence) -> str:
    where = "" if known.best_alpha is None else f" at alpha {known.best_alpha:g}"
    return f"{_gained(known.gain or 0.0)}{where}"


def _ensemble(known: Evidence) -> str:
    return "" if known.runs else " (it needs their model code: --model)"


def _instead_of_strangers(known: Evidence) -> str:
    if known.matches:
        return f"do not merge; try permutation matching or an ensemble of outputs{_ensemble(known)}"
    return (
        f"do not merge; try an ensemble of outputs{_ensemble(known)}; permutation matching knows built-in networks"
        " alone"
    )


def _cosine(value: float | None) -> str:
    """More digits the nearer to 1, and never a minus before nothing."""
    return (
        "n/a"
        if value is None
        else f"{round(value, 2) + 0.0:.2f}"
        if value < 0.5
        else f"{value:.{3 if value < 0.999 else 4}f}"
    )


_POINT = f"{100 * GAIN:g} point"
_TOOL = "the threshold is this tool's default"

_PATH = f"(from {SHARE:g} to {1 - SHARE:g}: nearer to an end it is nearly that network)"

RULES = (
    Rule(
        "tensors are missing or of other shapes",
        "do not merge",
        "an average needs both values",
        lambda known: not known.compatible,
        lambda _: "their tensors differ",
        lambda known: f"do not merge; an ensemble of their outputs needs no common shape{_ensemble(known)}",
    ),
    Rule(
        "the weights are the same",
        "do not merge",
        "every mixture of equal vectors is that vector",
        lambda known: known.identical,
        lambda _: "the same weights",
        lambda _: "do not merge, choose another checkpoint",
    ),
    Rule(
        "they share no weights, or one has none but zeros",
        "do not merge",
        "there is no direction to compare",
        lambda known: known.cosine is None,
        lambda _: "no weights to compare",
        _instead_of_strangers,
    ),
    Rule(
        f"both networks guess: mIoU and pixel accuracy less than {_POINT} above those of the commonest class everywhere"
        " (mIoU: or of classes drawn at their frequency)",
        "do not merge",
        "measured; what a merge of guesses scores says nothing",
        _both_guess,
        lambda _: "both networks guess",
        lambda _: "do not merge before they do better than guessing: look at label space and preprocessing first",
    ),
    Rule(
        f"the best measured merge {_PATH} is {_POINT} of mIoU or more above the better network",
        "merge",
        "measured; Weight Fusion, section 2.2 (alpha by validation)",
        lambda known: known.gain is not None and known.gain >= GAIN,
        _points,
        lambda known: f"merge them; start at alpha {0.5 if known.best_alpha is None else known.best_alpha:g}",
    ),
    Rule(
        f"the best measured merge is less than {_POINT} above or below the better network",
        "no difference",
        f"measured; {_TOOL}, until intervals decide",
        lambda known: known.gain is not None and known.gain > -GAIN,
        _points,
        lambda _: "a merge makes no difference to mIoU; look at calibration too",
    ),
    Rule(
        f"the best measured merge is {_POINT} or more below the better network",
        "do not merge",
        "measured",
        lambda known: known.gain is not None,
        _points,
        lambda _: "do not merge; an ensemble of outputs may still gain",
    ),
    Rule(
        f"nothing measured, convolutions share less than {SEPARATE:g} of direction: separate runs",
        "do not merge",
        f"Weight Fusion, Finding 2; {_TOOL}, far below 0.925, up to which 34 of 36 refused real pairs did lose",
        lambda known: known.separate,
        lambda known: f"separate runs, {_kind(known)}",
        _instead_of_strangers,
    ),
    Rule(
        "nothing measured, anything else",
        "measure to know",
        "no threshold of cosine or of the oracle told 76 real pairs apart that gain from those that lose",
        lambda _: True,
        _what_to_know,
        lambda known: f"measure the path to know{'' if known.runs else ' (it needs their model code: --model)'}",
    ),
)

CAUTIONS = (
    Remark(
        f"nothing measured, cosine above {CLOSE:g}",
        "usually too close to gain",
        "of 18 such real pairs 15 lost 0.1 to 3.3 points and 3 gained 0.2 to 0.5",
        _about_closeness,
    ),
    Remark(
        f"one block's convolutions share less than {SEPARATE:g}, all together more",
        "said with its name",
        _TOOL,
        _about_block,
    ),
    Remark(
        "a path without a gain lacks points next to its best one",
        "said which",
        "the best alpha of unequal networks lies at 0.125 to 0.25: a grid of 0.25 misses half of the gain",
        _about_refining,
    ),
    Remark("a network guesses (as above)", "said with its figures", "measured", _about_guessing),
    Remark(
        f"a network stays below {100 * NEAR_ZERO:g} % mIoU",
        "its label space or preprocessing is doubted first",
        _TOOL,
        _about_near_zero,
    ),
    Remark(
        f"a third checkpoint of the set alone beats the pair's best measured merge by {_POINT} of mIoU or more",
        "said among the reasons",
        "measured; a merge that loses to a checkpoint at hand is not worth having",
        _about_third,
    ),
    Remark(
        f"mIoU was measured on fewer than {FEW} pictures",
        "caution: the figures are rough",
        "the number is this tool's default",
        _about_pictures,
    ),
)
"""What is said beside the verdict without changing its level."""
