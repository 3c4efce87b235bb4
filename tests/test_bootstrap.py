"""The paired bootstrap: closed forms, a naive loop, what is resampled, and how often equals are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from fusionlib.diagnostics.bootstrap import (
    COVERAGE,
    FEWEST,
    GROUPS,
    MANY,
    PICTURES,
    RUNS,
    Units,
    gain_interval,
    in_points,
    mean_ious,
    resampled_gains,
    unit_totals,
    units_of,
)
from fusionlib.errors import UsageError
from fusionlib.measures.confusion import mean_iou


def single(count: int) -> Units:
    return units_of([f"picture {number}" for number in range(count)])


def drawn(seed: int, count: int, classes: int = 4) -> np.ndarray:
    """Confusion matrices of pictures that lack most classes, as pictures do."""
    rng = np.random.default_rng(seed)
    there = rng.random((count, classes, 1)) < 0.5
    return rng.integers(0, 50, (count, classes, classes + 1)) * there


def rights(shares: list[float], pixels: int = 1000) -> np.ndarray:
    """Of one class, so that mIoU is the share of pixels that are right."""
    return np.array([[[round(share * pixels), pixels - round(share * pixels)]] for share in shares])


@pytest.mark.parametrize(
    ("groups", "places", "words"),
    [
        (["a", "b", "c"], (0, 1, 2), "3 pictures"),
        (["a"], (0,), "1 picture"),
        (["a"] * 12, (0,) * 10 + (1, 1), "2 runs of up to 10 neighbouring pictures"),
        (["a"] * 3, (0, 0, 0), "1 run of up to 10 neighbouring pictures"),
        (["a", "b"] * 11, (0, 1) * 10 + (2, 3), "4 runs of up to 10 neighbouring pictures"),
        ([*"abcdefghi", "i"], (*range(9), 8), "9 runs of up to 10 neighbouring pictures"),
        ([*"abcdefghij", "a"], (*range(10), 0), "10 groups of pictures"),
    ],
)
def test_groups_are_resampled_and_runs_of_neighbours_where_there_are_few(groups, places, words) -> None:
    units = units_of(groups)
    assert units.places == places and units.words == words and units.kind in (PICTURES, GROUPS, RUNS)
    assert units.count == max(places) + 1 and units.enough == (units.count >= FEWEST)


def test_a_drive_of_101_pictures_is_11_runs() -> None:
    units = units_of(["0016E5"] * 101)
    assert np.bincount(units.places).tolist() == [10] * 10 + [1]
    assert units.words == "11 runs of up to 10 neighbouring pictures"
    assert units_of([f"city {number}" for number in range(MANY)] * 3).kind == GROUPS


def test_equal_units_leave_no_doubt() -> None:
    ends = [unit_totals(rights([share] * 6), single(6)) for share in (0.5, 0.6)]
    merges = [unit_totals(rights([share] * 6), single(6)) for share in (0.2, 0.75, 0.7)]
    assert gain_interval(ends, merges) == pytest.approx((0.15, 0.15))


def test_what_one_unit_of_ten_gains_is_binomial() -> None:
    """In a draw the gain is how often that unit was drawn, Binomial(10, 1/10), over 10: 0 to 3 hold the middle 95 %."""
    nothing, one = (unit_totals(rights(shares), single(10)) for shares in ([0] * 10, [1, *[0] * 9]))
    gains = resampled_gains([nothing, nothing], [one], resamples=20_000)
    shares = np.bincount(np.rint(10 * gains).astype(int), minlength=4)[:4] / len(gains)
    assert shares == pytest.approx([0.3487, 0.3874, 0.1937, 0.0574], abs=0.01)
    assert gain_interval([nothing, nothing], [one], resamples=20_000) == (0.0, pytest.approx(0.3))
    assert gains.mean() == pytest.approx(0.1, abs=0.002)


def test_the_pairing_takes_away_what_all_share() -> None:
    """The pictures differ by far more than the networks: unpaired, the interval would be as wide as those."""
    hard = np.linspace(0.1, 0.8, 12)
    networks = [unit_totals(rights([*(hard + gain)], 10**6), single(12)) for gain in (0.0, -0.01, 0.02)]
    low, high = gain_interval(networks[:2], networks[2:])
    assert low == pytest.approx(0.02) and high == pytest.approx(0.02)


def test_sums_and_choices_are_those_of_a_naive_loop() -> None:
    groups = [*"aabbcdefghijk"]
    units = units_of(groups)
    networks = [drawn(seed, len(groups)) for seed in range(5)]
    totals = [unit_totals(one, units) for one in networks]
    draws = np.random.default_rng(7).multinomial(units.count, np.full(units.count, 1 / units.count), 30)
    gains = []
    for draw in draws:
        scores = [
            mean_iou(sum(draw[place] * picture for place, picture in zip(units.places, one, strict=True)))
            for one in networks
        ]
        gains.append(max(scores[2:]) - max(scores[:2]))
    assert resampled_gains(totals[:2], totals[2:], resamples=30, seed=7) == pytest.approx(gains, abs=1e-12)
    low, high = np.quantile(gains, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    assert gain_interval(totals[:2], totals[2:], resamples=30, seed=7) == pytest.approx((low, high))
    assert mean_ious(np.ones((1, units.count)), totals[0])[0] == pytest.approx(mean_iou(networks[0].sum(0)))


def test_the_same_seed_gives_the_same_bits_and_neither_order_nor_side_counts() -> None:
    totals = [unit_totals(drawn(seed, 9), single(9)) for seed in range(5)]
    found = gain_interval(totals[:2], totals[2:])
    assert gain_interval(totals[:2], totals[2:]) == found
    assert gain_interval(totals[1::-1], totals[:1:-1]) == found
    assert gain_interval(totals[:2], totals[2:], seed=1) != found


def test_pixels_are_counted_exactly() -> None:
    """So many pixels that float32 could not tell neighbouring counts apart."""
    pixels = 2**30
    one, more = (unit_totals(rights([0.5 + extra] * 6, pixels), single(6)) for extra in (0, 1 / pixels))
    assert gain_interval([one], [more]) == pytest.approx((1 / pixels, 1 / pixels), rel=1e-6)


def test_too_few_units_have_no_interval_and_neither_have_pictures_without_labels() -> None:
    for count in range(1, FEWEST + 1):
        found = gain_interval([unit_totals(rights([0.5] * count), single(count))] * 2, [np.ones((count, 3, 1))])
        assert (found is None) == (count < FEWEST)
    void = unit_totals(np.zeros((6, 2, 3)), single(6))
    assert gain_interval([void, void], [void]) is None
    half = unit_totals(rights([0.5] * 5 + [0.0], 10) * np.array([1, 1, 1, 1, 1, 0])[:, None, None], single(6))
    assert gain_interval([half, half], [half]) == (0, 0)


def test_every_picture_has_a_matrix() -> None:
    with pytest.raises(UsageError, match="3 confusion matrices"):
        unit_totals(drawn(0, 3), single(4))


def test_a_path_of_equals_is_seldom_told_apart_and_a_gain_of_size_is() -> None:
    """Merges as good as their ends, alike as neighbours on a path: pictures of 6 classes, 20 a trial."""
    rng, told, found = np.random.default_rng(0), [], []
    for _ in range(60):
        shares = rng.dirichlet(np.full(6, 0.5), 20) * 400
        hard, shared = rng.normal(size=(2, 20, 6))
        own = rng.normal(size=(9, 20, 6))
        own[2:] = np.sqrt(0.9) * shared + np.sqrt(0.1) * own[2:]
        for gain, into in ((0.0, told), (0.6, found)):
            lift = np.array([0.0, 0.0, *[gain] * 7])[:, None, None]
            right = np.round(shares / (1 + np.exp(-(1 + hard + 0.5 * own + lift))))
            matrices = np.zeros((9, 20, 6, 7))
            matrices[:, :, range(6), range(6)] = right
            matrices[:, :, range(6), [1, 2, 3, 4, 5, 0]] = np.round(shares) - right
            totals = [unit_totals(one, single(20)) for one in matrices]
            low, _ = gain_interval(totals[:2], totals[2:])
            into.append(low > 0)
    assert np.mean(told) <= 0.1 and np.mean(found) >= 0.9


def test_bounds_are_shown_on_their_side_of_0() -> None:
    assert in_points((0.004, 0.029)) == "+0.4 to +2.9" and in_points((-0.00012, 0.0001)) == "-0.01 to +0.01"
    assert in_points((3e-5, 0.0)) == "+0.003 to +0"
