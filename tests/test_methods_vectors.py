"""SLERP, task arithmetic, TIES and DARE against their formulas written out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers import arena_of, tiny_tensors

from fusionlib.checkpoints.arena import Arena
from fusionlib.errors import UsageError
from fusionlib.merging.dare import Dare
from fusionlib.merging.slerp import Slerp
from fusionlib.merging.task_arithmetic import TaskArithmetic
from fusionlib.merging.ties import Ties


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return arena_of(tmp_path_factory.mktemp("three"), *(tiny_tensors(seed) for seed in (1, 2, 3)))


def plain(folder: Path, *rows: list[float]) -> Arena:
    return arena_of(folder, *({"w": torch.tensor(row, dtype=torch.float64)} for row in rows))


def merged(arena: Arena, method) -> list[float]:
    return arena.layout.view(method(arena).weights[0], "w").tolist()


@pytest.mark.parametrize("scope", ["tensor", "whole"])
def test_slerp_stays_on_the_circle_and_moves_by_equal_angles(tmp_path: Path, scope: str) -> None:
    arena = plain(tmp_path, [1.0, 0.0], [0.0, 1.0])
    for alpha in (0.25, 0.5, 0.9):
        angle = (1 - alpha) * math.pi / 2
        assert merged(arena, Slerp(alpha, scope)) == pytest.approx([math.cos(angle), math.sin(angle)], abs=1e-12)


@pytest.mark.parametrize(
    "rows",
    [([1.0, 2.0], [2.0, 4.0]), ([1.0, 2.0], [-1.0, -2.0]), ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [1.0, 2.0 + 1e-9])],
)
def test_slerp_of_parallel_opposite_and_empty_vectors_is_linear_and_says_so(tmp_path: Path, rows) -> None:
    arena = plain(tmp_path, *rows)
    mixture = Slerp(0.25)(arena)
    assert mixture.weights[0, :2].tolist() == pytest.approx([0.25 * a + 0.75 * b for a, b in zip(*rows, strict=True)])
    assert "linearly" in mixture.notes[0]


@pytest.mark.parametrize("rows", [([0.0, 0.0], [1.0, 2.0]), ([3.0, 0.0], [3.0, 0.0]), ([3.0, 0.0], [-2.0, 0.0])])
def test_without_an_arc_no_threshold_makes_slerp_divide_by_nothing(tmp_path: Path, rows) -> None:
    mixture = Slerp(0.25, threshold=1.0)(plain(tmp_path, *rows))
    assert mixture.weights[0, :2].tolist() == [0.25 * a + 0.75 * b for a, b in zip(*rows, strict=True)]


def test_slerp_takes_two(three: Arena) -> None:
    with pytest.raises(UsageError, match="exactly two"):
        Slerp()(three)


def test_task_arithmetic_adds_what_was_learned(tmp_path: Path, three: Arena) -> None:
    arena = plain(tmp_path, [3.0, 1.0], [1.0, 1.0], [1.0, 5.0])
    assert merged(arena, TaskArithmetic(base=1, scale=0.5)) == pytest.approx([2.0, 3.0])
    assert merged(arena, TaskArithmetic(base=1, scale=-1)) == pytest.approx([-1.0, -3.0])
    mean = TaskArithmetic(base=0, scale=0.5)(three).weights[0]
    assert torch.allclose(mean, three.weights[1:].mean(0), atol=1e-6)
    with pytest.raises(UsageError, match="Base 3 of 3"):
        TaskArithmetic(base=3)(three)


def test_a_negative_scale_makes_no_variance_negative(three: Arena) -> None:
    for method in (TaskArithmetic(scale=-2), TaskArithmetic(scale=2), Dare(drop=0.9, scale=2), Ties(scale=2)):
        row = method(three).weights[0]
        assert torch.allclose(row[three.variance_index], three.weights[1:, three.variance_index].mean(0))


def test_ties_trims_elects_and_averages(tmp_path: Path) -> None:
    base = [1.0] * 5
    arena = plain(tmp_path, base, [1 + x for x in (5, 4, 0.1, -3, 0.2)], [1 + x for x in (3, -6, 0.1, -5, 0.1)])
    # kept of 0.6 * 5 = 3 entries each: (5, 4, 0, -3, 0) and (3, -6, 0, -5, 0); signs elected +, -, 0, -, 0
    assert merged(arena, Ties(density=0.6)) == pytest.approx([1 + 4, 1 - 6, 1, 1 - 4, 1])
    assert merged(arena, Ties(density=0.6, scale=0.5)) == pytest.approx([3, -2, 1, -1, 1])
    assert merged(arena, Ties(density=1.0))[4] == pytest.approx(1.15)


def test_ties_that_cancel_exactly_leave_the_base(tmp_path: Path) -> None:
    arena = plain(
        tmp_path, [1.0, 1.0, 1.0], [3.0, 2.0, 9.0], [-1.0, 2.0, 9.0]
    )  # changes +2 and -2: no sign, whatever the others say
    assert merged(arena, Ties(density=1.0)) == [1.0, 2.0, 9.0]
    three = plain(tmp_path / "three", [0.0], [2.0], [1.0], [-3.0])
    assert merged(three, Ties(density=1.0)) == [0.0]


def test_dare_is_seeded_keeps_the_expectation_and_drops_entries(tmp_path: Path) -> None:
    size = 4000
    arena = plain(tmp_path, [0.0] * size, [1.0] * size)
    one, again, other = (torch.tensor(merged(arena, Dare(drop=0.75, scale=1.0, seed=seed))) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert set(one.tolist()) == {0.0, 4.0} and float(one.mean()) == pytest.approx(1, abs=0.15)
    assert merged(arena, Dare(drop=0.0, scale=0.5))[:3] == [0.5] * 3
