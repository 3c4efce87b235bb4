"""The verdict: every rule and every remark with figures, those of real pairs among them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fusionlib.diagnostics.bootstrap import units_of
from fusionlib.diagnostics.evidence import CLOSE, FEW, GAIN, NEAR_ZERO, SEPARATE, Evidence, guesses
from fusionlib.diagnostics.reasons import CAUTIONS
from fusionlib.diagnostics.verdict import RULES, judge
from fusionlib.measures.confusion import blind_figures, confusion_matrix, mean_iou, pixel_accuracy

RELATED = Evidence(0.981, convolutions=0.968, worst_block=("regular2_5", 0.933))
STRANGERS = Evidence(0.705, convolutions=0.002, worst_block=("regular5_1", -0.046))
BLIND = {"class": 3, "pixel_accuracy": 0.306, "miou": 0.028, "drawn_miou": 0.051}
GUESS = {"miou": 0.0272, "pixel_accuracy": 0.0733, "blind": BLIND}
TRAINED = {"miou": 0.398, "pixel_accuracy": 0.748, "blind": BLIND}


FEW_UNITS = units_of(["drive"] * 31)
UNITS = units_of(["drive"] * 101)


def measured(known: Evidence, gain: float, **more) -> Evidence:
    """On too few pictures for an interval."""
    return dataclasses.replace(known, gain=gain, best_alpha=0.25, **{"units": FEW_UNITS, **more})


def sure(known: Evidence, gain: float, low: float, high: float, **more) -> Evidence:
    return measured(known, gain, interval=(low, high), **{"units": UNITS, **more})


RULED = [
    (Evidence(0.99, compatible=False), "do not merge", "their tensors differ"),
    (Evidence(1.0, identical=True), "do not merge", "the same weights"),
    (Evidence(None), "do not merge", "no weights to compare"),
    (measured(RELATED, 0.05, ends=(("a", GUESS), ("b", GUESS))), "do not merge", "both networks guess"),
    (sure(RELATED, 0.016, 0.004, 0.029), "merge", "gains 1.6 points at alpha 0.25 (+0.4 to +2.9)"),
    (
        measured(RELATED, 0.016),
        "measure to know",
        "gains 1.6 points at alpha 0.25, no interval from 4 runs of up to 10 neighbouring pictures",
    ),
    (sure(RELATED, 0.016, -0.00012, 0.03), "no difference", "gains 1.6 points at alpha 0.25 (-0.01 to +3.0)"),
    (sure(RELATED, -0.033, -0.041, -0.02), "do not merge", "loses 3.3 points at alpha 0.25 (-4.1 to -2.0)"),
    (STRANGERS, "do not merge", "separate runs, convolutions 0.00"),
    (RELATED, "measure to know", "convolutions 0.968, worst block regular2_5 0.933"),
]


def test_every_rule_has_a_case_in_its_own_order() -> None:
    assert len(RULED) == len(RULES)
    for rule, (known, level, _) in zip(RULES, RULED, strict=True):
        assert (
            next(one for one in RULES if one.applies(known)) is rule
            and rule.then == level
            and rule.when
            and rule.source
        )


@pytest.mark.parametrize(("known", "level", "line"), RULED)
def test_the_verdict_follows_its_rules(known: Evidence, level: str, line: str) -> None:
    verdict = judge(known)
    assert verdict.level == level and verdict.line.startswith(f"{level}: ") and line in verdict.line
    assert verdict.reasons and verdict.advice and verdict.sentence.endswith(".")
    assert (verdict.alpha is None) == (level == "do not merge")
    assert verdict.measured == (known.gain is not None)


@pytest.mark.parametrize(
    ("convolutions", "gain", "level"),
    [
        (0.849, 0.023, "merge"),
        (0.936, -0.005, "no difference"),
        (0.949, -0.019, "do not merge"),
        (0.81, 0.035, "merge"),
        (0.81, -0.035, "do not merge"),
        (0.99, 0.001, "no difference"),
    ],
)
def test_real_pairs_that_no_cosine_tells_apart_are_left_to_measuring(
    convolutions: float, gain: float, level: str
) -> None:
    for cosine in (0.86, 0.9, 0.96):
        known = Evidence(cosine, convolutions=convolutions)
        assert judge(known).level == "measure to know"
        assert judge(dataclasses.replace(known, headroom=0.04)).level == "measure to know"
        assert judge(sure(known, gain, gain - 0.01, gain + 0.01)).level == level


@pytest.mark.parametrize("cosine", np.linspace(-1, 1, 41).tolist())
def test_weights_alone_never_promise_and_refuse_separate_runs_alone(cosine: float) -> None:
    alone = Evidence(cosine)
    for known in (
        alone,
        Evidence(0.9, convolutions=cosine),
        dataclasses.replace(alone, headroom=0.2, ends=(("a", TRAINED),)),
    ):
        assert judge(known).level == ("do not merge" if known.direction < SEPARATE else "measure to know")


def test_an_interval_decides_by_the_side_of_0_on_which_it_lies_however_small_the_gain() -> None:
    for known in (RELATED, STRANGERS):
        for low, high, level in (
            (1e-6, 0.002, "merge"),
            (0.0, 0.002, "no difference"),
            (-0.05, 0.05, "no difference"),
            (-0.002, 0.0, "no difference"),
            (-0.002, -1e-6, "do not merge"),
        ):
            assert judge(sure(known, (low + high) / 2, low, high)).level == level
    said = judge(sure(RELATED, 0.02, -0.004, 0.05, pictures=101))
    for part in (
        "gains 2.0 points against the better of the two, with 95 % confidence -0.4 to +5.0 points: it may be none",
        "measured on 101 pictures, 11 runs of up to 10 neighbouring pictures",
    ):
        assert part in said.sentence
    figures = said.to_dict()["evidence"]
    assert figures["interval"] == [-0.004, 0.05]
    assert figures["units"] == {"count": 11, "kind": "runs of up to 10 neighbouring pictures"}


def test_too_few_units_never_say_merge_and_figures_without_states_ask_for_them() -> None:
    for gain in (0.01, 0.3, 0.9):
        found = judge(measured(RELATED, gain, pictures=31))
        assert found.level == "measure to know" and found.measured and "measure on more pictures" in found.advice
    lost = measured(RELATED, 0.3, units=UNITS)
    assert judge(lost).advice == "measure anew to know" and "without figures of single pictures" in judge(lost).line


def test_without_an_interval_a_path_outranks_the_weights_and_a_point_is_the_least_that_counts() -> None:
    assert judge(measured(STRANGERS, 0.02)).level == "measure to know"
    assert [judge(measured(RELATED, gain)).level for gain in (GAIN, GAIN - 1e-6, 0.0, 1e-6 - GAIN, -GAIN)] == [
        "measure to know",
        "no difference",
        "no difference",
        "no difference",
        "do not merge",
    ]
    equal = judge(measured(RELATED, -0.0))
    assert (
        "gains nothing against the better of the two" in equal.sentence and "gains nothing at alpha 0.25" in equal.line
    )
    assert (
        "the best measured merge loses 3.3 points against the better of the two"
        in judge(measured(RELATED, -0.033)).sentence
    )


def test_the_verdict_speaks_in_figures() -> None:
    good = judge(sure(RELATED, 0.016, 0.004, 0.029, headroom=0.061, loss_barrier=0.0, loss_scale=1.0))
    for part in (
        "0.981 of direction, 0.968 in their convolutions, 0.933 in the worst block, regular2_5",
        "oracle would add 6.1 points",
        "loss barrier none",
        "gains 1.6 points against the better of the two, with 95 % confidence +0.4 to +2.9 points",
        "merge them; start at alpha 0.25",
    ):
        assert part in good.sentence
    assert good.to_dict()["evidence"] == {
        "cosine": 0.981,
        "convolutions": 0.968,
        "worst_block": {"block": "regular2_5", "cosine": 0.933},
        "headroom": 0.061,
        "gain": 0.016,
        "interval": [0.004, 0.029],
        "units": {"count": 11, "kind": "runs of up to 10 neighbouring pictures"},
        "best_alpha": 0.25,
        "pictures": None,
        "guessing": [],
    }
    bad = judge(STRANGERS).sentence
    assert "cosine 0.705, of the convolutions alone 0.00: separate basins" in bad
    assert "permutation matching or an ensemble of outputs" in bad


def test_what_a_network_needs_for_the_advice_is_said() -> None:
    unknown = judge(dataclasses.replace(STRANGERS, runs=False, matches=False)).advice
    assert (
        "an ensemble of outputs (it needs their model code: --model)" in unknown
        and "built-in networks alone" in unknown
    )
    own = judge(dataclasses.replace(STRANGERS, matches=False)).advice
    assert "--model" not in own and "built-in networks alone" in own
    unlike = judge(Evidence(0.99, compatible=False, runs=False)).sentence
    assert all(word in unlike for word in ("--model", "--shared", "layerwise", "backbone"))
    assert (
        "--model" in judge(dataclasses.replace(RELATED, runs=False)).advice and "--model" not in judge(RELATED).advice
    )


def test_remarks_change_no_level() -> None:
    assert all(remark.when and remark.then and remark.source for remark in CAUTIONS)
    bare = measured(RELATED, 0.002)
    full = dataclasses.replace(
        bare,
        pictures=12,
        third=("c", 0.02),
        unrefined=(0.125, 0.375),
        ends=(("a", GUESS), ("b", TRAINED)),
        worst_block=("head", 0.01),
    )
    assert not [text for remark in CAUTIONS for text in remark.says(bare)]
    assert judge(full).level == judge(bare).level == "no difference"
    said = judge(full).sentence
    for part in (
        "measured on 12 pictures only, 4 runs of up to 10 neighbouring pictures",
        "another of the set, c, alone is 2.0 points better",
        "alpha 0.125 and 0.375 are not measured",
        "a guesses: 2.7 % mIoU and 7.3 % of the pixels, the commonest class everywhere has 2.8 and 30.6",
        "block head was trained apart",
        "ids shifted by one, another mean and std, BGR in place of RGB",
    ):
        assert part in said
    assert not [text for remark in CAUTIONS for text in remark.says(dataclasses.replace(bare, third=("c", 0.009)))]
    assert f"measured on {FEW} pictures" in judge(measured(RELATED, 0.002, pictures=FEW, units=None)).reasons


def test_pairs_that_are_nearly_one_are_said_to_be_too_close_until_they_are_measured() -> None:
    near = Evidence(CLOSE + 0.001, convolutions=0.9941)
    assert judge(near).level == "measure to know" and "usually too close to gain" in judge(near).line
    assert any("usually too close to gain" in reason for reason in judge(near).reasons)
    assert not any(
        "too close" in reason for reason in (*judge(measured(near, 0.051)).reasons, *judge(Evidence(CLOSE)).reasons)
    )


def test_ends_near_zero_raise_doubts_about_how_they_were_asked() -> None:
    low = {**TRAINED, "miou": NEAR_ZERO - 0.001}
    found = judge(measured(RELATED, -0.02, ends=(("x", low), ("y", TRAINED)))).sentence
    assert (
        "x at 4.9 % mIoU: a wrong label space or preprocessing is likelier than a bad network" in found
        and "y at" not in found
    )
    assert "likelier" not in judge(measured(RELATED, -0.02, ends=(("x", TRAINED), ("y", TRAINED)))).sentence


def test_two_that_guess_are_never_merged_whatever_their_merge_scores() -> None:
    both = (("a", GUESS), ("b", GUESS))
    for gain in (None, 0.001, 0.2, -0.2):
        verdict = judge(dataclasses.replace(RELATED, ends=both, gain=gain))
        assert (
            verdict.level == "do not merge"
            and verdict.measured
            and verdict.to_dict()["evidence"]["guessing"] == ["a", "b"]
        )
    assert judge(sure(RELATED, 0.2, 0.1, 0.3, ends=(("a", GUESS), ("b", TRAINED)))).level == "merge"


def test_what_is_reached_without_looking_is_what_such_networks_score() -> None:
    truth = np.array([0] * 50 + [1] * 30 + [3] * 20 + [255] * 7)
    found = blind_figures(confusion_matrix(truth, truth, 5))
    constant = confusion_matrix(truth, np.zeros_like(truth), 5)
    assert found["class"] == 0 and found["pixel_accuracy"] == pixel_accuracy(constant) == 0.5
    assert found["miou"] == pytest.approx(mean_iou(constant)) == pytest.approx(0.5 / 3)
    rng = np.random.default_rng(0)
    many = np.repeat(truth, 2000)
    drawn = confusion_matrix(many, rng.choice([0, 1, 3], many.shape, p=[0.5, 0.3, 0.2]), 5)
    assert found["drawn_miou"] == pytest.approx(mean_iou(drawn), abs=0.005)
    assert blind_figures(confusion_matrix([255], [0], 5)) is None
    assert blind_figures(confusion_matrix(truth, rng.permutation(truth), 5)) == found, (
        "it does not depend on what was predicted"
    )


@pytest.mark.parametrize(
    ("miou", "accuracy", "found"),
    [
        (0.028, 0.306, True),
        (0.0322, 0.0949, True),
        (0.06, 0.315, True),
        (0.062, 0.2, False),
        (0.03, 0.317, False),
        (0.398, 0.748, False),
    ],
)
def test_a_network_guesses_where_neither_figure_is_a_point_above_guessing(
    miou: float, accuracy: float, found: bool
) -> None:
    assert guesses({"miou": miou, "pixel_accuracy": accuracy, "blind": BLIND}) == found


def test_nobody_guesses_where_nothing_is_known() -> None:
    assert not any(guesses({**GUESS, name: None}) for name in GUESS) and not guesses({})
