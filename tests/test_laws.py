"""The laws that every merge method obeys, over the registry, with every policy that needs no pictures.

A method that cannot satisfy one names it in `breaks`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import arena_of, informed, tiny_registered, tiny_tensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.rounding import round_to_dtype
from fusionlib.contracts import METHODS, MergeMethod, Mixture
from fusionlib.errors import FusionError, MergeError, UsageError
from fusionlib.merging.buffers import merged_integers, settle
from fusionlib.merging.build import build_method

POLICIES = ("average", "gaussian", "anchor")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
EVERY = [(name, policy) for name in METHODS.names() for policy in POLICIES]
LAWS = {"finite", "shape", "inputs", "seed", "copies", "endpoints", "variances", "integers", "unweighted"}


def method(name: str, **parameters: object) -> MergeMethod:
    return build_method(name, parameters)


def merged(item: MergeMethod, arena: Arena, policy: str, out: torch.Tensor | None = None) -> Mixture:
    item = informed(item, arena, tame=True)
    mixture = item(arena, out=out)
    for row in mixture.weights:
        settle(policy, arena, item, row)
    return mixture


@pytest.fixture(autouse=True, scope="module")
def known_network():
    """Methods that need an architecture find that of the tiny checkpoints."""
    with tiny_registered():
        yield


def keeps(name: str, law: str) -> None:
    assert law in LAWS
    if law in METHODS.get(name).breaks:
        pytest.skip(f"{name} declares that it breaks {law}")


@pytest.fixture(scope="module")
def arenas(tmp_path_factory: pytest.TempPathFactory) -> dict[torch.dtype, Arena]:
    return {
        dtype: arena_of(tmp_path_factory.mktemp("arena"), tiny_tensors(1, dtype=dtype), tiny_tensors(2, dtype=dtype))
        for dtype in DTYPES
    }


def test_methods_break_known_laws_only() -> None:
    assert METHODS.names()
    for name in METHODS.names():
        assert METHODS.get(name).breaks <= LAWS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_results_are_finite_and_keep_shape_dtype_and_device(arenas, name: str, policy: str, dtype: torch.dtype) -> None:
    keeps(name, "finite"), keeps(name, "shape")
    arena = arenas[dtype]
    mixture = merged(method(name), arena, policy)
    assert torch.isfinite(mixture.weights).all()
    assert mixture.weights.shape[1] == arena.layout.size and mixture.coefficients.shape == mixture.weights.shape[:1]
    assert mixture.weights.dtype == arena.weights.dtype and mixture.weights.device == arena.weights.device
    assert float(mixture.coefficients.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_inputs_are_untouched(arenas, name: str, policy: str) -> None:
    keeps(name, "inputs")
    arena = arenas[torch.float32]
    before, tables = arena.weights.clone(), [dict(table) for table in arena.integers]
    merged(method(name), arena, policy)
    merged_integers(policy, arena, method(name))
    assert torch.equal(arena.weights, before)
    for table, old in zip(arena.integers, tables, strict=True):
        assert all(torch.equal(table[key], old[key]) for key in old)


@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_the_same_seed_gives_the_same_bytes_with_and_without_a_buffer(arenas, name: str, policy: str) -> None:
    keeps(name, "seed")
    arena = arenas[torch.float32]
    first = merged(method(name), arena, policy).weights
    torch.manual_seed(99)
    assert torch.equal(first, merged(method(name), arena, policy).weights)
    out = torch.full_like(arena.weights[0], torch.nan)
    into = merged(method(name), arena, policy, out).weights
    assert torch.equal(first, into)
    if len(into) == 1:
        assert into.data_ptr() == out.data_ptr(), "a resident buffer spares a copy"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_identical_copies_merge_to_themselves_exactly(
    tmp_path: Path, name: str, policy: str, dtype: torch.dtype
) -> None:
    keeps(name, "copies")
    arena = arena_of(tmp_path, *[tiny_tensors(4, dtype=dtype)] * 2)
    for row in merged(method(name), arena, policy).weights:
        assert torch.equal(row, arena.weights[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("policy", ["average", "gaussian"])
@pytest.mark.parametrize("name", METHODS.names())
def test_alpha_0_and_1_give_the_ends_exactly(arenas, name: str, policy: str, dtype: torch.dtype) -> None:
    keeps(name, "endpoints")
    arena = arenas[dtype]
    for alpha, end in ((1.0, 0), (0.0, 1)):
        item = method(name, alpha=alpha)
        assert torch.equal(merged(item, arena, policy).weights[0], arena.weights[end])
        integers = merged_integers(policy, arena, item)
        assert all(torch.equal(integers[key], arena.integers[end][key]) for key in integers)


@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_variances_are_not_negative(tmp_path: Path, name: str, policy: str) -> None:
    keeps(name, "variances")
    tables = [tiny_tensors(1), tiny_tensors(2)]
    for table, value in zip(tables, (0.0, 1e-30), strict=True):
        table["norm.running_var"].fill_(value)
    arena = arena_of(tmp_path, *tables)
    for row in merged(method(name), arena, policy).weights:
        assert (row[arena.variance_index] >= 0).all()


@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_integers_stay_integers(arenas, name: str, policy: str) -> None:
    keeps(name, "integers")
    arena = arenas[torch.float32]
    integers = merged_integers(policy, arena, method(name))
    assert set(integers) == set(arena.layout.integers)
    assert all(value.dtype == arena.integers[0][key].dtype for key, value in integers.items())
    assert torch.equal(integers["table"], torch.arange(4))


@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_a_counter_follows_the_statistics_of_its_own_layer(arenas, name: str, policy: str) -> None:
    keeps(name, "integers")
    arena, item = arenas[torch.float32], method(name)
    anchor = item.anchor
    integers = merged_integers(policy, arena, item)
    for layer in arena.layout.statistics:
        shares = item.tensor_shares(arena)[layer.mean.name] if item.tensorwise else item.shares(2)
        counts = [int(table[layer.counter]) for table in arena.integers]
        heaviest = [number for number in (0, 1) if shares[number] == max(shares)]
        owner = anchor if anchor in heaviest else min(heaviest, key=lambda number: arena.fingerprints[number])
        expected = {
            "anchor": counts[anchor or 0],
            "average": counts[owner],
            "gaussian": sum(count for count, share in zip(counts, shares, strict=True) if share),
        }
        assert int(integers[layer.counter]) == expected[policy]


@pytest.mark.parametrize("policy", ["average", "gaussian"])
@pytest.mark.parametrize("name", METHODS.names())
def test_a_checkpoint_full_of_nan_and_without_weight_poisons_nothing(tmp_path: Path, name: str, policy: str) -> None:
    keeps(name, "unweighted")
    bad = {
        key: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for key, value in tiny_tensors(2).items()
    }
    arena = arena_of(tmp_path, tiny_tensors(1), bad)
    assert torch.equal(merged(method(name, alpha=1.0), arena, policy).weights[0], arena.weights[0])


NARROW = {
    torch.float16: (65504.0, 16.0),
    torch.bfloat16: (3.3895313892515355e38, 2.0**119),
    torch.float8_e4m3fn: (448.0, 16.0),
    torch.float8_e5m2: (57344.0, 4096.0),
}
"""The largest number of each type, and half a step there: what is further out is not rounded but lost."""


def misfits(arena: Arena, row: torch.Tensor) -> list[str]:
    """Names of the tensors that hold a number outside of their own type's range, in order."""

    def lost(value: float, dtype: torch.dtype) -> bool:
        most, half_step = NARROW.get(dtype, (float(torch.finfo(dtype).max), 0.0))
        return not abs(value) <= most + half_step

    return [
        entry.name
        for entry in arena.layout.entries
        if any(lost(value, entry.dtype) for value in row[entry.offset : entry.end].tolist())
    ]


def far_out(folder: Path, dtype: torch.dtype, factor: float) -> Arena:
    """Written in `dtype`: a checkpoint near the end of its range, and one as many times further out, each with the
    other's sign.
    """
    most, _ = NARROW[dtype]
    tables = [tiny_tensors(1), tiny_tensors(2)]
    for table, size in zip(tables, (0.9 * most, -factor * most), strict=True):
        for key, value in table.items():
            if value.is_floating_point():
                spread = value.double().abs() / value.abs().max().clamp(min=1e-6)
                table[key] = (spread * size).clamp(-3.4e38, 3.4e38).float()
    arena = arena_of(folder, *tables)
    return replace(arena, layout=arena.layout.written_in(dtype))


GIVES_THE_SECOND = {"head_swap": {"backbone": 1, "head": 0}, "samples": {"anchor": 1}}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(("name", "policy"), EVERY)
def test_what_does_not_fit_the_files_dtype_is_refused_by_name_and_the_rest_is_rounded(
    tmp_path: Path, name: str, policy: str, dtype: torch.dtype
) -> None:
    refused = []
    for factor in (0.99, 8.0):
        item = method(name, **GIVES_THE_SECOND.get(name, {}))
        arena = far_out(tmp_path / str(factor), dtype, factor)
        for row in merged(item, arena, policy).weights:
            wrong, exact = misfits(arena, row), row.clone()
            refused.append(bool(wrong))
            if wrong:
                with pytest.raises(MergeError, match=rf"^{re.escape(wrong[0])} would hold .* does not fit") as caught:
                    round_to_dtype(arena.layout, row)
                assert str(arena.layout.by_name[wrong[0]].dtype).removeprefix("torch.") in caught.value.got
                continue
            round_to_dtype(arena.layout, row)
            for entry in arena.layout.entries:
                values = row[entry.offset : entry.end]
                assert torch.isfinite(values).all() and torch.equal(
                    values, exact[entry.offset : entry.end].to(entry.dtype).to(row.dtype)
                )
    if (
        not METHODS.get(name).whole_checkpoints and dtype != torch.bfloat16
    ):  # whose range is that of float32: only the arithmetic itself overflows there
        assert any(refused), "a law that never refuses would say nothing"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda values: sum(values) > 0.1),
    policy=st.sampled_from(POLICIES),
)
def test_linear_is_the_weighted_sum_and_stays_between_the_smallest_and_the_largest(
    tmp_path_factory, values, policy
) -> None:
    shares = [value / sum(values) for value in values]
    arena = _three(tmp_path_factory)
    row = merged(method("linear", weights=shares), arena, policy).weights[0]
    parameters = torch.ones_like(row, dtype=torch.bool)
    parameters[arena.mean_index] = parameters[arena.variance_index] = False
    naive = (torch.tensor(shares, dtype=torch.float64).unsqueeze(1) * arena.weights.double()).sum(0)
    assert torch.allclose(row[parameters].double(), naive[parameters], atol=1e-6)
    low, high = arena.weights.amin(0) - 1e-6, arena.weights.amax(0) + 1e-6
    assert ((row >= low) & (row <= high))[parameters].all()
    assert (row[arena.variance_index] >= 0).all() and torch.isfinite(row).all()


_ARENAS: list[Arena] = []


def _three(factory: pytest.TempPathFactory) -> Arena:
    if not _ARENAS:
        _ARENAS.append(arena_of(factory.mktemp("three"), *(tiny_tensors(seed) for seed in (1, 2, 3))))
    return _ARENAS[0]


def test_alpha_is_the_weight_of_the_first(arenas) -> None:
    arena = arenas[torch.float64]
    row = method("linear", alpha=0.25)(arena).weights[0]
    assert torch.allclose(row, 0.25 * arena.weights[0] + 0.75 * arena.weights[1], atol=1e-15)
    assert method("linear", alpha=0.25).shares(2) == (0.25, 0.75)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 1.2},
        {"alpha": -0.1},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"alpha": "0.5"},
        {"alpha": True},
        {"alpha": None},
        {"alpha": [0.5]},
        {"weights": 0.5},
        {"weights": ["a"]},
        {"weights": [[0.5], [0.5]]},
        {"beta": 1},
    ],
)
def test_a_wrong_parameter_is_refused_before_any_work(parameters: dict) -> None:
    with pytest.raises(UsageError) as caught:
        build_method("linear", parameters)
    assert next(iter(parameters)) in caught.value.got


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5], [0.5, 0.5, 0.0], [float("nan"), 1.0], [1.0]])
def test_weights_that_do_not_fit_are_refused(arenas, weights: list[float]) -> None:
    with pytest.raises(FusionError):
        method("linear", weights=weights)(arenas[torch.float32])


def test_alpha_alone_does_not_say_how_to_merge_three(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--weights with 3 numbers"):
        method("linear")(arena_of(tmp_path, *(tiny_tensors(seed) for seed in (1, 2, 3))))


def test_a_hostile_parameter_does_not_fill_the_message() -> None:
    bomb: list = [0.5]
    for _ in range(30):
        bomb = [bomb, bomb]
    with pytest.raises(UsageError) as caught:
        build_method("linear", {"weights": bomb})
    assert len(str(caught.value)) < 2000
    with pytest.raises(UsageError) as caught:
        build_method("linear", {"alpha": "x" * 10**6})
    assert len(str(caught.value)) < 2000
