"""Measures against naive loops, closed forms and the laws of sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.contracts import IGNORE, MEASURES
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.errors import DataError, UsageError
from fusionlib.measures.confusion import confusion_matrix, iou, mean_iou, pixel_accuracy, precision, recall
from fusionlib.measures.observation import Observation, first_maximum

CPU = torch.device("cpu")
TO_CAMVID = torch.from_numpy(mapping(CITYSCAPES_VOID, CAMVID))


def naive_matrix(truth, predicted, classes, ignore=IGNORE):
    matrix = [[0] * (classes + 1) for _ in range(classes)]
    for t, p in zip(np.ravel(truth).tolist(), np.ravel(predicted).tolist(), strict=True):
        if t != ignore:
            matrix[t][p if 0 <= p < classes else classes] += 1
    return matrix


def naive_figures(matrix):
    """IoU, precision and recall per class in pure Python."""
    classes = range(len(matrix))
    figures = {"iou": [], "precision": [], "recall": []}
    for c in classes:
        hit, said, is_c = matrix[c][c], sum(matrix[t][c] for t in classes), sum(matrix[c])
        for name, bottom in (("iou", said + is_c - hit), ("precision", said), ("recall", is_c)):
            figures[name].append(hit / bottom if bottom else None)
    return figures


def naive_probabilities(logits, mapped, classes):
    """Softmax in double precision, summed per target class; the last entry is the probability outside."""
    peak = max(logits)
    weights = [math.exp(v - peak) for v in logits]
    sums = [0.0] * (classes + 1)
    for weight, target in zip(weights, mapped, strict=True):
        sums[target] += weight / sum(weights)
    return sums


def batch(seed, images=3, channels=20, classes=11, size=(6, 7), scale=3.0):
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, channels, *size, generator=made) * scale
    truth = torch.randint(0, classes, (images, *size), generator=made, dtype=torch.uint8)
    truth[torch.rand(truth.shape, generator=made) < 0.2] = IGNORE
    return logits, truth


def measure(name, observations, classes):
    meter = MEASURES.get(name)
    state = meter.init(classes, CPU)
    for observation in observations:
        meter.update(state, observation)
    return state


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_figures_of_a_known_matrix():
    matrix = np.array([[3, 1], [2, 4]])
    assert iou(matrix) == [3 / 6, 4 / 7] and mean_iou(matrix) == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert precision(matrix) == [3 / 5, 4 / 5] and recall(matrix) == [3 / 4, 4 / 6]
    assert pixel_accuracy(matrix) == 7 / 10


def test_predictions_outside_count_as_missed_and_as_nothing_else():
    matrix = torch.tensor([[3, 1, 2], [0, 4, 1]])
    assert iou(matrix) == [3 / 6, 4 / 6] and recall(matrix) == [3 / 6, 4 / 5] and precision(matrix) == [1.0, 4 / 5]
    assert pixel_accuracy(matrix) == 7 / 11


def test_absent_classes_are_none_and_do_not_weigh_on_the_mean():
    never_said, absent, only_said = 0, 1, 3
    matrix = np.array([[0, 0, 5, 1], [0, 0, 0, 0], [0, 0, 9, 0], [0, 0, 0, 0]])
    assert (
        iou(matrix)[never_said] == 0.0 and recall(matrix)[never_said] == 0.0 and precision(matrix)[never_said] is None
    )
    assert iou(matrix)[absent] is None and iou(matrix)[only_said] == 0.0
    assert recall(matrix)[only_said] is None and precision(matrix)[only_said] == 0.0
    assert mean_iou(matrix) == pytest.approx((0 + 9 / 14 + 0) / 3)


def test_nothing_labelled_gives_no_figures():
    matrix = confusion_matrix([[255, 255]], [[0, 1]], 2)
    assert not matrix.any() and mean_iou(matrix) is None and pixel_accuracy(matrix) is None


def test_perfect_and_entirely_wrong():
    truth = np.arange(60).reshape(6, 10) % 5
    assert mean_iou(confusion_matrix(truth, truth, 5)) == 1.0
    assert mean_iou(confusion_matrix(truth, (truth + 1) % 5, 5)) == 0.0


def test_uniform_logits_lose_log_of_the_class_count():
    truth = torch.zeros(1, 4, 5, dtype=torch.uint8)
    loss, same = MEASURES.get("loss"), Observation(torch.full((1, 7, 4, 5), 2.5), truth)
    mean = loss.compute(measure("loss", [same], 7))["loss"]
    assert mean == pytest.approx(math.log(7), abs=3e-7)
    # In CamVid terms four of twenty equally likely Cityscapes outputs are "car".
    cars = Observation(torch.zeros(1, 20, 4, 5), torch.full_like(truth, CAMVID.names.index("car")), TO_CAMVID, 11)
    mean = loss.compute(measure("loss", [cars], 11))["loss"]
    assert mean == pytest.approx(math.log(20 / 4), abs=3e-7)


# --- naive loops -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([255, 0, 7]))
def test_matrix_equals_the_naive_count(classes, seed, ignore):
    draw = np.random.default_rng(seed)
    truth = draw.choice([*range(classes), ignore], size=(5, 9)).astype(np.uint8)
    predicted = draw.integers(-1, classes + 2, (5, 9))
    matrix = confusion_matrix(truth, predicted, classes, ignore)
    assert matrix.dtype == np.int64 and matrix.tolist() == naive_matrix(truth, predicted, classes, ignore)
    for name, figure in (("iou", iou), ("precision", precision), ("recall", recall)):
        assert figure(matrix) == naive_figures(matrix.tolist())[name]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_measures_equal_the_naive_loop(mapped, layout):
    classes = 11 if mapped else 20
    logits, truth = batch(1, classes=classes)
    targets = [int(t) % (classes + 1) for t in TO_CAMVID] if mapped else list(range(20))  # -1 is the last entry
    observation = Observation(logits.contiguous(memory_format=layout), truth, TO_CAMVID if mapped else None, classes)
    predicted, losses = [], []
    for n, y, x in np.ndindex(*truth.shape):
        values = logits[n, :, y, x].tolist()
        predicted.append(targets[values.index(max(values))])
        if truth[n, y, x] != IGNORE:
            losses.append(-math.log(naive_probabilities(values, targets, classes)[truth[n, y, x]]))
    state = measure("confusion", [observation], classes)
    assert state["matrix"].tolist() == naive_matrix(truth.numpy(), predicted, classes)
    figures = MEASURES.get("confusion").compute(state)
    assert figures["pixels"] == len(losses) == int((truth != IGNORE).sum())
    assert figures["outside"] == sum(row[-1] for row in state["matrix"].tolist())
    loss = MEASURES.get("loss").compute(measure("loss", [observation], classes))
    assert loss["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6) and not loss["undefined_pixels"]


# --- the observation -------------------------------------------------------------------------------------------------


def test_first_maximum_is_torchs_and_ties_go_to_the_lowest_class():
    logits = torch.randint(-2, 2, (2, 20, 8, 9), generator=torch.Generator().manual_seed(0)).float()
    peak, labels = first_maximum(logits)
    assert torch.equal(peak, logits.amax(1))
    assert torch.equal(labels, torch.from_numpy(logits.numpy().argmax(1)))
    assert torch.equal(first_maximum(logits.double())[1], labels) and torch.equal(
        first_maximum(logits.half())[1], labels
    )
    assert first_maximum(torch.zeros(1, 255, 1, 1))[1].item() == 0
    last = torch.zeros(1, 255, 1, 1).index_fill(1, torch.tensor(254), 1.0)
    assert first_maximum(last)[1].item() == 254


def test_derived_maps_equal_torchs_own():
    logits, truth = batch(2, classes=20)
    observation = Observation(logits, truth)
    torch.testing.assert_close(observation.log_normaliser, logits.logsumexp(1))
    torch.testing.assert_close(observation.confidence, logits.softmax(1).amax(1))
    expected = -torch.nn.functional.cross_entropy(logits, truth.long(), ignore_index=IGNORE, reduction="none")
    torch.testing.assert_close(observation.truth_log_probability, expected)


def test_predictions_without_counterpart_are_outside():
    logits = torch.zeros(1, 20, 1, 2)
    logits[0, 19, 0, 0] = logits[0, 13, 0, 1] = 5.0
    observation = Observation(logits, torch.zeros(1, 1, 2, dtype=torch.uint8), TO_CAMVID, 11)
    assert observation.labels.tolist() == [[[19, 13]]] and observation.predicted.tolist() == [[[11, 8]]]


@pytest.mark.parametrize("mapped", [False, True])
def test_faint_probabilities_keep_their_digits(mapped):
    logits = torch.full((1, 20, 1, 1), -300.0)
    logits[0, 0] = 50.0  # road; the truth is a car, or a truck in the network's own space
    truth = torch.full((1, 1, 1), 8 if mapped else 14, dtype=torch.uint8)
    observation = Observation(logits, truth, TO_CAMVID if mapped else None, 11 if mapped else 20)
    expected = -350.0 + (math.log(4) if mapped else 0.0)
    assert observation.truth_log_probability.item() == pytest.approx(expected, rel=1e-6)


def test_half_precision_is_computed_in_float32():
    logits, truth = batch(3, classes=20)
    half = Observation(logits.half(), truth)
    assert half.log_normaliser.dtype == torch.float32
    assert torch.equal(half.log_normaliser, Observation(logits.half().float(), truth).log_normaliser)


def test_mapped_probabilities_ignore_an_autocast_around_them():
    logits, truth = batch(4)
    plain = Observation(logits, truth, TO_CAMVID, 11).truth_log_probability
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Observation(logits, truth, TO_CAMVID, 11).truth_log_probability, plain)


def test_inputs_stay_untouched():
    logits, truth = batch(5)
    before = logits.clone(), truth.clone()
    observation = Observation(logits, truth, TO_CAMVID, 11)
    for name, item in MEASURES.items():
        if item.networks == "one":
            measure(name, [observation], 11)
    assert torch.equal(logits, before[0]) and torch.equal(truth, before[1])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, y: Observation(x[:, :, 1:], y),
        lambda x, y: Observation(x, y.float()),
        lambda x, y: Observation(x, y, None, 11),
        lambda x, y: Observation(x, y, TO_CAMVID[:5], 11),
        lambda x, y: Observation(x, y, TO_CAMVID),
        lambda x, y: Observation(x.repeat(1, 13, 1, 1), y),
    ],
)
def test_misfits_are_refused(wrong):
    with pytest.raises(UsageError):
        wrong(*batch(6))


# --- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [11, 200])
def test_unknown_ids_of_the_truth_are_named(bad):
    logits, truth = batch(7)
    truth[0, 0, 0] = bad
    with pytest.raises(DataError, match=rf"\[{bad}\]"):
        measure("confusion", [Observation(logits, truth, TO_CAMVID, 11)], 11)
    with pytest.raises(DataError, match=rf"\[{bad}\]"):
        confusion_matrix(truth, truth, 11)
    with pytest.raises(DataError, match="300"):
        measure("confusion", [Observation(logits, truth.long().masked_fill(truth == bad, 300), TO_CAMVID, 11)], 11)


def test_shapes_of_plain_arrays_are_checked():
    with pytest.raises(DataError, match="equal shapes"):
        confusion_matrix(np.zeros((2, 3)), np.zeros((3, 2)), 2)
    with pytest.raises(DataError, match="confusion matrix"):
        iou(np.zeros((3, 2)))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_networks_that_diverged_have_no_loss_and_count_as_wrong(bad):
    logits, truth = batch(8, classes=20)
    truth[0, 0, 0] = 4
    logits[0, 4, 0, 0] = bad
    observation = Observation(logits, truth)
    figures = MEASURES.get("loss").compute(measure("loss", [observation], 20))
    assert figures == {"loss": None, "undefined_pixels": 1}
    matrix = measure("confusion", [observation], 20)["matrix"]
    if math.isnan(bad):
        assert matrix[4, 20] == 1 and matrix[:, 20].sum() == 1
    assert matrix.sum() == (truth != IGNORE).sum()
