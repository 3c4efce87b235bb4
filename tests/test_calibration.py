"""Calibration figures against closed forms and naive loops over pixels; both measures against both, and their laws
of sums.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.contracts import IGNORE, MEASURES
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.errors import DataError, UsageError
from fusionlib.measures.bins import FINE_BINS, KEPT_BINS, MINIMUM_COUNT, OFFERED_BINS, WITHIN, check_bins
from fusionlib.measures.calibration import fine_bins
from fusionlib.measures.calibration_figures import (
    adaptive_ece,
    brier,
    classwise_ece,
    coarsen,
    ece,
    jensen_shannon,
    kl,
    mce,
    misclassification_auroc,
    nll,
)
from fusionlib.measures.calibration_summary import calibration_summary, confidence_histograms
from fusionlib.measures.observation import Observation

CPU = torch.device("cpu")
TO_CAMVID = torch.from_numpy(mapping(CITYSCAPES_VOID, CAMVID))
BOTH = ("calibration", "calibration_fine")


def batch(seed, images=2, channels=5, classes=5, size=(9, 11), scale=3.0, void=0.2):
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, channels, *size, generator=made) * scale
    truth = torch.randint(0, classes, (images, *size), generator=made, dtype=torch.uint8)
    truth[torch.rand(truth.shape, generator=made) < void] = IGNORE
    return logits, truth


def measured(*observations, classes=5, name="calibration"):
    measure = MEASURES.get(name)
    state = measure.init(classes, CPU)
    for observation in observations:
        measure.update(state, observation)
    return state


def record(*observations, classes=5, name="calibration"):
    return MEASURES.get(name).compute(measured(*observations, classes=classes, name=name))[name]


def predicting(confidence, right, classes=2):
    """Logits (1, classes, 1, N) whose first class has these probabilities, and a truth that makes them right or
    wrong.
    """
    p = torch.tensor(confidence, dtype=torch.float64)
    rest = (1 - p) / (classes - 1)
    logits = torch.stack([p, *[rest] * (classes - 1)]).log().float()[None, :, None]
    return Observation(logits, torch.where(torch.tensor(right), 0, 1).to(torch.uint8)[None, None])


def pixels_of(logits, truth, mapped=None, classes=5):
    """(confidence, right, predicted, probabilities, truth) of every labelled pixel by a loop in double precision."""
    rows = []
    targets = list(range(logits.shape[1])) if mapped is None else [int(t) if t >= 0 else classes for t in mapped]
    for n in range(logits.shape[0]):
        for y in range(logits.shape[2]):
            for x in range(logits.shape[3]):
                true = int(truth[n, y, x])
                if true == IGNORE:
                    continue
                values = logits[n, :, y, x].double().tolist()
                weights = [math.exp(value - max(values)) for value in values]
                p = [0.0] * (classes + 1)
                for weight, target in zip(weights, targets, strict=True):
                    p[target] += weight / sum(weights)
                said = targets[values.index(max(values))]
                rows.append((p[said], said == true, said, p, true))
    return rows


def naive_bins(rows, bins):
    table = [[0, 0, 0.0] for _ in range(bins)]
    for confidence, right, *_ in rows:
        number = min(int(confidence * bins), bins - 1)
        table[number][0] += 1
        table[number][1] += right
        table[number][2] += confidence
    return table


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_ece_and_mce_of_a_known_histogram():
    counts, correct, sums = [10, 0, 30], [5, 0, 30], [3.0, 0.0, 27.0]
    assert ece(counts, correct, sums) == pytest.approx((2 + 3) / 40)
    assert ece(counts, correct, sums, "unweighted") == pytest.approx((0.2 + 0.1) / 2)
    assert ece(counts, correct, sums, "unweighted", "count") == pytest.approx((0.2 + 0.1) / 3)
    assert mce(counts, correct, sums) == pytest.approx(0.2) and mce(counts, correct, sums, 11) == pytest.approx(0.1)
    assert mce(counts, correct, sums, 31) is None


def test_nothing_measured_is_undefined():
    empty = np.zeros(4)
    for figure in (ece, mce, adaptive_ece):
        assert figure(empty, empty, empty) is None
    assert classwise_ece(np.zeros((2, 4)), np.zeros((2, 4)), np.zeros((2, 4))) is None
    for figure in (kl, jensen_shannon, misclassification_auroc):
        assert figure(empty, [1, 2, 3, 4]) is None and figure([1, 2, 3, 4], empty) is None
    assert brier(np.zeros((0, 3)), []) is None and nll(np.zeros((0, 3)), []) is None and nll([[1.0, 0.0]], [1]) is None


def test_divergences_of_known_histograms():
    p, q = [3, 1], [1, 1]
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl(p, q) == pytest.approx(expected, abs=1e-9) and kl(q, q) == 0.0
    middle = [0.625, 0.375]
    halves = [
        sum(a * math.log(a / m) for a, m in zip(part, middle, strict=True)) for part in ([0.75, 0.25], [0.5, 0.5])
    ]
    assert jensen_shannon(p, q) == pytest.approx(sum(halves) / 2)
    apart = ([0, 5], [7, 0])
    assert jensen_shannon(*apart) == pytest.approx(math.log(2))
    assert kl(*apart) == pytest.approx(-math.log(1e-12), rel=1e-6) and misclassification_auroc(*apart) == 1.0
    assert misclassification_auroc(*apart[::-1]) == 0.0 and misclassification_auroc([2, 2], [5, 5]) == 0.5


def test_auroc_lies_low_by_half_of_what_shares_a_bin() -> None:
    rng = np.random.default_rng(0)
    top = 1 - 1 / FINE_BINS  # 0.9998
    right = np.concatenate(
        [rng.uniform(0.5, top, 500), rng.uniform(1 - 0.5 / FINE_BINS, 1, 500)]
    )  # in the last bin above the wrong ones
    wrong = np.concatenate([rng.uniform(0.3, top, 960), rng.uniform(top, 1 - 0.5 / FINE_BINS, 40)])
    histograms = [
        np.bincount((values * FINE_BINS).astype(int).clip(max=FINE_BINS - 1), minlength=FINE_BINS)
        for values in (right, wrong)
    ]
    exact = (right[:, None] > wrong[None]).mean()
    binned = misclassification_auroc(*histograms)
    shared = (histograms[0] * histograms[1]).sum() / (2 * len(right) * len(wrong))
    assert shared >= 0.01 and 0.0099 <= exact - binned <= shared


def test_proper_scores_of_known_predictions():
    p, truth = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 1]
    assert brier(p, truth) == pytest.approx(((0.09 + 0.04 + 0.01) + (0.01 + 0.81 + 0.64)) / 2)
    assert nll(p, truth) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)


def test_equal_mass_groups_cut_through_bins():
    # 6 pixels, all in two bins: halves of mass 3 take the first bin and a third of it from the second.
    counts, correct, sums = [2, 4], [0, 4], [1.0, 3.0]
    assert adaptive_ece(counts, correct, sums, 2) == pytest.approx((abs(-1.0 + 0.25) + 0.75) / 6)
    assert adaptive_ece(counts, correct, sums, 1) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ece([1], [1], [1.0], "mean"),
        lambda: ece([1], [1], [1.0], empty="drop"),
        lambda: ece([1, 2], [1], [1.0]),
        lambda: ece([1], [2], [1.0]),
        lambda: mce([1], [1], [1.0], 0),
        lambda: adaptive_ece([1], [1], [1.0], 0),
        lambda: coarsen([1, 2, 3], 2),
        lambda: brier([[0.5, 0.5]], [2]),
        lambda: check_bins(17),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call):
    with pytest.raises(UsageError):
        call()


# --- against loops over pixels ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60), st.sampled_from([1, 5, 15])
)
def test_figures_equal_loops_over_pixels(drawn, bins):
    rows = [(confidence, right) for confidence, right in drawn]
    table = naive_bins(rows, bins)
    counts, correct, sums = (np.array(part) for part in zip(*table, strict=True))
    gaps = [(n, abs(hits / n - total / n)) for n, hits, total in table if n]
    assert ece(counts, correct, sums) == pytest.approx(sum(n * gap for n, gap in gaps) / len(rows), abs=1e-12)
    assert ece(counts, correct, sums, "unweighted") == pytest.approx(sum(gap for _, gap in gaps) / len(gaps), abs=1e-12)
    assert mce(counts, correct, sums) == pytest.approx(max(gap for _, gap in gaps), abs=1e-12)
    cells = [(min(int(confidence * bins), bins - 1), right) for confidence, right in rows]
    good, bad = [cell for cell, right in cells if right], [cell for cell, right in cells if not right]
    area = misclassification_auroc(correct, counts - correct)
    if good and bad:
        pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in good for b in bad]
        assert area == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert area is None


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("mapped", [None, TO_CAMVID], ids=["same-space", "mapped"])
def test_the_measures_equal_a_loop_over_pixels(mapped, name):
    classes, channels = (5, 5) if mapped is None else (11, 20)
    logits, truth = batch(3, channels=channels, classes=classes)
    rows = pixels_of(logits, truth, mapped, classes)
    found = record(Observation(logits, truth, mapped, classes), classes=classes, name=name)
    for bins in OFFERED_BINS:
        figures = calibration_summary(found, bins)
        table = naive_bins(rows, bins)
        assert [(bin["count"], bin["correct"]) for bin in figures["bins"]] == [(n, hits) for n, hits, _ in table]
        for bin, (n, hits, total) in zip(figures["bins"], table, strict=True):
            assert bin["accuracy"] == (pytest.approx(hits / n) if n else None)
            assert bin["confidence"] == (pytest.approx(total / n, abs=2e-6) if n else None)
        assert figures["ece_sample_weighted"] == pytest.approx(
            sum(abs(hits - total) for _, hits, total in table) / len(rows), abs=2e-6
        )
    assert found["pixels"] == len(rows) == int((truth != IGNORE).sum())
    squares = [sum((p - (t == true)) ** 2 for t, p in enumerate(probabilities)) for *_, probabilities, true in rows]
    losses = [-math.log(probabilities[true]) for *_, probabilities, true in rows]
    assert found["brier"] == pytest.approx(np.mean(squares), abs=2e-6) and found["nll"] == pytest.approx(
        np.mean(losses), rel=1e-5
    )
    good, bad = ([row[0] for row in rows if row[1] == right] for right in (True, False))
    area = np.mean([(a > b) + 0.5 * (a == b) for a in good for b in bad])
    assert figures["auroc"] == pytest.approx(area, abs=2e-3 if name == "calibration_fine" else 5e-3)
    for label in range(classes + 1):
        mine = [row for row in rows if row[2] == label]
        assert calibration_summary(found, 10, label)["pixels"] == len(mine)
        assert calibration_summary(found, 10, label)["accuracy"] == (
            pytest.approx(np.mean([row[1] for row in mine])) if mine else None
        )


@pytest.mark.parametrize("name", BOTH)
def test_labels_are_those_of_the_confusion_matrix_and_the_likelihood_is_the_loss(name):
    logits, truth = batch(5, channels=20, classes=11, size=(40, 50))
    found = record(Observation(logits, truth, TO_CAMVID, 11), classes=11, name=name)
    others = {}
    for other in ("confusion", "loss"):
        measure = MEASURES.get(other)
        state = measure.init(11, CPU)
        measure.update(state, Observation(logits, truth, TO_CAMVID, 11))
        others |= measure.compute(state)
    assert calibration_summary(found)["accuracy"] == others["pixel_accuracy"]
    assert found["nll"] == others["loss"]
    matrix = np.array(found["counts"]).sum(1)
    assert matrix[-1] == others["outside"] and np.array(found["correct"])[-1].sum() == 0


def test_sharing_one_pass_gives_the_same_as_each_property_alone():
    for channels, classes, mapped in ((20, 11, TO_CAMVID), (5, 5, None)):
        logits, truth = batch(6, channels=channels, classes=classes, size=(33, 45))
        alone, shared = (Observation(logits, truth, mapped, classes) for _ in range(2))
        first = alone.truth_log_probability, alone.confidence
        assert shared.label_confidence.shape == truth.shape
        for before, after in zip(first, (shared.truth_log_probability, shared.confidence), strict=True):
            assert torch.allclose(before, after, atol=2e-6, rtol=1e-5)


# --- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bins"), zip(BOTH, (KEPT_BINS, FINE_BINS), strict=True))
def test_confidence_one_is_in_the_last_bin_and_an_edge_belongs_to_the_upper_bin(name, bins):
    half = Observation(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
    sure = Observation(torch.tensor([200.0, 0.0]).view(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert float(sure.confidence) == 1.0 and float(half.confidence) == 0.5
    counts = measured(half, sure, classes=2, name=name)["outcomes"].sum((0, 1))
    assert counts[bins // 2] == 1 and counts[-1] == 1 and counts.sum() == 2


def test_bins_are_decided_exactly_beside_every_edge():
    edges = (np.arange(FINE_BINS + 1) / FINE_BINS).astype(np.float32)
    near = np.unique(np.concatenate([np.nextafter(edges, np.float32(0)), edges, np.nextafter(edges, np.float32(1))]))
    exact = [min(int(Fraction(float(value)) * FINE_BINS), FINE_BINS - 1) for value in near]
    assert fine_bins(torch.from_numpy(near)).tolist() == exact


def test_the_fine_bins_of_the_last_one_and_the_others_are_where_they_belong():
    middles = (np.arange(FINE_BINS) + 0.5) / FINE_BINS
    seen = middles >= 0.51  # of two classes the predicted one has more than half
    observation = predicting(middles[seen].tolist(), [True] * int(seen.sum()))
    state = measured(observation, classes=2)
    fine = measured(observation, classes=2, name="calibration_fine")["outcomes"]
    assert np.array_equal(state["outcomes"], coarsen(fine, KEPT_BINS))
    assert torch.equal(state["top"], fine[:, :, -WITHIN:].sum(1)) and state["top"][1].tolist() == [1] * WITHIN


def spread(seed, pixels=40_000):
    """Predictions of a network that is too sure: most of them near 1, wrong more often where confidence is low."""
    rng = np.random.default_rng(seed)
    confidence = 0.5 + 0.4999999 * rng.beta(3, 0.4, pixels)
    return predicting(confidence.tolist(), (rng.random(pixels) < confidence**2).tolist())


@pytest.mark.parametrize("seed", range(3))
def test_what_needs_finer_bins_is_near_that_of_5040_and_all_else_is_the_same(seed):
    kept, fine = (record(spread(seed), classes=2, name=name) for name in BOTH)
    assert kept["auroc"][0] == pytest.approx(fine["auroc"][0], abs=2e-3)
    for bins in OFFERED_BINS:
        one, other = calibration_summary(kept, bins), calibration_summary(fine, bins)
        assert one.pop("adaptive_ece") == pytest.approx(other.pop("adaptive_ece"), abs=2e-3)
        assert one.pop("auroc") == pytest.approx(other.pop("auroc"), abs=2e-3)
        for name, value in one.items():
            assert value == (pytest.approx(other[name], abs=1e-6) if isinstance(value, float) else value), name


def test_by_class_the_kept_bins_do_not_pretend_to_know_what_the_fine_ones_know():
    logits, truth = batch(5, size=(40, 50))
    kept, fine = (record(Observation(logits, truth), name=name) for name in BOTH)
    for label in range(5):
        one, other = calibration_summary(kept, 15, label), calibration_summary(fine, 15, label)
        assert one["auroc"] is one["adaptive_ece"] is None
        assert other["auroc"] is not None and other["adaptive_ece"] is not None
        assert one["ece_sample_weighted"] == pytest.approx(other["ece_sample_weighted"], abs=1e-6)
    found = MEASURES.get("calibration_fine").compute(measured(Observation(logits, truth), name="calibration_fine"))
    assert found["class_auroc"] == fine["auroc"][1:6] and len(found["class_adaptive_ece"]) == 5


def test_offered_bins_nest_in_the_kept_ones_and_those_in_the_fine_ones():
    assert FINE_BINS >= 4096 and FINE_BINS % KEPT_BINS == 0 and all(KEPT_BINS % bins == 0 for bins in OFFERED_BINS)
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000, dtype=np.float32)
    fine = np.bincount((confidence.astype(np.float64) * FINE_BINS).astype(int), minlength=FINE_BINS)
    for bins in (*OFFERED_BINS, KEPT_BINS):
        direct = np.histogram(confidence.astype(np.float64), bins=np.arange(bins + 1) / bins)[0]
        assert np.array_equal(coarsen(fine, bins), direct)


@pytest.mark.parametrize("name", BOTH)
def test_nan_leaves_figures_undefined_and_an_impossible_truth_only_the_likelihood(name):
    logits, truth = batch(1, void=0.0)
    logits[0, :, 0, 0] = torch.nan
    found = record(Observation(logits, truth), name=name)
    assert found["undefined_pixels"] == 1 and calibration_summary(found)["ece_sample_weighted"] is None
    assert found["pixels"] == truth.numel() - 1
    logits[0, :, 0, 0] = torch.tensor([0.0, *[-torch.inf] * 4])
    truth[0, 0, 0] = 1
    found = record(Observation(logits, truth), name=name)
    assert (
        found["nll"] is None
        and found["brier"] is not None
        and calibration_summary(found)["ece_sample_weighted"] is not None
    )


def test_unknown_ids_are_refused_and_void_alone_gives_no_figures():
    logits, truth = batch(1)
    with pytest.raises(DataError, match="ids"):
        record(Observation(logits, truth.masked_fill(truth == 2, 77)))
    figures = calibration_summary(record(Observation(logits, torch.full_like(truth, IGNORE))))
    counted = ("pixels", "undefined_pixels", "bins")
    assert figures["pixels"] == 0 and all(value is None for name, value in figures.items() if name not in counted)
    assert {bin["accuracy"] for bin in figures["bins"]} == {None}


# --- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", BOTH)
def test_splitting_and_reordering_changes_no_bit(measure):
    def measured_(*observations):
        return measured(*observations, classes=11, name=measure)

    batches = [batch(seed, images=1, channels=20, classes=11) for seed in range(6)]
    observed = [Observation(*pair, TO_CAMVID, 11) for pair in batches]
    whole, backwards = measured_(*observed), measured_(*observed[::-1])
    halves = [measured_(*part) for part in (observed[:2], observed[2:])]
    for name, value in whole.items():
        assert value.dtype == torch.int64
        assert torch.equal(value, backwards[name]) and torch.equal(value, halves[0][name] + halves[1][name])
    together = Observation(
        torch.cat([pair[0] for pair in batches]), torch.cat([pair[1] for pair in batches]), TO_CAMVID, 11
    )
    assert torch.equal(measured_(together)["outcomes"], whole["outcomes"])


def test_a_perfectly_calibrated_predictor_tends_to_zero_error():
    errors = []
    for pixels in (1_000, 30_000, 1_000_000):
        rng = np.random.default_rng(pixels)
        confidence = rng.uniform(0.5, 1, pixels)
        observation = predicting(confidence.tolist(), (rng.random(pixels) < confidence).tolist())
        figures = calibration_summary(record(observation, classes=2))
        errors.append(
            [
                figures[name]
                for name in ("ece_sample_weighted", "ece_unweighted", "mce", "adaptive_ece", "classwise_ece")
            ]
        )
    for few, more, many in zip(*errors, strict=True):
        assert many < few and many < 0.006 and more < 0.03


def test_overconfidence_is_seen_in_full():
    observation = predicting([0.9] * 1000, [True] * 600 + [False] * 400)
    figures = calibration_summary(record(observation, classes=2))
    for name in ("ece_sample_weighted", "ece_unweighted", "mce", "mce_minimum_count", "adaptive_ece"):
        assert figures[name] == pytest.approx(0.3, abs=1e-5)
    assert figures["kl"] == pytest.approx(0.0, abs=1e-9) and figures["auroc"] == 0.5
    assert MINIMUM_COUNT <= 1000


def test_what_is_kept_survives_json_and_its_histograms_add_up():
    logits, truth = batch(2, size=(20, 30))
    found = record(Observation(logits, truth))
    assert calibration_summary(json.loads(json.dumps(found))) == calibration_summary(found)
    right, wrong = confidence_histograms(found)
    assert right.shape == (KEPT_BINS,) and int(right.sum() + wrong.sum()) == found["pixels"]
    assert sum(confidence_histograms(found, label)[0].sum() for label in range(6)) == right.sum()
