"""Weight-space diagnostics against closed forms and naive loops: cosine, path, discrepancy, survey, barriers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoints
from fusionlib.diagnostics.barrier import barrier, barrier_point
from fusionlib.diagnostics.discrepancy import discrepancy
from fusionlib.diagnostics.evidence import weight_evidence
from fusionlib.diagnostics.gram import cosine_along_path, cosine_from_gram, gram, l2_from_gram, norms_from_gram
from fusionlib.diagnostics.survey import CONVOLUTION, NORM, OTHER, PARAMETERS, WITH_STATISTICS, survey, survey_arena
from fusionlib.diagnostics.verdict import judge
from fusionlib.errors import CheckpointError, UsageError
from tests.helpers import saved, tiny_checkpoints, tiny_tensors

SEEDS = st.integers(0, 2**31)


def listing_3(a, b, names) -> float:
    """The cosine of two state dicts as the Weight Fusion paper's listing forms it: one long vector each."""
    one, two = (torch.cat([table[name].reshape(-1) for name in names]).double() for table in (a, b))
    return float(torch.nn.functional.cosine_similarity(one, two, dim=0))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(1, 20_000))
def test_the_gram_holds_every_inner_product(seed: int, count: int, size: int) -> None:
    rows = np.random.default_rng(seed).normal(0, 0.05, (count, size)).astype(np.float32)
    kept = rows.copy()
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    norms = np.sqrt(exact.diagonal())
    assert (np.abs(gram(rows) - exact) <= 1e-6 * np.outer(norms, norms)).all()
    assert gram(rows).dtype == np.float64
    np.testing.assert_array_equal(rows, kept)
    np.testing.assert_allclose(norms_from_gram(exact), np.linalg.norm(rows.astype(np.float64), axis=1))


def test_float64_rows_lose_nothing_and_grams_of_disjoint_tensors_add() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 30_000))
    np.testing.assert_allclose(gram(rows), rows @ rows.T, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(gram(rows[:, :100]) + gram(rows[:, 100:]), gram(rows), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1.0])
def test_very_small_and_very_large_weights_have_a_cosine(scale: float) -> None:
    one = torch.tensor([1.0, 2.0, 2.0]) * scale
    other = torch.tensor([2.0, 1.0, 2.0]) * scale
    assert cosine_from_gram(gram([one, other]))[0, 1] == pytest.approx(8 / 9, abs=1e-7)


def test_closed_forms_of_cosine_distance_and_zero() -> None:
    products = gram([torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0]), torch.zeros(2)])
    cosine = cosine_from_gram(products)
    assert cosine[0, 1] == pytest.approx(0.6)
    assert cosine[0, 0] == 1
    assert np.isnan(cosine[0, 2])
    np.testing.assert_allclose(l2_from_gram(products)[0], [0, 4, 3])


def test_vectors_of_other_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="3, 4"):
        gram([np.zeros(3), np.zeros(4)])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_is_taken(kind: torch.dtype) -> None:
    row = torch.tensor([1.0, 2.0, -2.0], dtype=kind)
    assert gram([row, row])[0, 1] == 9


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_the_path_in_closed_form_is_the_path_computed_directly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2, 500))
    alphas = np.array([0.0, 0.05, 0.3, 0.75, 1.0])
    for end in (0, 1):
        found = cosine_along_path(gram(rows), alphas, end)
        for alpha, value in zip(alphas, found, strict=True):
            point = alpha * rows[0] + (1 - alpha) * rows[1]
            direct = point @ rows[end] / np.linalg.norm(point) / np.linalg.norm(rows[end])
            assert value == pytest.approx(direct, abs=1e-12)


def test_discrepancy_counts_elements_that_moved() -> None:
    anchor = torch.tensor([[10.0, -10.0], [1.0, 0.0]])
    other = torch.tensor([[11.0, -10.5], [1.0, 0.0]])
    assert discrepancy(anchor, other, 10) == 0.25
    assert discrepancy(anchor, other, 20) == 0.5
    assert discrepancy(anchor, anchor.clone(), 10) == 0
    assert discrepancy(torch.zeros(2), torch.tensor([0.0, 1e-9]), 10) == 0.5
    assert discrepancy(torch.empty(0), torch.empty(0)) == 0


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.5, 100))
def test_discrepancy_is_the_printed_inequality(seed: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    anchor = rng.normal(size=300)
    other = anchor + rng.normal(size=300) * 0.1
    naive = sum(abs(b - a) >= abs(a) / tau for a, b in zip(anchor, other, strict=True)) / 300
    assert discrepancy(anchor, other, tau) == pytest.approx(naive)
    assert discrepancy(anchor, other, 2 * tau) >= discrepancy(anchor, other, tau)


@pytest.mark.parametrize("tau", [0, -1, float("nan")])
def test_tau_is_a_positive_number(tau: float) -> None:
    with pytest.raises(UsageError, match="tau"):
        discrepancy([1.0], [2.0], tau)


def test_the_survey_is_the_listing_in_both_variants(tmp_path: Path) -> None:
    tables = [tiny_tensors(seed) for seed in (0, 1, 2)]
    found = survey(tiny_checkpoints(tmp_path, 3), head=("head",), tau=7.0)
    floats = [name for name, tensor in tables[0].items() if tensor.is_floating_point()]
    trained = [name for name in floats if "running" not in name]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert found.pair(a, b, PARAMETERS).cosine == pytest.approx(listing_3(tables[a], tables[b], trained), abs=1e-7)
        assert found.pair(a, b, WITH_STATISTICS).cosine == pytest.approx(
            listing_3(tables[a], tables[b], floats), abs=1e-7
        )
        assert found.pair(b, a).cosine == found.pair(a, b).cosine
        moved = sum(discrepancy(tables[a][name], tables[b][name], 7.0) * tables[a][name].numel() for name in floats)
        assert found.discrepancy(a, b) == pytest.approx(moved / sum(tables[a][name].numel() for name in floats))
    distance = (
        sum(float((tables[0][name].double() - tables[1][name].double()).square().sum()) for name in trained) ** 0.5
    )
    assert found.pair(0, 1).l2 == pytest.approx(distance, rel=1e-12)
    assert survey(tiny_checkpoints(tmp_path, 3)).pair(0, 1).l2 == pytest.approx(distance, rel=1e-6)
    assert survey(tiny_checkpoints(tmp_path, 1) * 2, tau=10).pair(0, 1, WITH_STATISTICS).l2 == 0


def test_layers_come_in_network_order_with_kind_and_part(tmp_path: Path) -> None:
    found = survey(tiny_checkpoints(tmp_path, 2), head=("head",), tau=10)
    assert found.layers == ("stem", "norm", "body", "norm2", "head")
    assert [found.groups[layer] for layer in found.layers] == [CONVOLUTION, NORM, CONVOLUTION, NORM, CONVOLUTION]
    assert {found.entries[number].part for number in found.members["head"]} == {"head"}
    tables = [tiny_tensors(seed) for seed in (0, 1)]
    names = ["body.weight", "body.bias"]
    assert found.pair(0, 1, tensors=found.members["body"]).cosine == pytest.approx(listing_3(*tables, names), abs=1e-7)
    assert len(found.of_group(NORM)) == 8
    assert found.of_group(OTHER) == []


def test_whole_is_the_sum_of_layers_and_files_are_streamed(tmp_path: Path) -> None:
    found = survey(tiny_checkpoints(tmp_path, 2))
    parts = sum(found.gram(0, 1, WITH_STATISTICS, numbers) for numbers in found.members.values())
    np.testing.assert_allclose(parts, found.gram(0, 1, WITH_STATISTICS), rtol=1e-12)
    steps: list[tuple[int, int]] = []
    survey(tiny_checkpoints(tmp_path / "more", 2), progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]


def test_packed_checkpoints_give_the_survey_of_their_files(tmp_path: Path) -> None:
    files = tiny_checkpoints(tmp_path, 3)
    read, packed = survey(files), survey_arena(Arena.pack(files))
    np.testing.assert_array_equal(packed.grams, read.grams)
    np.testing.assert_array_equal(packed.same, read.same)
    assert packed.names == read.names and weight_evidence(packed, 0, 2) == weight_evidence(read, 0, 2)


def test_the_worst_block_is_that_of_the_lowest_cosine_of_convolutions(tmp_path: Path) -> None:
    found, tables = survey(tiny_checkpoints(tmp_path, 2)), [tiny_tensors(seed) for seed in (0, 1)]
    cosines = {
        block: listing_3(*tables, [name for name in (f"{block}.weight", f"{block}.bias") if name in tables[0]])
        for block in ("stem", "body", "head")
    }
    block, cosine = found.worst_block(0, 1)
    assert block == min(cosines, key=cosines.get) and cosine == pytest.approx(cosines[block], abs=1e-7)
    assert found.worst_block(1, 0) == (block, cosine)
    same = tiny_checkpoints(tmp_path, 1) * 2
    assert survey(same).worst_block(0, 1)[1] == pytest.approx(1)
    bare = [saved(tmp_path / f"bare{number}.safetensors", {"x": torch.ones(3) * number}) for number in (1, 2)]
    assert survey(bare).worst_block(0, 1) is None


def test_the_same_weights_are_the_same_numbers_everywhere_and_nothing_less(tmp_path: Path) -> None:
    def table(scale: float, last: float) -> dict[str, torch.Tensor]:
        return {
            "x.weight": torch.arange(70_000, dtype=torch.float32).reshape(2, -1),
            "x.running_var": torch.tensor([1.0, last]),
            "scale": torch.tensor(float(scale)),
            "steps": torch.tensor([last]).long(),
        }

    files = [
        saved(tmp_path / f"{number}.safetensors", table(*one))
        for number, one in enumerate([(1, 2), (1, 2), (1, 3), (2, 2)])
    ]
    for found in (survey(files), survey(files, tau=10)):
        assert [found.identical(0, other) for other in (1, 2, 3)] == [True, False, False]
    changed = table(1, 2)
    changed["x.weight"][-1, -1] += 1
    assert not survey([files[0], saved(tmp_path / "changed.safetensors", changed)]).identical(0, 1)
    assert not survey([files[0], saved(tmp_path / "less.safetensors", {"scale": torch.tensor(1.0)})]).identical(0, 1)


def test_checkpoints_of_other_shapes_are_compared_over_what_they_share(tmp_path: Path) -> None:
    a = saved(
        tmp_path / "a.safetensors",
        {"x.weight": torch.tensor([[1.0, 0.0]]), "head.weight": torch.ones(3, 2), "only": torch.ones(2)},
    )
    b = saved(tmp_path / "b.safetensors", {"x.weight": torch.tensor([[1.0, 1.0]]), "head.weight": torch.ones(4, 2)})
    found = survey([a, b], tau=10)
    assert found.pair(0, 1).cosine == pytest.approx(0.5**0.5)
    assert not found.same_tensors(0, 1)
    assert found.pair(0, 1, tensors=found.members["head"]).cosine is None
    c = saved(tmp_path / "c.safetensors", {"y": torch.ones(2)})
    assert survey([a, c]).pair(0, 1).cosine is None


def test_tensors_without_dimensions_are_parameters_but_not_in_the_listing(tmp_path: Path) -> None:
    pair = [
        saved(tmp_path / f"{n}.safetensors", {"w": torch.tensor([1.0, 0.0]), "scale": torch.tensor(float(n))})
        for n in (1, 2)
    ]
    found = survey(pair)
    assert found.pair(0, 1, WITH_STATISTICS).cosine == pytest.approx(1)
    assert found.pair(0, 1).cosine == pytest.approx(3 / (2 * 5) ** 0.5)


def test_one_checkpoint_and_damaged_numbers_are_refused(tmp_path: Path) -> None:
    a = saved(tmp_path / "a.safetensors", {"x": torch.tensor([1.0, float("nan")])})
    b = saved(tmp_path / "b.safetensors", {"x": torch.tensor([1.0, 1.0])})
    with pytest.raises(UsageError):
        survey([b])
    with pytest.raises(CheckpointError, match="a: 1 of 2 values of x"):
        survey([a, b])


def test_barriers_in_closed_form() -> None:
    alphas, losses = [0, 0.25, 0.5, 1], [1.0, 3.0, 2.5, 2.0]
    assert barrier(alphas, losses) == pytest.approx(3 - 1.25)
    assert barrier_point(alphas, losses) == (pytest.approx(1.75), 0.25)
    assert barrier(alphas, losses, "frankle") == pytest.approx(1.5)
    assert barrier(alphas[::-1], losses[::-1]) == pytest.approx(1.75)
    line = [1 + alpha for alpha in alphas]
    assert barrier(alphas, line) == 0
    assert barrier(alphas, line, "frankle") == pytest.approx(0.5)
    assert barrier([0, 0.5, 1], [0.4, 0.2, 0.3], higher_is_better=True) == pytest.approx(0.15)
    assert barrier([0, 0.5, 1], [0.4, 0.5, 0.3], higher_is_better=True) == 0


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_barriers_are_naive_maxima(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alphas, losses = np.linspace(0, 1, 11), rng.normal(size=11)
    low, high = losses[0], losses[-1]
    assert barrier(alphas, losses) == pytest.approx(
        max(v - (a * high + (1 - a) * low) for a, v in zip(alphas, losses, strict=True))
    )
    assert barrier(alphas, losses, "frankle") == pytest.approx(max(losses) - (low + high) / 2)


@pytest.mark.parametrize(
    ("alphas", "values", "mode"), [([0, 0.5], [1, 2], "entezari"), ([0, 1], [1], "entezari"), ([0, 1], [1, 2], "x")]
)
def test_barriers_need_both_ends(alphas, values, mode) -> None:
    with pytest.raises(UsageError):
        barrier(alphas, values, mode)


@pytest.mark.real
def test_neighbouring_epochs_share_direction_and_strangers_do_not(real_data: Path) -> None:
    folder = real_data / "checkpoints"
    found = survey(open_checkpoints([folder / "enet-cityscapes" / f"epoch-0{epoch}.pth" for epoch in (30, 35)]))
    assert found.pair(0, 1).cosine == pytest.approx(0.981, abs=5e-4)
    known = weight_evidence(found, 0, 1)
    assert judge(known).level == "measure to know" and known.worst_block == (
        "regular2_5",
        pytest.approx(0.933, abs=5e-4),
    )
    strangers = survey(open_checkpoints(sorted((folder / "enet-other-layout").glob("*.pth"))))
    assert abs(strangers.pair(0, 1).cosine or 1) < 0.15
    assert judge(weight_evidence(strangers, 0, 1)).level == "do not merge"
