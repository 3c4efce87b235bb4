"""RegMean against its closed form, and the Gram matrices that it rests on against the layers themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, TinyArchitecture, album, arena_of, informed, pictures, tiny_registered, tiny_tensors, worker
from torch import Tensor, nn

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import TensorInfo
from fusionlib.contracts import STATISTICS, Subject
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.statistics import find
from fusionlib.errors import CheckpointError, UsageError
from fusionlib.merging.regmean import RegMean
from fusionlib.statistics import gram
from fusionlib.statistics.gram import layers_of, patches, pieces


@pytest.fixture(autouse=True, scope="module")
def known_network() -> Iterator[None]:
    with tiny_registered():
        yield


def linear_arena(*weights: Tensor, prints: tuple[str, ...] = ()) -> Arena:
    """Networks of one linear layer `w` (outputs, d) and a bias of zeros."""
    shape = tuple(weights[0].shape)
    layout = Layout.of({"w": TensorInfo("w", shape, torch.float64)})
    rows = torch.zeros(len(weights), layout.size, dtype=torch.float64)
    for row, weight in zip(rows, weights, strict=True):
        layout.view(row, "w").copy_(weight)
    names = prints or tuple("abcdef"[: len(weights)])
    return Arena(layout, rows, ({},) * len(weights), names, names)


def told(method: RegMean, *inputs: Tensor) -> RegMean:
    """The method that was told the Gram matrices of inputs (N, d), one table a network."""
    return method.informed(
        {("gram", (number,)): {"w": x.T @ x / len(x)} for number, x in enumerate(inputs)}  # as it is estimated
    )


def merged(method: RegMean, arena: Arena, *inputs: Tensor) -> Tensor:
    return arena.layout.view(told(method, *inputs)(arena).weights[0], "w")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 3])
def test_two_layers_on_given_inputs_become_the_least_squares_solution(count: int) -> None:
    weights = [drawn(4, 7, seed=seed) for seed in range(count)]
    inputs = [drawn(50, 7, seed=10 + seed) * torch.arange(1, 8) for seed in range(count)]
    found = merged(RegMean(off_diagonal=1.0), linear_arena(*weights), *inputs)
    answers = np.concatenate([(x @ w.T).numpy() for x, w in zip(inputs, weights, strict=True)])
    naive = np.linalg.lstsq(np.concatenate([x.numpy() for x in inputs]), answers, rcond=None)[0].T
    assert np.allclose(found.numpy(), naive, rtol=1e-9, atol=1e-12)
    mean = torch.stack(weights).mean(0).numpy()
    assert not np.allclose(naive, mean, atol=0.1)

    def wrong(weight: np.ndarray) -> float:
        parts = [x.numpy() @ (weight - w.numpy()).T for x, w in zip(inputs, weights, strict=True)]
        return sum(float((part**2).sum()) for part in parts)

    assert wrong(found.numpy()) < wrong(mean)


@pytest.mark.parametrize("factor", [0.9, 0.5, 0.0])
def test_off_diagonals_are_shrunk_before_both_sums(factor: float) -> None:
    weights, inputs = [drawn(4, 7, seed=seed) for seed in (1, 2)], [drawn(20, 7, seed=seed) for seed in (3, 4)]
    grams = [(x.T @ x).numpy() for x in inputs]
    shrunk = [factor * g + (1 - factor) * np.diag(np.diag(g)) for g in grams]
    right = sum(g @ w.numpy().T for g, w in zip(shrunk, weights, strict=True))
    naive = (np.linalg.inv(sum(shrunk)) @ right).T
    found = merged(RegMean(off_diagonal=factor), linear_arena(*weights), *inputs)
    assert np.allclose(found.numpy(), naive, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 0.9])
@pytest.mark.parametrize("dead", [(2,), (0, 5), tuple(range(7))])
def test_inputs_that_nobody_uses_have_the_mean_weight(factor: float, dead: tuple[int, ...]) -> None:
    weights, inputs = [drawn(4, 7, seed=seed) for seed in (1, 2)], [drawn(20, 7, seed=seed) for seed in (3, 4)]
    for x in inputs:
        x[:, list(dead)] = 0
    found = merged(RegMean(off_diagonal=factor), linear_arena(*weights), *inputs)
    mean = torch.stack(weights).mean(0)
    assert torch.allclose(found[:, list(dead)], mean[:, list(dead)], rtol=1e-12)
    used = [place for place in range(7) if place not in dead]
    if used:
        alone = merged(
            RegMean(off_diagonal=factor), linear_arena(*(w[:, used] for w in weights)), *(x[:, used] for x in inputs)
        )
        assert torch.allclose(found[:, used], alone, rtol=1e-4) and not torch.allclose(found[:, used], mean[:, used])


def test_a_singular_sum_has_1e_6_of_its_mean_diagonal_added_on_both_sides() -> None:
    weights = [drawn(3, 6, seed=seed) for seed in (1, 2)]
    inputs = [drawn(2, 6, seed=seed) for seed in (3, 4)]  # four inputs for six dimensions
    grams = [(x.T @ x / 2).numpy() for x in inputs]
    ridge = 1e-6 * np.trace(sum(grams)) / 6
    right = sum((g + ridge / 2 * np.eye(6)) @ w.numpy().T for g, w in zip(grams, weights, strict=True))
    naive = np.linalg.solve(sum(grams) + ridge * np.eye(6), right).T
    method = told(RegMean(off_diagonal=1.0), *inputs)
    mixture = method(linear_arena(*weights))
    found = linear_arena(*weights).layout.view(mixture.weights[0], "w")
    assert np.allclose(found.numpy(), naive, rtol=1e-6, atol=1e-8)
    assert mixture.notes == ("Inputs are linearly dependent in 1 of 1 layers: 1e-6 of the mean was added",)
    assert told(RegMean(), *inputs)(linear_arena(*weights)).notes == (), "shrinking mends it"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_identical_checkpoints_give_themselves_to_the_bit_whatever_they_see(tmp_path: Path, dtype: torch.dtype) -> None:
    arena = arena_of(tmp_path, *[tiny_tensors(4, dtype=dtype)] * 3)
    method = informed(RegMean(), arena, tame=True)
    row = method(arena).weights[0]
    assert not torch.equal(method.table("gram", 0)["body.weight"], method.table("gram", 1)["body.weight"])
    assert row.view(torch.uint8).equal(arena.weights[0].view(torch.uint8))


def test_the_order_of_the_checkpoints_changes_no_bit(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, *(tiny_tensors(seed) for seed in (1, 2, 3)))
    rows = [informed(RegMean(), arena.only(order))(arena.only(order)).weights[0] for order in ([0, 1, 2], [2, 0, 1])]
    assert torch.equal(*rows)


def test_the_merge_is_regressed_where_there_are_matrices_and_the_mean_elsewhere(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, *(tiny_tensors(seed) for seed in (1, 2)))
    method = informed(RegMean(), arena)
    mean, row, plain = arena.weights.mean(0), method(arena).weights[0], ["stem.weight", "body.weight", "head.weight"]
    assert set(method.table("gram", 0)) == set(plain)
    for name, view in arena.layout.views(row).items():
        assert torch.allclose(view, arena.layout.view(mean, name), atol=1e-6) == (name not in plain[1:])
    # All networks see the same pictures: the first layer has equal Gram matrices, and the mean solves it.
    narrow = informed(RegMean(widest=30), arena)
    assert set(narrow.table("gram", 0)) == {"stem.weight", "head.weight"}
    assert narrow(arena).notes[0].startswith("1 of 3 weight matrices are the mean: those of transposed")
    assert method(arena).notes == ()


def test_what_is_of_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="of these checkpoints"):
        RegMean()(linear_arena(drawn(4, 7), drawn(4, 7)))
    with pytest.raises(UsageError, match="for 7 inputs of w"):
        told(RegMean(), drawn(9, 5), drawn(9, 5))(linear_arena(drawn(4, 7), drawn(4, 7)))


# --- Gram matrices ----------------------------------------------------------------------------------------------------


CONVOLUTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"kernel_size": (5, 1), "padding": (2, 0)},
    {"dilation": (2, 3), "padding": (1, 2), "stride": (1, 2)},
    {"padding": "same", "kernel_size": (4, 3)},
    {"padding": "valid"},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": (1, 2), "padding_mode": "circular", "stride": 3},
    {"padding": 1, "padding_mode": "replicate"},
    {"kernel_size": 1},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("piece", [1, 500, 1 << 22])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_the_weight_times_the_patches_is_the_convolution(
    monkeypatch: pytest.MonkeyPatch, options: dict, piece: int
) -> None:
    monkeypatch.setattr(gram, "PIECE", piece)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, **{"kernel_size": 3, **options}).double()
    inputs = drawn(1, 3, 13, 11)
    expected = layer(inputs) - layer.bias.view(1, -1, 1, 1)
    bands = list(patches(layer, inputs))
    answer = layer.weight.reshape(5, -1) @ torch.cat(bands, 1)
    assert torch.allclose(answer.view(expected.shape), expected, atol=1e-12)
    if piece != 500:
        assert len(bands) == (expected.shape[2] if piece == 1 else 1)


def test_the_weight_times_the_pieces_of_a_linear_layer_is_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram, "PIECE", 20)
    layer, inputs = nn.Linear(6, 4).double(), drawn(2, 5, 6)
    found = list(pieces(layer, inputs))
    assert len(found) == 4
    answer = (layer.weight @ torch.cat(found, 1)).T.view(2, 5, 4) + layer.bias
    assert torch.allclose(answer, layer(inputs), atol=1e-12)


def test_what_a_layer_sees_is_the_mean_over_all_pictures_and_places(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))
    table = informed(RegMean(), arena).table("gram", 0)
    network = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    seen: list[Tensor] = []
    network.module.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double()))
    for image in pictures(2):
        network.logits(image[None])
    x = torch.cat([one[0].flatten(1).T for one in seen])
    assert table["head.weight"].dtype == torch.float64
    assert torch.allclose(table["head.weight"], x.T @ x / len(x), rtol=1e-6)
    assert all(torch.equal(one, one.T) for one in table.values())
    assert all(float(torch.linalg.eigvalsh(one).min()) > -1e-9 * float(one.trace()) for one in table.values())


def test_layers_that_do_more_than_multiply_have_no_matrix(tmp_path: Path) -> None:
    class Own(nn.Conv2d):
        pass

    net = nn.Sequential(
        nn.Conv2d(4, 4, 1), Own(4, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 4, 2), nn.Linear(4, 4)
    )
    arena = arena_of(tmp_path, dict(net.state_dict()))
    assert set(layers_of(net, arena, 8192)) == {"0.weight", "4.weight"}
    assert set(layers_of(net, arena, 3)) == set()


def test_layers_that_no_picture_passes_through_have_no_matrix(tmp_path: Path) -> None:
    class Loaded:
        def __init__(self) -> None:
            self.module = nn.ModuleDict({"used": nn.Conv2d(3, 2, 1), "idle": nn.Conv2d(3, 2, 1)})
            self.flat = torch.zeros(1)

        def logits(self, images: np.ndarray) -> Tensor:
            return self.module["used"](input=torch.from_numpy(images).permute(0, 3, 1, 2).float())

    network = Loaded()
    arena = arena_of(tmp_path, dict(network.module.state_dict()))
    walk = [(0, np.full((2, 2, 3), 2, np.uint8))]
    subject = Subject(arena, lambda call: call(), lambda row: network, walk, 1)
    table = STATISTICS.get("gram").estimate(subject, {"widest": 8192}, lambda done, total: None)
    assert set(table) == {"used.weight"} and bool((table["used.weight"] == 4).all())


def test_activations_without_a_number_are_refused(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))
    arena.layout.view(arena.weights[1], "stem.weight").fill_(torch.inf)
    with pytest.raises(CheckpointError, match=r"before body\.weight are NaN"):
        find(RegMean(), replace(arena), pictures=album(), worker=worker())
