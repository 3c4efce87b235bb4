"""Measures of sets: correlation, ensembles size by size, calibrated log-likelihood and what it is worth."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_measures import seen

from fusionlib.contracts import MEASURES, State
from fusionlib.diagnostics.deep_ensemble import deep_ensemble_equivalent, equivalent_in_words
from fusionlib.errors import UsageError
from fusionlib.measures import states
from fusionlib.measures.calibrated_likelihood import SPLITS, calibrated_log_likelihood
from fusionlib.measures.observation import UNIT, Observation
from fusionlib.measures.temperature_curve import TEMPERATURES, minimum_of
from tests.helpers import CPU

LIMIT = 4096
"""Bytes of a state of one picture."""


def state_of(name: str, *pictures: list[Observation], classes: int = 11) -> State:
    measure = MEASURES.get(name)
    state = measure.init(classes, CPU, len(pictures[0]))
    for shown in pictures:
        measure.update(state, *shown)
    return state


def figures_of(name: str, *pictures: list[Observation], classes: int = 11) -> dict:
    return MEASURES.get(name).compute(state_of(name, *pictures, classes=classes))


# --- correlation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [True, False])
def test_correlation_is_numpys_over_labelled_pixels_and_classes(mapped: bool) -> None:
    pictures = [seen(number, 4, mapped) for number in range(4)]
    columns = [
        np.concatenate([one[network].target_probabilities[0][:, one[0].valid[0]].numpy().ravel() for one in pictures])
        for network in range(4)
    ]
    wanted = np.asarray(np.corrcoef(np.array(columns, np.float64)))
    found = figures_of("correlation", *pictures, classes=11 if mapped else 20)
    pairs = list(combinations(range(4), 2))
    assert found["pair_correlation"] == pytest.approx([wanted[pair] for pair in pairs], abs=1e-12)
    assert found["correlation"] == pytest.approx(np.mean([wanted[pair] for pair in pairs]))


def test_correlation_of_copies_is_1_and_of_opposites_minus_1() -> None:
    logits = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    truth = torch.zeros(1, 5, 6, dtype=torch.uint8)
    shown = [Observation(one, truth) for one in (logits, logits.clone(), -logits, 0 * logits)]
    found = figures_of("correlation", shown, classes=2)
    assert found["pair_correlation"][:2] == pytest.approx([1, -1])
    assert found["pair_correlation"][2] is None and found["correlation"] is None, "one says the same everywhere"


def test_a_network_that_diverged_has_no_correlation_and_leaves_those_of_others_alone() -> None:
    shown = seen(0, 3)
    truth, broken = torch.ones_like(shown[0].truth), shown[2].logits.clone()
    broken[0, :, 0, 0] = torch.nan
    one, other, last = (
        Observation(logits, truth, shown[0].mapping, 11) for logits in (shown[0].logits, shown[1].logits, broken)
    )
    found = figures_of("correlation", [one, other, last])
    assert found["pair_correlation"] == [figures_of("correlation", [one, other])["correlation"], None, None]
    assert found["correlation"] is None


def test_without_masks_all_pixels_are_correlated() -> None:
    shown = seen(0, 2, mapped=False, labelled=False)
    both = np.stack([one.target_probabilities.numpy().ravel() for one in shown]).astype(np.float64)
    wanted = np.asarray(np.corrcoef(both))
    assert figures_of("correlation", shown, classes=20)["correlation"] == pytest.approx(wanted[0, 1], abs=1e-12)


def test_states_of_thirty_networks_fit() -> None:
    packed = states.pack(state_of("correlation", seen(0, 30, mapped=False, size=(20, 30)), classes=20))
    assert len(packed) <= LIMIT


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [True, False])
def test_every_size_is_what_the_subset_and_the_networks_alone_give(mapped: bool) -> None:
    classes = 11 if mapped else 20
    pictures = [seen(number, 3, mapped) for number in range(3)]
    found = figures_of("ensemble_sizes", *pictures, classes=classes)
    subsets = figures_of("ensembles", *pictures, classes=classes)
    subsets |= figures_of("ensembles_calibration", *pictures, classes=classes)
    for name in ("miou", "pixel_accuracy", "loss", "ece"):
        first, *more = found[f"size_{name}"]
        assert more == [subsets[f"ensemble_{name}"][place] for place in (0, 3)], "(0, 1), and (0, 1, 2)"
        alone = figures_of("loss" if name == "loss" else "confusion", *([one[0]] for one in pictures), classes=classes)
        if name in alone:
            assert first == pytest.approx(alone[name])


@pytest.mark.parametrize("name", ["ensemble_sizes", "ensemble_temperatures"])
def test_states_of_eight_networks_on_a_picture_of_life_fit(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    coarse = 4 * torch.randn(9, 19, 8, 12, generator=draw)
    logits = torch.nn.functional.interpolate(coarse, (240, 360), mode="bilinear")
    truth = logits[8].argmax(0)[None].to(torch.uint8)
    shown = [Observation((one + logits[8])[None], truth) for one in logits[:8]]
    assert len(states.pack(state_of(name, shown, classes=19))) <= LIMIT


@pytest.mark.parametrize("mapped", [True, False])
def test_losses_at_temperatures_are_those_of_scaled_logits(mapped: bool) -> None:
    classes, shown = 11 if mapped else 20, seen(2, 2, mapped)
    state = state_of("ensemble_temperatures", shown, classes=classes)
    alone = state_of("temperature", shown[:1], classes=classes)
    assert all(torch.equal(state[name][0], alone[name]) for name in ("steps", "undefined"))
    together = torch.stack([one.logits.softmax(1) for one in shown]).mean(0).log()
    for row, logits in enumerate((shown[0].logits, together)):
        for place, temperature in enumerate(TEMPERATURES):
            loss = Observation(logits / temperature, shown[0].truth, shown[0].mapping, classes).loss
            assert int(state["steps"][row, place]) == pytest.approx(int(loss.steps), rel=1e-6)
            assert int(state["undefined"][row, place]) == int(loss.beyond)


def test_a_class_that_nothing_maps_to_has_no_loss_at_any_temperature() -> None:
    truth = torch.tensor([[[0, 1, 2]]], dtype=torch.uint8)
    mapping = torch.tensor([0, 1, -1])
    one = Observation(torch.randn(1, 3, 1, 3, generator=torch.Generator().manual_seed(0)), truth, mapping, 3)
    state = state_of("temperature", [one], classes=3)
    assert state["undefined"].tolist() == [1] * len(TEMPERATURES)
    assert MEASURES.get("temperature").compute(state)["temperature"] is None


def test_networks_of_other_classes_do_not_answer_together() -> None:
    (one,), truth = seen(0, 1, mapped=False), torch.zeros(1, 6, 7, dtype=torch.uint8)
    with pytest.raises(UsageError, match="same classes"):
        state_of("ensemble_sizes", [one, Observation(torch.zeros(1, 3, 6, 7), truth)], classes=20)


# --- calibrated log-likelihood ---------------------------------------------------------------------------------------


def parabola(lowest: float, floor: float) -> np.ndarray:
    """Losses that are a square of log T: what a polynomial meets exactly."""
    return floor + np.log(np.array(TEMPERATURES) / lowest) ** 2


def test_a_minimum_between_temperatures_is_met_and_read_off_other_curves() -> None:
    found = minimum_of(parabola(1.3, 0.5).tolist(), TEMPERATURES)
    assert found is not None and not found.at_limit
    assert found.temperature == pytest.approx(1.3) and found.loss == pytest.approx(0.5)
    assert found.of(parabola(2.0, 0.1).tolist()) == pytest.approx(0.1 + np.log(1.3 / 2.0) ** 2)
    assert found.of([np.inf] * len(TEMPERATURES)) is None
    rising = minimum_of(list(map(float, range(21))), TEMPERATURES)
    assert rising is not None and rising.at_limit and rising.temperature == 0.25 and rising.of([7.0] * 21) == 7
    assert minimum_of([np.nan] * 21, TEMPERATURES) is None


def test_pictures_that_agree_on_the_temperature_have_the_likelihood_at_it() -> None:
    pixels = np.array([10, 30, 0, 20, 40])
    losses = np.stack([count * parabola(1.5, 0.25) for count in pixels])
    assert calibrated_log_likelihood(losses, pixels) == pytest.approx(-0.25)


def test_halves_that_disagree_are_scored_with_the_temperature_of_the_other() -> None:
    losses = np.stack([parabola(1.0, 0.0), parabola(2.0, 0.0)])
    assert calibrated_log_likelihood(losses, np.array([1, 1])) == pytest.approx(-(np.log(2.0) ** 2))
    assert SPLITS == 5 and calibrated_log_likelihood(losses[:1], np.array([1])) is None, "nothing to fit on"


def test_it_is_the_naive_refit_of_real_logits() -> None:
    pictures = [seen(number, 1, mapped=False, size=(9, 11)) for number in range(4)]
    rows = [state_of("temperature", shown, classes=20) for shown in pictures]
    losses = np.stack([state["steps"].numpy() * UNIT for state in rows])
    pixels = np.array([int(state["pixels"]) for state in rows])

    def loss(shown: list[Observation], temperature: float) -> float:
        one = shown[0]
        return int(Observation(one.logits / temperature, one.truth, None, 20).loss.steps) * UNIT

    grid, total, draw = np.geomspace(0.25, 8, 201), 0.0, np.random.default_rng(0)
    table = np.array([[loss(shown, temperature) for temperature in grid] for shown in pictures])
    for _ in range(SPLITS):
        order = draw.permutation(4)
        for fit, score in ((order[:2], order[2:]), (order[2:], order[:2])):
            total += table[score, table[fit].sum(0).argmin()].sum()
    assert calibrated_log_likelihood(losses, pixels) == pytest.approx(-total / SPLITS / pixels.sum(), abs=5e-4)


def test_an_undefined_loss_gives_no_likelihood_and_wrong_shapes_are_refused() -> None:
    losses = np.stack([parabola(1.0, 0.0)] * 4)
    losses[2] = np.inf
    assert calibrated_log_likelihood(losses, np.ones(4)) is None
    with pytest.raises(UsageError, match="temperatures"):
        calibrated_log_likelihood(losses[:, :5], np.ones(4))


# --- deep ensemble equivalent ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.sets(st.integers(2, 40), min_size=6, max_size=6))
def test_a_deep_ensemble_is_worth_itself(steps: list[float], sizes: set[int]) -> None:
    curve = list(zip((1, *sorted(sizes)), np.cumsum([-3.0, *steps]).tolist(), strict=False))
    for size, likelihood in curve:
        assert deep_ensemble_equivalent(curve, likelihood) == pytest.approx(size)
    for (size, low), (larger, high) in pairwise(curve):
        middle = deep_ensemble_equivalent(curve[::-1], (low + high) / 2)
        assert middle == pytest.approx((size + larger) / 2), "linear between sizes, in whatever order they come"


def test_outside_the_curve_it_is_1_or_not_known() -> None:
    curve = [(1, -0.5), (2, -0.4), (5, -0.1)]
    assert deep_ensemble_equivalent(curve, -0.5) == deep_ensemble_equivalent(curve, -9.0) == 1
    assert deep_ensemble_equivalent(curve, -0.05) is None
    assert deep_ensemble_equivalent(curve, -0.2) == pytest.approx(4)
    words = [equivalent_in_words(curve, value) for value in (-9, -0.5, -0.2, -0.05)]
    assert words == ["<= 1", "<= 1", "4.0", "> 5"]


def test_a_dip_leaves_the_first_crossing() -> None:
    curve = [(1, -0.5), (2, -0.3), (3, -0.4), (4, -0.2)]
    assert deep_ensemble_equivalent(curve, -0.35) == pytest.approx(1.75)
    assert deep_ensemble_equivalent(curve, -0.4) == pytest.approx(1.5), "what three are worth here"
    assert deep_ensemble_equivalent(curve, -0.25) == pytest.approx(3.75)


@pytest.mark.parametrize("curve", [[], [(2, -0.1)], [(1, -0.3), (1, -0.2)]])
def test_a_curve_without_its_beginning_is_refused(curve: list[tuple[int, float]]) -> None:
    with pytest.raises(UsageError, match="sizes from 1"):
        deep_ensemble_equivalent(curve, -0.2)
