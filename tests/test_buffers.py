"""Batch-norm statistics under the policies average, gaussian and anchor; the weighted average that all rest on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import arena_of, tiny_tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.arena import Arena
from fusionlib.errors import UsageError
from fusionlib.merging.average import check_shares, weighted_average
from fusionlib.merging.buffers import EQUAL_COUNTS, merged_integers, pooled_moments, settle
from fusionlib.merging.choices import POLICIES, check_policy
from fusionlib.merging.linear import Linear

SHARES = st.lists(st.floats(0.01, 1), min_size=1, max_size=6).map(
    lambda values: [value / sum(values) for value in values]
)


def counted(seed: int, count: int | None) -> dict[str, torch.Tensor]:
    """Tiny tensors whose counters all say `count`, or which have none."""
    tensors = tiny_tensors(seed)
    for name in [name for name in tensors if name.endswith("num_batches_tracked")]:
        if count is None:
            del tensors[name]
        else:
            tensors[name] = torch.tensor(count)
    return tensors


def applied(policy: str, arena: Arena, shares: list[float]) -> tuple[torch.Tensor, tuple[str, ...]]:
    out = torch.full_like(arena.weights[0], 7.0)
    return out, settle(policy, arena, Linear(weights=tuple(shares)), out)


@settings(deadline=None)
@given(SHARES, st.integers(0, 2**16))
def test_weighted_average_is_the_weighted_sum(shares: list[float], seed: int) -> None:
    rows = torch.randn(len(shares), 50, generator=torch.Generator().manual_seed(seed))
    out = torch.empty(50)
    assert weighted_average(rows, shares, out) is out
    naive = sum(share * row.double() for share, row in zip(shares, rows, strict=True))
    assert torch.allclose(out.double(), naive, rtol=0, atol=1e-6 * float(rows.abs().max()))


@settings(deadline=None, max_examples=50)
@given(SHARES, st.lists(st.integers(0, 5000), max_size=8), st.sampled_from([torch.float32, torch.float64]))
def test_weighted_average_is_the_same_to_the_last_bit_however_it_is_cut(shares, cuts, dtype) -> None:
    rows = torch.randn(len(shares), 5000, generator=torch.Generator().manual_seed(len(cuts))).to(dtype)
    whole = weighted_average(rows, shares, torch.empty(5000, dtype=dtype))
    pieces = torch.empty(5000, dtype=dtype)
    edges = sorted({0, *cuts, 5000})
    for start, end in pairwise(edges):
        weighted_average([row[start:end] for row in rows], shares, pieces[start:end])
    assert torch.equal(whole, pieces)


def test_the_cuts_of_torchs_own_threads_change_nothing() -> None:
    rows = torch.randn(3, 200_003)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(weighted_average(rows, (0.2, 0.5, 0.3), torch.empty(200_003)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@given(SHARES)
def test_equal_rows_come_back_exactly(shares: list[float]) -> None:
    row = torch.randn(33) * 1e3
    assert torch.equal(weighted_average([row] * len(shares), shares, torch.empty(33)), row)


def test_a_row_without_weight_is_not_even_read() -> None:
    rows = [torch.full((4,), torch.nan), torch.arange(4.0), torch.full((4,), torch.inf)]
    assert torch.equal(weighted_average(rows, (0, 1, 0), torch.empty(4)), rows[1])
    with pytest.raises(UsageError, match="All weights are 0"):
        weighted_average(rows, (0, 0, 0), torch.empty(4))


@pytest.mark.parametrize(
    ("shares", "count"),
    [
        ((0.5, 0.6), 2),
        ((0.5, 0.4999), 2),
        ((1.5, -0.5), 2),
        ((float("nan"), 1.0), 2),
        ((float("inf"), 0.0), 2),
        ((1.0,), 2),
        ((), 0),
    ],
)
def test_shares_that_are_no_shares_are_refused(shares: tuple[float, ...], count: int) -> None:
    with pytest.raises(UsageError):
        check_shares(shares, count)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 1000))
def test_pooled_moments_of_parts_are_the_moments_of_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.normal(0, 3), rng.uniform(0.1, 4), (size, 3)) for size in sizes]
    means, variances = (torch.tensor(np.stack([getattr(part, what)(0) for part in parts])) for what in ("mean", "var"))
    counts = torch.tensor(sizes).unsqueeze(1).expand(-1, 3)
    mean, variance = pooled_moments(means, variances, counts)
    whole = np.concatenate(parts)
    assert mean.dtype == variance.dtype == torch.float64
    np.testing.assert_allclose(mean, whole.mean(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(variance, whole.var(0), rtol=1e-10, atol=1e-12)


@given(st.integers(0, 1000))
def test_pooling_is_associative(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    means, variances = torch.randn(3, 4, generator=generator), torch.rand(3, 4, generator=generator)
    counts = torch.randint(1, 1000, (3, 4), generator=generator)
    at_once = pooled_moments(means, variances, counts)
    mean, variance = pooled_moments(means[:2], variances[:2], counts[:2])
    folded = pooled_moments(
        torch.stack([mean, means[2].double()]),
        torch.stack([variance, variances[2].double()]),
        torch.stack([counts[:2].sum(0), counts[2]]),
    )
    for one, other in zip(at_once, folded, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_gaussian_weighs_by_batches_seen_whatever_the_merge_weights(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, counted(1, 30), counted(2, 10))
    out, notes = applied("gaussian", arena, [0.1, 0.9])
    for item in arena.layout.statistics:
        means, variances = (
            torch.stack([arena.layout.view(row, entry.name) for row in arena.weights])
            for entry in (item.mean, item.variance)
        )
        mean, variance = pooled_moments(means, variances, torch.tensor([[30], [10]]).expand(2, means.shape[1]))
        assert torch.equal(arena.layout.view(out, item.mean.name), mean.float())
        assert torch.equal(arena.layout.view(out, item.variance.name), variance.float())
    assert notes == ()
    assert torch.equal(out, applied("gaussian", arena, [0.7, 0.3])[0])


@pytest.mark.parametrize("counts", [(0, 0), (5, 0), (None, None)])
def test_gaussian_without_counters_pools_equally_and_says_so(
    tmp_path: Path, counts: tuple[int | None, int | None]
) -> None:
    arena = arena_of(tmp_path, *(counted(seed, count) for seed, count in zip((1, 2), counts, strict=True)))
    equal = arena_of(tmp_path / "equal", counted(1, 9), counted(2, 9))
    out, notes = applied("gaussian", arena, [0.5, 0.5])
    assert len(notes) == 1 and notes[0].startswith(f"{EQUAL_COUNTS} in 2 of 2 layers (norm, norm2)")
    expected, _ = applied("gaussian", equal, [0.5, 0.5])
    for item in arena.layout.statistics:
        for name in (item.mean.name, item.variance.name):
            assert torch.equal(arena.layout.view(out, name), equal.layout.view(expected, name))


@pytest.mark.parametrize("policy", ["average", "gaussian"])
def test_a_checkpoint_without_weight_takes_no_part(tmp_path: Path, policy: str) -> None:
    two = arena_of(tmp_path, counted(1, 30), counted(2, 10))
    three = arena_of(tmp_path, counted(1, 30), counted(3, 0), counted(2, 10))
    left, right = applied(policy, two, [0.25, 0.75]), applied(policy, three, [0.25, 0.0, 0.75])
    assert torch.equal(left[0], right[0]) and left[1] == right[1]


def test_anchor_keeps_the_first_ones_statistics_even_without_weight(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, counted(1, 30), counted(2, 10))
    out, _ = applied("anchor", arena, [0.0, 1.0])
    for index in (arena.mean_index, arena.variance_index):
        assert torch.equal(out[index], arena.weights[0][index])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_touches_statistics_only(tmp_path: Path, policy: str) -> None:
    arena = arena_of(tmp_path, counted(1, 30), counted(2, 10))
    out, _ = applied(policy, arena, [0.5, 0.5])
    rest = torch.ones_like(out, dtype=torch.bool)
    rest[arena.mean_index] = rest[arena.variance_index] = False
    assert (out[rest] == 7).all()
    if policy == "recalibrate":
        assert (out == 7).all(), "its statistics are measured, not merged"


def test_huge_counters_are_not_rounded_to_float32(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, counted(1, 2**24 + 1), counted(2, 1))
    assert arena.counts is not None and int(arena.counts[0, 0]) == 2**24 + 1


@pytest.mark.parametrize(
    ("policy", "shares", "expected"),
    [
        ("average", [0.6, 0.4], 30),
        ("average", [0.4, 0.6], 10),
        ("recalibrate", [0.4, 0.6], 10),
        ("gaussian", [0.4, 0.6], 40),
        ("anchor", [0.4, 0.6], 30),
        ("anchor", [0.0, 1.0], 30),
        ("average", [0.0, 1.0], 10),
        ("gaussian", [0.0, 1.0], 10),
        ("gaussian", [1.0, 0.0], 30),
    ],
)
def test_counters_of_a_merge(tmp_path: Path, policy: str, shares: list[float], expected: int) -> None:
    arena = arena_of(tmp_path, counted(1, 30), counted(2, 10))
    merged = merged_integers(policy, arena, Linear(weights=tuple(shares)))
    assert {int(merged[item.counter]) for item in arena.layout.statistics if item.counter} == {expected}
    assert torch.equal(merged["table"], torch.arange(4))
    assert all(merged[name].dtype == torch.int64 for name in merged)
    assert int(arena.integers[0]["norm.num_batches_tracked"]) == 30, "inputs stay as they are"


def test_a_summed_counter_keeps_its_own_type(tmp_path: Path) -> None:
    tables = [counted(1, 30), counted(2, 10)]
    for table in tables:
        table["norm.num_batches_tracked"] = table["norm.num_batches_tracked"].to(torch.int32)
    merged = merged_integers("gaussian", arena_of(tmp_path, *tables), Linear())
    assert merged["norm.num_batches_tracked"].dtype == torch.int32


def test_an_unknown_policy_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=", ".join(POLICIES)):
        check_policy("median")
