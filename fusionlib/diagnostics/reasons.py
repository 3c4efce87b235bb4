"""Why a verdict is what it is, in words, and what is said beside it without changing its level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusionlib.diagnostics.bootstrap import COVERAGE, PICTURES, in_points
from fusionlib.diagnostics.evidence import CLOSE, FEW, FLAT, GAIN, NEAR_ZERO, SEPARATE, Evidence, guesses

POINT = f"{100 * GAIN:g} point"
TOOL = "the threshold is this tool's default"


@dataclass(frozen=True)
class Remark:
    """What is said beside the verdict without changing its level."""

    when: str
    then: str
    source: str
    says: Callable[[Evidence], Sequence[str]]


def reasons(known: Evidence) -> tuple[str, ...]:
    """What is known of a pair, in plain words with its figures, the remarks of `CAUTIONS` among them."""
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
        of = "" if known.convolutions is None else f", of the convolutions alone {cosine_text(known.convolutions)}"
        return [f"cosine {cosine_text(known.cosine)}{of}: separate basins, as of two initialisations"]
    more = "" if known.convolutions is None else f", {cosine_text(known.convolutions)} in their convolutions"
    worst = (
        ""
        if known.worst_block is None
        else f", {cosine_text(known.worst_block[1])} in the worst block, {known.worst_block[0]}"
    )
    return [f"these two share {cosine_text(known.cosine)} of direction{more}{worst}"]


def _about_oracle(known: Evidence) -> list[str]:
    return [] if known.headroom is None else [f"the oracle would add {100 * known.headroom:.1f} points"]


def _about_path(known: Evidence) -> list[str]:
    found = []
    if known.loss_barrier is not None:
        flat = known.loss_scale is not None and known.loss_barrier <= FLAT * known.loss_scale
        found.append("loss barrier none" if flat else f"loss barrier {known.loss_barrier:.2f} nats")
    if known.gain is not None:
        found.append(f"the best measured merge {gained(known.gain)} against the better of the two{_chance(known)}")
    return found


def _chance(known: Evidence) -> str:
    """How sure a gain is."""
    if known.interval is not None:
        held = ": it may be none" if known.change == 0 and (known.gain or 0) > 0 else ""
        return f", with {100 * COVERAGE:g} % confidence {in_points(known.interval)} points{held}"
    return "" if known.change else f": less than {POINT} is no difference"


def gained(gain: float) -> str:
    """`gains 1.6 points`."""
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
    if known.change is None or known.change > 0 or not known.unrefined:
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
    units = "" if known.units is None or known.units.kind == PICTURES else f", {known.units.words}"
    if known.pictures < FEW:
        return [f"caution, the figures are rough, measured on {count} only{units} ({FEW} or more pictures tell better)"]
    return [f"measured on {count}{units}"]


def cosine_text(value: float | None) -> str:
    """More digits the nearer to 1, and never a minus before nothing."""
    return (
        "n/a"
        if value is None
        else f"{round(value, 2) + 0.0:.2f}"
        if value < 0.5
        else f"{value:.{3 if value < 0.999 else 4}f}"
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
        TOOL,
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
        TOOL,
        _about_near_zero,
    ),
    Remark(
        f"a third checkpoint of the set alone beats the pair's best measured merge by {POINT} of mIoU or more",
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
