"""Learned soups: gradients, closed forms, and what learning gives a tiny network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, TinyArchitecture, arena_of, folder_data, tiny_registered, tiny_tensors
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fusionlib.candidate import Learning
from fusionlib.contracts import IGNORE
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import CheckpointError, UsageError
from fusionlib.lab.soup import CROP, Lesson, Mixer, SoupLearner, cross_entropy, refuse_other_sizes

SHAPES = {"one": (4, 3, 3, 3), "bias": (4,), "two": (5, 4, 1, 1)}


def slices() -> tuple[tuple[slice, ...], ...]:
    """One group for each tensor of a network of two convolutions."""
    ends = np.cumsum([math.prod(shape) for shape in SHAPES.values()])
    return tuple(
        (slice(int(end) - math.prod(shape), int(end)),) for end, shape in zip(ends, SHAPES.values(), strict=True)
    )


def toy(images: Tensor, truth: Tensor):
    """Its loss as a function of flat weights and beta."""

    def loss(flat: Tensor, beta: Tensor) -> Tensor:
        parts = {
            name: flat[group[0]].view(shape) for (name, shape), group in zip(SHAPES.items(), slices(), strict=True)
        }
        hidden = torch.tanh(functional.conv2d(images, parts["one"], parts["bias"], padding=1))
        return cross_entropy(functional.conv2d(hidden, parts["two"]) * beta, truth)

    return loss


def toy_rows(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, slices()[-1][0].stop, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("by_tensor", [False, True])
def test_gradients_are_those_of_finite_differences(by_tensor: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 5, (2, 6, 7), generator=generator)
    truth[0, :2] = IGNORE
    groups = slices() if by_tensor else (tuple(part for group in slices() for part in group),)
    learner, loss = SoupLearner(Mixer(toy_rows(3), groups), 0.05), toy(images, truth)
    with torch.no_grad():
        learner.raw.copy_(torch.randn(learner.raw.shape, generator=generator, dtype=torch.float64))
        learner.beta.fill_(1.3)
    value = learner.gradients(loss)
    assert value == pytest.approx(float(loss(learner.mixer.merged(learner.weights), learner.beta.detach())))

    def at(place: tuple[int, ...], by: float) -> float:
        with torch.no_grad():
            raw, beta = learner.raw.detach().clone(), learner.beta.detach().clone()
            if place:
                raw[place] += by
            else:
                beta += by
            return float(loss(learner.mixer.merged(raw.softmax(1)), beta))

    step = 1e-5
    for place in ((), *np.ndindex(*learner.raw.shape)):
        expected = (at(place, step) - at(place, -step)) / (2 * step)
        found = learner.raw.grad[place] if place else learner.beta.grad
        assert float(found) == pytest.approx(expected, abs=1e-6)


def test_identical_checkpoints_leave_the_weights_as_they_are() -> None:
    rows = toy_rows(1).expand(3, -1).clone()
    learner = SoupLearner(Mixer(rows, slices()), 0.05)
    images, truth = torch.randn(1, 3, 4, 4, dtype=torch.float64), torch.randint(0, 5, (1, 4, 4))
    for _ in range(5):
        learner.step(toy(images, truth))
    assert torch.allclose(learner.weights, torch.full((3, 3), 1 / 3, dtype=torch.float64), atol=1e-8)


def test_the_optimum_of_a_quadratic_is_found() -> None:
    rows, goal = torch.eye(3, dtype=torch.float64), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    learner = SoupLearner(Mixer(rows, ((slice(0, 3),),)), 0.05)
    for _ in range(400):
        learner.step(lambda flat, beta: ((flat - goal) ** 2).sum() + 0 * beta)
    assert torch.allclose(learner.weights[0], goal, atol=1e-3)


def test_what_is_in_no_group_has_the_mean_of_the_weights() -> None:
    rows = torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]])
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    merged = Mixer(rows, ((slice(0, 1),), (slice(1, 2),))).merged(weights)
    assert merged.tolist() == [1.0, 3.0, 2.0]


def test_a_loss_that_is_no_number_is_said() -> None:
    learner = SoupLearner(Mixer(torch.ones(2, 1), ((slice(0, 1),),)), 0.05)
    with pytest.raises(CheckpointError, match="no gradient"):
        learner.step(lambda flat, beta: flat.sum() * float("nan") * beta)


def test_cross_entropy_counts_classes_of_the_network_that_stand_for_one_of_the_annotation() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    truth = torch.tensor([[[0, 1], [1, IGNORE]]])
    members = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    shares = logits.softmax(1)[0]
    expected = -(torch.log(shares[0, 0, 0] + shares[2, 0, 0]) + shares[1, 0, 1].log() + shares[1, 1, 0].log()) / 3
    assert float(cross_entropy(logits, truth, members)) == pytest.approx(float(expected))
    assert float(cross_entropy(logits, torch.full_like(truth, IGNORE))) == 0


def lesson(folder: Path, wish: Learning, *seeds: int) -> Lesson:
    arena = arena_of(folder / "files", *(tiny_tensors(seed) for seed in seeds))
    data = folder / "town"
    pictures = DecodedCache(open_dataset(f"folder:{data if data.exists() else folder_data(data)}"), 1 << 24)
    network = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
    return Lesson(arena, network, pictures, wish)


@pytest.mark.parametrize("by_tensor", [False, True])
def test_learning_lowers_the_loss_and_gives_the_same_again(tmp_path: Path, by_tensor: bool) -> None:
    wish = Learning(by_tensor, epochs=6, batch=3)
    with tiny_registered():
        told: list[tuple[int, int]] = []
        first = lesson(tmp_path / "one", wish, 1, 2)
        found = first.learn(lambda call: call(), lambda *both: told.append(both))
        again = lesson(tmp_path / "two", wish, 1, 2).learn(lambda call: call(), lambda *_: None)
    assert found == again and found.losses[-1] < found.losses[0] and found.beta != 1
    assert told[0] == (0, first.passes) and told[-1] == (first.passes, first.passes) == (108, 108)
    candidate = found.candidate
    assert sum(candidate.weights) == pytest.approx(1, abs=1e-12) and candidate.weights != (0.5, 0.5)
    names = [name for name, _ in candidate.units]
    assert ("stem.weight" in names, "norm.running_mean" in names) == (by_tensor, False)
    assert all(sum(row) == pytest.approx(1, abs=1e-12) and min(row) >= 0 for _, row in candidate.units)


def test_checkpoints_are_not_touched_and_copies_stay_equal(tmp_path: Path) -> None:
    with tiny_registered():
        taught = lesson(tmp_path, Learning(False, epochs=2), 1, 1, 1)
        before = taught.arena.weights.clone()
        found = taught.learn(lambda call: call(), lambda *_: None)
    assert torch.equal(before, taught.arena.weights)
    assert found.candidate.weights == pytest.approx((1 / 3,) * 3, abs=1e-6)


def test_pictures_that_make_no_batch_are_refused(tmp_path: Path) -> None:
    folder = folder_data(tmp_path / "town", 3)
    for kind in ("images", "masks"):
        path = folder / kind / "p1.png"
        Image.open(path).crop((0, 0, 40, 40)).save(path)
    pictures = DecodedCache(open_dataset(f"folder:{folder}"), 1 << 24)
    with pytest.raises(UsageError, match=f"below {CROP[1]}x{CROP[0]}"):
        refuse_other_sizes(pictures)
