"""The verdict: the one place where figures become advice, with the rules and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fusionlib.diagnostics.bootstrap import COVERAGE, FEWEST, in_points
from fusionlib.diagnostics.evidence import CLOSE, SEPARATE, SHARE, Evidence
from fusionlib.diagnostics.reasons import POINT, TOOL, cosine_text, gained, reasons

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
    """Apply `RULES` to what is known.

    Neither weights alone nor a few pictures promise a gain: it takes a measured path, and an interval around its gain
    that lies above 0, to say `merge`.
    """
    rule = next(rule for rule in RULES if rule.applies(evidence))
    alpha = None if rule.then == "do not merge" else 0.5 if evidence.best_alpha is None else evidence.best_alpha
    return Verdict(
        rule.then,
        reasons(evidence),
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
        "interval": known.interval and list(known.interval),
        "units": known.units and {"count": known.units.count, "kind": known.units.noun},
        "best_alpha": known.best_alpha,
        "pictures": known.pictures,
        "guessing": known.guessing,
    }


def _both_guess(known: Evidence) -> bool:
    return len(known.ends) == 2 and len(known.guessing) == 2


def _what_to_know(known: Evidence) -> str:
    worst = (
        "" if known.worst_block is None else f", worst block {known.worst_block[0]} {cosine_text(known.worst_block[1])}"
    )
    end = ", usually too close to gain" if known.cosine is not None and known.cosine > CLOSE else worst
    return _kind(known) + end


def _kind(known: Evidence) -> str:
    return f"{'cosine' if known.convolutions is None else 'convolutions'} {cosine_text(known.direction)}"


def _points(known: Evidence) -> str:
    where = "" if known.best_alpha is None else f" at alpha {known.best_alpha:g}"
    sure = "" if known.interval is None else f" ({in_points(known.interval)})"
    return f"{gained(known.gain or 0.0)}{where}{sure}"


def _untold(known: Evidence) -> str:
    return f"{_points(known)}, no interval {_why_untold(known)}"


def _why_untold(known: Evidence) -> str:
    """Why a measured gain has no interval."""
    if known.units is None or known.units.enough:
        return "without figures of single pictures"
    return f"from {known.units.words}"


def _how_to_know(known: Evidence) -> str:
    if known.units is not None and known.units.enough:
        return "measure anew to know"
    return "measure on more pictures to know: on so few it may have gained by chance"


def _ensemble(known: Evidence) -> str:
    return "" if known.runs else " (it needs their model code: --model)"


def _instead_of_strangers(known: Evidence) -> str:
    if known.matches:
        return f"do not merge; try permutation matching or an ensemble of outputs{_ensemble(known)}"
    return (
        f"do not merge; try an ensemble of outputs{_ensemble(known)}; permutation matching knows built-in networks"
        " alone"
    )


_INTERVAL = f"{100 * COVERAGE:g} % interval"
_BOOTSTRAP = "intervals by a paired bootstrap over groups of pictures, the best alpha chosen again in each resample"

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
        f"both networks guess: mIoU and pixel accuracy less than {POINT} above those of the commonest class everywhere"
        " (mIoU: or of classes drawn at their frequency)",
        "do not merge",
        "measured; what a merge of guesses scores says nothing",
        _both_guess,
        lambda _: "both networks guess",
        lambda _: "do not merge before they do better than guessing: look at label space and preprocessing first",
    ),
    Rule(
        f"the {_INTERVAL} of the best measured merge's gain {_PATH} over the better network lies above 0",
        "merge",
        f"measured; Weight Fusion, section 2.2 (alpha by validation); {_BOOTSTRAP}",
        lambda known: known.interval is not None and known.change == 1,
        _points,
        lambda known: f"merge them; start at alpha {0.5 if known.best_alpha is None else known.best_alpha:g}",
    ),
    Rule(
        f"there is no interval (fewer than {FEWEST} units), and the best measured merge is {POINT} of mIoU or more"
        " above the better network",
        "measure to know",
        f"measured; {TOOL}",
        lambda known: known.interval is None and known.change == 1,
        _untold,
        _how_to_know,
    ),
    Rule(
        f"the interval holds 0; without one: the best measured merge is less than {POINT} above or below the better"
        " network",
        "no difference",
        f"measured; {_BOOTSTRAP}; {TOOL}",
        lambda known: known.change == 0,
        _points,
        lambda _: "no difference to mIoU can be told on these pictures; look at calibration too",
    ),
    Rule(
        f"the interval lies below 0; without one: the best measured merge is {POINT} or more below the better network",
        "do not merge",
        f"measured; {_BOOTSTRAP}; {TOOL}",
        lambda known: known.change == -1,
        _points,
        lambda _: "do not merge; an ensemble of outputs may still gain",
    ),
    Rule(
        f"nothing measured, convolutions share less than {SEPARATE:g} of direction: separate runs",
        "do not merge",
        f"Weight Fusion, Finding 2; {TOOL}, far below 0.925, up to which 34 of 36 refused real pairs did lose",
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
