"""Recalibrated statistics against a naive computation; what is around them stays as it was."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, TinyArchitecture, TinyNet, arena_of, pictures, tiny_tensors
from torch import nn

from fusionlib.contracts import Preprocessing
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.recalibrate import Recalibration, recalibrate
from fusionlib.errors import ArchitectureError, UsageError

IMAGES = pictures(7)
RAGGED = [IMAGES[:3], IMAGES[3:6], IMAGES[6:]]


@pytest.fixture
def network(tmp_path: Path) -> BoundNetwork:
    arena = arena_of(tmp_path, tiny_tensors(3))
    bound = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
    bound.load(arena.weights[0])
    return bound


def layer_inputs(network: BoundNetwork, images: np.ndarray) -> list[torch.Tensor]:
    """What reaches each batch norm in one training-mode pass without dropout, in float64, (N, C, h, w)."""
    about = TinyArchitecture.preprocessing
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    x = (x - torch.tensor(about.mean).view(1, 3, 1, 1)) / torch.tensor(about.std).view(1, 3, 1, 1)
    net = TinyNet(3).double()
    net.load_state_dict(network.module.state_dict())
    first = net.stem(x)
    second = net.body(
        torch.relu(nn.functional.batch_norm(first, None, None, net.norm.weight, net.norm.bias, training=True))
    )
    return [first.detach(), second.detach()]


@pytest.mark.parametrize("batches", [RAGGED, [IMAGES], [IMAGES[i : i + 1] for i in range(7)]])
def test_statistics_are_sample_weighted_means_of_batch_means_and_unbiased_variances(
    network: BoundNetwork, batches: list
) -> None:
    seen = [layer_inputs(network, batch) for batch in batches]
    sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)
    recalibrate(network, batches)
    for number, layer in enumerate((network.module.norm, network.module.norm2)):
        means = torch.stack([inputs[number].mean((0, 2, 3)) for inputs in seen])
        variances = torch.stack([inputs[number].var((0, 2, 3), unbiased=True) for inputs in seen])
        share = (sizes / sizes.sum()).unsqueeze(1)
        torch.testing.assert_close(layer.running_mean.double(), (share * means).sum(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var.double(), (share * variances).sum(0), rtol=1e-4, atol=1e-5)


def test_a_ragged_last_batch_does_not_count_like_a_full_one(network: BoundNetwork) -> None:
    recalibrate(network, RAGGED)
    ours = network.module.norm.running_mean.clone()
    means = [layer_inputs(network, batch)[0].mean((0, 2, 3)) for batch in RAGGED]
    assert not torch.allclose(ours.double(), torch.stack(means).mean(0), rtol=1e-3)


def test_results_are_on_the_flat_buffer_and_nothing_else_moves(network: BoundNetwork) -> None:
    before = network.flat.clone()
    flat = recalibrate(network, RAGGED)
    assert flat is network.flat
    changed = {
        entry.kind
        for entry in network.layout.entries
        if not torch.equal(flat[entry.offset : entry.end], before[entry.offset : entry.end])
    }
    assert changed == {"buffer"}


def test_the_statistics_that_were_there_before_do_not_matter(network: BoundNetwork) -> None:
    once = recalibrate(network, RAGGED).clone()
    network.module.norm.running_mean.fill_(1e6)
    assert torch.equal(recalibrate(network, RAGGED), once)


def test_dropout_stays_off_and_modes_and_momenta_are_restored(network: BoundNetwork) -> None:
    modes: list[bool] = []
    network.module.drop.register_forward_hook(lambda module, *_: modes.append(module.training))
    torch.manual_seed(1)
    once = recalibrate(network, RAGGED).clone()
    torch.manual_seed(2)
    assert torch.equal(recalibrate(network, RAGGED), once)
    assert modes and not any(modes)
    assert not any(module.training for module in network.module.modules())
    assert [network.module.norm.momentum, network.module.norm2.momentum] == [0.1, 0.3]


def test_a_picture_that_fails_leaves_modes_and_momenta_as_they_were(network: BoundNetwork) -> None:
    running = Recalibration(network)
    with pytest.raises(ArchitectureError):
        running.add(np.zeros((1, 8, 8, 4), np.uint8))
    assert not any(module.training for module in network.module.modules())
    assert [network.module.norm.momentum, network.module.norm2.momentum] == [0.1, 0.3]


def test_progress_counts_pictures(network: BoundNetwork) -> None:
    seen: list[tuple[int, int]] = []
    recalibrate(network, RAGGED, 7, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_without_pictures_it_says_so(network: BoundNetwork) -> None:
    with pytest.raises(UsageError, match="No pictures"):
        recalibrate(network, [])


class Pooled:
    """A batch norm behind a global pooling: one value per channel and picture."""

    title, citation, head, preprocessing = "Pooled", "none", (), Preprocessing()

    def recognise(self, shapes):
        return None

    def build(self, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(classes))

    def label_space(self, classes: int) -> str:
        return f"classes-{classes}"


def test_a_batch_norm_with_nothing_to_vary_over_is_refused_in_words(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, Pooled().build(3).state_dict())
    network = BoundNetwork(Pooled(), 3, arena.layout, arena.integers[0], device=CPU)
    with pytest.raises(UsageError, match="one value per channel"):
        recalibrate(network, [IMAGES[:1]])
    assert not any(module.training for module in network.module.modules())
    recalibrate(network, [IMAGES])


class Plain:
    """A network without batch norm."""

    title, citation, head, preprocessing = "Plain", "none", (), Preprocessing()

    def recognise(self, shapes):
        return None

    def build(self, classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, classes, 1), nn.BatchNorm2d(classes, track_running_stats=False))

    def label_space(self, classes: int) -> str:
        return f"classes-{classes}"


def test_a_network_without_statistics_is_refused(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, Plain().build(3).state_dict())
    with pytest.raises(UsageError, match="no batch-norm statistics"):
        recalibrate(BoundNetwork(Plain(), 3, arena.layout, arena.integers[0], device=CPU), [IMAGES])


@pytest.mark.parametrize(("total", "count"), [(101, 16), (24, 16), (16, 16), (5, 16), (3, 1), (1, 4)])
def test_calibration_pictures_are_spread_over_the_whole_split(total: int, count: int) -> None:
    class Split:
        def __len__(self) -> int:
            return total

    places = DecodedCache.spread(Split(), count)  # type: ignore[arg-type]
    gaps = [late - early for early, late in pairwise(places)]
    assert len(places) == min(count, total) and places[0] == 0 and places[-1] < total
    assert all(gap in (total // len(places), -(-total // len(places))) for gap in gaps), (
        "no gap is wider than it must be"
    )
