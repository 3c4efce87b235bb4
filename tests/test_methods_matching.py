"""Git Re-Basin, Fisher merging and the output ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, TinyArchitecture, arena_of, informed, pictures, tiny_registered, tiny_tensors

from fusionlib.architectures.recognise import permutations_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.permuting import checked, permuted
from fusionlib.checkpoints.reader import TensorInfo
from fusionlib.contracts import ARCHITECTURES, Found, Permutation
from fusionlib.engine.blend import Blend
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.merging.buffers import settle
from fusionlib.merging.choices import RULES
from fusionlib.merging.ensemble import Ensemble
from fusionlib.merging.fisher import FLOOR, Fisher
from fusionlib.merging.rebasin import Rebasin
from fusionlib.statistics.fisher import picture_information, seeded
from fusionlib.statistics.permutation import match

BUILT_IN = ["enet"]
"""Networks whose match takes seconds; that permutations of the others change no logit is tested with them."""
IMAGES = pictures(3)


@pytest.fixture(autouse=True, scope="module")
def known_network():
    with tiny_registered():
        yield


def fresh(name: str, seed: int, classes: int = 5) -> dict[str, torch.Tensor]:
    """A state dict of a built-in network with lively norms: nothing is symmetric by chance."""
    torch.manual_seed(seed)
    tensors = ARCHITECTURES.get(name).build(classes).state_dict()
    return {
        key: (
            value + torch.rand(value.shape) * (0.5 if value.ndim == 1 and value.numel() > 1 else 0)
            if value.is_floating_point()
            else value
        )
        for key, value in tensors.items()
    }


def answers(arena: Arena, row: torch.Tensor) -> torch.Tensor:
    network = next(
        item.build(item.recognise(arena.shapes)) for _, item in ARCHITECTURES.items() if item.recognise(arena.shapes)
    )
    network.load_state_dict({**arena.layout.views(row), **arena.integers[0]})
    with torch.inference_mode():
        return network.double().eval()(torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0)).double())


# --- Git Re-Basin -----------------------------------------------------------------------------------------------------


def test_every_built_in_network_of_convolutions_declares_its_permutations() -> None:
    without = {name for name in ARCHITECTURES.names() if not hasattr(ARCHITECTURES.get(name), "permutations")}
    families = {name.partition("-")[0] for name in without}
    assert families == {"segformer", "senformer", "senupernet", "features"}, (
        "heads of attention, and learners, are not matched"
    )


@pytest.mark.parametrize("name", [*BUILT_IN, "tiny"])
def test_permuting_changes_no_output_and_matching_restores_the_order(tmp_path: Path, name: str) -> None:
    arena = arena_of(tmp_path, *[fresh(name, 0)] * 2)
    permutations = checked(arena, permutations_of(arena.shapes))
    generator = torch.Generator().manual_seed(1)
    orders = [torch.randperm(item.size, generator=generator) for item in permutations]
    row = permuted(arena.layout, permutations, orders, arena.weights[0])
    assert not torch.equal(row, arena.weights[0])
    expected = answers(arena, arena.weights[0])
    assert torch.allclose(answers(arena, row), expected, rtol=1e-9, atol=1e-12)
    for seed in (0, 1):
        found = match(arena.layout, permutations, arena.weights[0], row, restarts=1, seed=seed)
        for order, back in zip(orders, found, strict=True):
            assert back.dtype == torch.int64 and torch.equal(order[back], torch.arange(len(order)))
        assert torch.equal(permuted(arena.layout, permutations, found, row), arena.weights[0]), "statistics included"


@pytest.mark.parametrize("policy", ["average", "gaussian", "anchor"])
def test_merging_with_a_permuted_copy_of_itself_gives_the_network_back(tmp_path: Path, policy: str) -> None:
    arena = arena_of(tmp_path, *[tiny_tensors(1)] * 2)
    orders = [torch.randperm(8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    arena.weights[1] = permuted(arena.layout, checked(arena, permutations_of(arena.shapes)), orders, arena.weights[0])
    method = informed(Rebasin(), arena)
    mixture = method(arena)
    settle(policy, arena, method, mixture.weights[0])
    assert torch.equal(mixture.weights[0], arena.weights[0])
    moved = sum(int((order != torch.arange(8)).sum()) for order in orders)
    assert f"{moved} of 16 units moved, in 2 of 2 groups" in mixture.notes[0]


def test_the_identity_is_said_and_found_for_close_networks(tmp_path: Path) -> None:
    arena = arena_of(
        tmp_path,
        tiny_tensors(1),
        {key: value * 1.01 if value.is_floating_point() else value for key, value in tiny_tensors(1).items()},
    )
    assert "the match is the identity" in informed(Rebasin(), arena)(arena).notes[0]


def test_matching_never_lowers_the_likeness_and_more_restarts_never_either(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, fresh("enet", 0), fresh("enet", 1))
    permutations = checked(arena, permutations_of(arena.shapes))
    counted = torch.zeros_like(arena.weights[0], dtype=torch.float64)
    for entry in arena.layout.entries:
        counted[entry.offset : entry.end] = entry.kind != "buffer"

    def likeness(row: torch.Tensor) -> float:
        return float((counted * arena.weights[0]) @ row.double())

    one, three = (
        permuted(
            arena.layout,
            permutations,
            match(arena.layout, permutations, *arena.weights, restarts=count),
            arena.weights[1],
        )
        for count in (1, 3)
    )
    assert likeness(three) >= likeness(one) - 1e-9 and likeness(one) > likeness(arena.weights[1])


def test_the_counterpart_of_weight_zero_is_not_looked_at_and_alpha_weighs_the_anchor(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2), tiny_tensors(3))
    assert torch.equal(informed(Rebasin(alpha=1.0, anchor=1), arena)(arena).weights[0], arena.weights[1])
    assert Rebasin(alpha=0.5, anchor=2).shares(3) == (0.25, 0.25, 0.5) and Rebasin().shares(3) == (1 / 3,) * 3


def test_networks_without_a_declaration_and_wrong_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArchitectureError, match="not declared"):
        informed(Rebasin(), arena_of(tmp_path, {"w": torch.ones(3)}, {"w": torch.ones(3)}))
    arena = arena_of(tmp_path / "t", tiny_tensors(1), tiny_tensors(2))
    for axes in ((("nose.weight", 0, 0),), (("stem.weight", 7, 0),), (("stem.weight", 0, 1),)):
        monkeypatch.setattr(TinyArchitecture, "permutations", (Permutation("wrong", 8, axes),))
        with pytest.raises(ArchitectureError, match="does not fit"):
            informed(Rebasin(seed=50 + len(axes)), arena)


# --- Fisher -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Arena:
    return arena_of(tmp_path, *(tiny_tensors(seed) for seed in (1, 2, 3)))


def found(information: torch.Tensor) -> Found:
    """F (K, P) as a method is told it."""
    return {("fisher", (number,)): {"information": row} for number, row in enumerate(information)}


@pytest.mark.parametrize("settings", [{}, {"favour_anchor": False}, {"normalise": False, "favour_anchor": False}])
def test_fisher_with_equal_information_is_the_mean(three: Arena, settings: dict) -> None:
    equal = torch.rand(three.weights.shape[1], generator=torch.Generator().manual_seed(0)).expand(3, -1) + 1
    merged = Fisher(**settings).informed(found(equal))(three).weights[0]
    assert torch.allclose(merged, three.weights.mean(0), atol=1e-6)
    weighted = Fisher(lambdas=(0.5, 0.3, 0.2), favour_anchor=False).informed(found(equal))(three).weights[0]
    naive = (torch.tensor([[0.5], [0.3], [0.2]]) * three.weights).sum(0)
    assert torch.allclose(weighted, naive, atol=1e-6)


def test_fisher_is_the_formula_and_favours_the_anchor_where_nothing_depends(three: Arena) -> None:
    information = torch.rand(three.weights.shape, generator=torch.Generator().manual_seed(0))
    information[:, :8] = 0
    merged = Fisher(anchor=2).informed(found(information))(three).weights[0]
    assert torch.allclose(merged[:8], three.weights[2, :8], atol=1e-6)
    unnormalised = Fisher(normalise=False, favour_anchor=False, lambdas=(0.2, 0.3, 0.5))
    plain = unnormalised.informed(found(information))(three).weights[0]
    weights = information.double() * torch.tensor([[0.2], [0.3], [0.5]], dtype=torch.float64)
    entry = three.layout.by_name["body.weight"]
    here = slice(entry.offset, entry.end)
    naive = (weights * three.weights).sum(0)[here] / weights.sum(0)[here]
    assert torch.allclose(plain[here].double(), naive, atol=1e-6)
    assert torch.allclose(
        plain[:8].double(), (torch.tensor([0.2, 0.3, 0.5]).double() @ three.weights.double())[:8], atol=1e-6
    )
    scaled = information * torch.tensor([[1.0], [100.0], [0.01]])
    assert torch.allclose(
        Fisher(favour_anchor=False).informed(found(scaled))(three).weights[0],
        Fisher(favour_anchor=False).informed(found(information))(three).weights[0],
        atol=1e-5,
    ), "normalised by its norm"


def shares_of(information: torch.Tensor, **settings: Any) -> torch.Tensor:
    """The weight (P,) of each anchor element: two networks of one float64 tensor, all ones at the anchor and zeros at
    the other.
    """
    layout = Layout.of({"w": TensorInfo("w", (information.shape[1],), torch.float64)})
    rows = torch.zeros(2, layout.size, dtype=torch.float64)
    rows[settings.get("anchor", 0)] = 1
    padded = torch.nn.functional.pad(information, (0, layout.size - information.shape[1]))
    arena = Arena(layout, rows, ({}, {}), ("a", "b"), ("0", "1"))
    return Fisher(**settings).informed(found(padded))(arena).weights[0, : information.shape[1]]


@pytest.mark.parametrize("size", [10**4, 10**7])
def test_fisher_above_the_floor_favours_nobody_however_large_the_network(size: int) -> None:
    heavy = torch.empty(size).log_normal_(0, 2, generator=torch.Generator().manual_seed(0))
    assert float(heavy.min()) > FLOOR
    assert bool((shares_of(heavy.expand(2, -1)) == 0.5).all())


@pytest.mark.parametrize("anchor", [0, 1])
@pytest.mark.parametrize("normalise", [True, False])
def test_fisher_below_the_floor_is_the_closed_form(anchor: int, normalise: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    information = torch.empty(2, 1000, dtype=torch.float64).log_normal_(-14, 2, generator=generator)  # medians of 8e-7
    information[1] *= 3
    before = information.clone()
    found = shares_of(information, anchor=anchor, normalise=normalise, lambdas=(0.3, 0.7))
    assert torch.equal(information, before), "what was estimated stays"
    norms = information.norm(dim=1) if normalise else torch.ones(2)
    ours, other = (torch.tensor([0.3, 0.7], dtype=torch.float64) / norms)[[anchor, 1 - anchor]]
    naive = torch.tensor(
        [
            ours * max(a, 1e-6) / (ours * max(a, 1e-6) + other * b)
            for a, b in information[[anchor, 1 - anchor]].T.tolist()
        ],
        dtype=torch.float64,
    )
    assert 0.2 < float((information[anchor] < 1e-6).double().mean()) < 0.8
    assert torch.allclose(found, naive, rtol=1e-12, atol=0)


def test_fisher_without_information_is_refused(three: Arena) -> None:
    with pytest.raises(UsageError, match="Give --data"):
        Fisher()(three)
    with pytest.raises(UsageError):
        Fisher().informed(found(torch.ones(3, 5)))(three)


def bound(arena: Arena, number: int = 0) -> BoundNetwork:
    network = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[number], device=CPU)
    network.load(arena.weights[number])
    return network


def test_sampled_information_tends_to_the_exact_one(three: Arena) -> None:
    network, image = bound(three), pictures(1, size=(8, 8))[0]
    exact = picture_information(network, image, "exact", seeded(0, 0)).double()
    draws = torch.stack(
        [picture_information(network, image, "sampled", seeded(0, number)) for number in range(300)]
    ).double()
    assert float(draws.mean(0).sum()) == pytest.approx(float(exact.sum()), rel=0.15)
    assert float(torch.nn.functional.cosine_similarity(draws.mean(0), exact, 0)) > 0.97


def test_information_is_non_negative_seeded_and_zero_for_statistics(three: Arena) -> None:
    before = three.weights.clone()
    rows = [informed(Fisher(seed=seed), three).table("fisher", 0)["information"] for seed in (0, 0, 1)]
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])
    assert (rows[0] >= 0).all() and rows[0].sum() > 0 and torch.isfinite(rows[0]).all()
    assert (rows[0][three.mean_index] == 0).all() and (rows[0][three.variance_index] == 0).all()
    alone = [picture_information(bound(three), IMAGES[number], "sampled", seeded(0, number)) for number in (0, 1)]
    assert torch.allclose(rows[0], sum(alone) / 2, rtol=1e-5, atol=0), "the mean over pictures"
    assert torch.equal(three.weights, before)
    with pytest.raises(UsageError, match="at most 1024"):
        informed(Fisher(labels="exact"), three)


# --- the output ensemble ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_the_ensemble_of_identical_networks_is_that_network(tmp_path: Path, rule: str) -> None:
    arena = arena_of(tmp_path, *[tiny_tensors(1)] * 3)
    mixture = Ensemble(rule)(arena)
    assert mixture.weights.shape == arena.weights.shape and mixture.coefficients.tolist() == pytest.approx([1 / 3] * 3)
    networks = [bound(arena, number) for number in range(3)]
    alone = networks[0].logits(IMAGES).softmax(1)
    together = OutputEnsemble(networks, (1 / 3,) * 3, rule).logits(IMAGES).softmax(1)
    assert torch.equal(together.argmax(1), alone.argmax(1))
    if rule in ("softmax", "logit"):
        assert torch.allclose(together, alone, atol=1e-5)


def test_rules_are_the_papers(three: Arena) -> None:
    networks, shares = [bound(three, number) for number in range(3)], (1 / 3,) * 3
    logits = torch.stack([network.logits(IMAGES) for network in networks]).double()
    probabilities = logits.softmax(2)
    expected = {
        "softmax": probabilities.mean(0),
        "logit": logits.mean(0).softmax(1),
        "product": probabilities.prod(0) / probabilities.prod(0).sum(1, keepdim=True),
    }
    for rule, wanted in expected.items():
        assert torch.allclose(
            OutputEnsemble(networks, shares, rule).logits(IMAGES).softmax(1).double(), wanted, atol=1e-5
        )
    votes = torch.zeros_like(probabilities[0])
    for one in probabilities:
        confidence, label = one.max(1, keepdim=True)
        votes.scatter_add_(1, label, confidence)
    answer = OutputEnsemble(networks, shares, "majority").logits(IMAGES).exp().double()
    assert torch.allclose(answer, votes / 3, atol=1e-5), "a vote carries its confidence and the sum is divided by M"


def test_an_unknown_rule_is_refused(three: Arena) -> None:
    with pytest.raises(UsageError, match="softmax"):
        OutputEnsemble([bound(three)], (1.0,), "median")


def test_an_ensemble_is_not_put_into_one_network(three: Arena) -> None:
    with pytest.raises(UsageError, match="3 networks, not one"):
        Blend(three, bound(three)).set(Ensemble(), lambda call: call())
