"""Boundary IoU, risk against coverage and flicker, against closed forms and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionlib.contracts import MEASURES
from fusionlib.errors import UsageError
from fusionlib.measures.boundary import boundary_counts, boundary_iou, mean_boundary_iou
from fusionlib.measures.flicker import flicker, flicker_counts, neighbours
from fusionlib.measures.observation import Observation
from fusionlib.measures.selective import aurc, binned, by_confidence, confident_error, fpr95, risk_coverage


def square(left: int, side: int = 10) -> np.ndarray:
    ids = np.zeros((30, 40), np.uint8)
    ids[8 : 8 + side, left : left + side] = 1
    return ids


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_two_squares_one_pixel_apart_have_the_closed_form(distance: int) -> None:
    side = 10
    ring = side**2 - (side - 2 * distance) ** 2
    # Both squares and both cores are shifted by one column: pixels in both rings are those in both squares
    # (side - 1 columns) that are in neither core: the cores together are one column wider than each.
    core = side - 2 * distance
    both = side * (side - 1) - core * (core + 1)
    counts = boundary_counts(square(12), square(13), 2, distance)
    assert counts[:, 1].tolist() == [both, ring, ring]
    assert boundary_iou(counts)[1] == pytest.approx(both / (2 * ring - both))


def test_equal_maps_have_one_and_absent_classes_none() -> None:
    counts = boundary_counts(square(12), square(12), 3)
    assert boundary_iou(counts) == [1.0, 1.0, None] and mean_boundary_iou(counts) == 1.0
    assert mean_boundary_iou(np.zeros((3, 2), np.int64)) is None
    with pytest.raises(UsageError, match="one size"):
        boundary_counts(square(12), square(12)[:4], 2)


def test_void_is_dropped_after_the_bands_were_taken() -> None:
    truth = square(12)
    truth[:, 22:] = 255  # beside the square's right edge, which stays an edge
    counts = boundary_counts(truth, square(12), 2, 1)
    assert counts[:, 1].tolist() == [36, 36, 36]
    assert counts[2, 0] == 10 + 10 + 10, "of the background's band, what is void is not counted"


def naive_risk(confidence: np.ndarray, right: np.ndarray) -> tuple[list[float], list[float], float, float]:
    coverages, risks, area, before, most = [], [], 0.0, 0.0, None
    for threshold in sorted(set(confidence.tolist()), reverse=True):
        kept = [hit for one, hit in zip(confidence, right, strict=True) if one >= threshold]
        coverage, risk = len(kept) / len(confidence), 1 - sum(kept) / len(kept)
        area += (coverage - before) * risk
        before = coverage
        coverages.append(coverage)
        risks.append(risk)
        if most is None and 20 * sum(kept) >= 19 * right.sum():
            most = sum(not hit for hit in kept) / (~right).sum()
    assert most is not None
    return coverages, risks, area, float(most)


@pytest.mark.parametrize("seed", range(6))
def test_risk_and_its_figures_are_those_of_a_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, 12 + 40 * (seed % 2), 120) / 60
    right = rng.random(120) < 0.3 + confidence / 2
    tables = by_confidence(confidence, right)
    coverage, risk = risk_coverage(*tables)
    coverages, risks, area, rate = naive_risk(confidence, right)
    assert coverage.tolist() == pytest.approx(coverages) and risk.tolist() == pytest.approx(risks)
    assert aurc(*tables) == pytest.approx(area) and fpr95(*tables) == pytest.approx(rate)


def test_what_is_undefined_is_none() -> None:
    nothing, some = np.zeros(3, int), np.array([0, 4, 2])
    assert aurc(nothing, nothing) is None and fpr95(some, nothing) is None and fpr95(nothing, some) is None
    assert aurc(some, nothing) == 0.0 and aurc(nothing, some) == 1.0
    with pytest.raises(UsageError, match="same bins"):
        risk_coverage(some, nothing[:2])


def test_the_stored_bins_of_calibration_give_the_confident_error() -> None:
    torch.manual_seed(0)
    logits, truth = 4 * torch.randn(1, 5, 40, 50), torch.randint(0, 5, (1, 40, 50))
    measure = MEASURES.get("calibration")
    state = measure.init(5, torch.device("cpu"))
    measure.update(state, Observation(logits, truth.to(torch.uint8)))
    confidence, predicted = (part[0].numpy() for part in logits.softmax(1).max(1))
    right = predicted == truth[0].numpy()
    exact = confidence[~right].sum() / right.size
    tables = state["outcomes"].numpy(), state["top"].numpy()
    assert confident_error(*tables) == pytest.approx(exact, abs=1 / 120)
    hits, misses, units = binned(*tables)
    assert hits.sum() == right.sum() and misses.sum() == (~right).sum() and (np.diff(units) > 0).all()
    assert aurc(hits, misses) == pytest.approx(aurc(*by_confidence(confidence, right)), abs=5e-3)
    assert confident_error(0 * tables[0], 0 * tables[1]) is None


def test_flicker_counts_still_pixels_of_neighbours_alone() -> None:
    truths = np.array([[[0, 0, 1, 255]], [[0, 0, 0, 255]]], np.uint8)
    said = np.array([[[0, 1, 1, 0]], [[0, 0, 2, 1]]], np.uint8)
    counts = flicker_counts((truths[0], truths[1]), (said[0], said[1]), 2)
    assert counts.tolist() == [[2, 0], [1, 0]], "two pixels stay road, one of them changes its label"
    assert flicker([counts, counts]) == 0.5 and flicker([]) is None
    assert neighbours(["a", "b", "a", "c", "a", "b"]) == [(0, 2), (2, 4), (1, 5)]
    with pytest.raises(UsageError, match="one size"):
        flicker_counts((truths[0], truths[1][:, :2]), (said[0], said[1]), 2)
