"""How learners inside one network answer as one: closed forms, and what holds for every registered fusion."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fusionlib.architectures.fusions.explicit import Explicit
from fusionlib.architectures.fusions.hierarchical import Hierarchical
from fusionlib.architectures.fusions.majority import Majority
from fusionlib.architectures.fusions.product import Product
from fusionlib.contracts import FUSIONS, Fusion, parameters_of
from fusionlib.errors import UsageError

L, N, C, SIDES = 4, 2, 3, (5, 6)
NAMES = FUSIONS.names()


def noise(seed: int = 0, learners: int = L) -> Tensor:
    return torch.randn(learners, N, C, *SIDES, generator=torch.Generator().manual_seed(seed)) * 3


def fused(fusion: Fusion, logits: Tensor, kept: Sequence[int] | None = None) -> Tensor:
    """Probabilities, by modules with random weights where there are some."""
    torch.manual_seed(0)
    attention = fusion.attention(L, C)
    return fusion(logits, attention and attention.eval(), kept).detach().softmax(1)


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_fusions_say_what_they_are_and_give_distributions(name: str) -> None:
    kind = FUSIONS.get(name)
    assert kind.title and kind.summary and kind.citation and kind.version >= 1 and kind.__doc__
    assert all(item.help for item in parameters_of(kind))
    attention = kind().attention(L, C)
    assert (attention is not None) is kind.trained
    logs = kind()(noise(), attention and attention.eval())
    assert logs.shape == (N, C, *SIDES) and bool(torch.isfinite(logs).all())
    assert close(logs.exp().sum(1), torch.ones(N, *SIDES))


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_alone_and_equal_learners_say_what_each_says(name: str) -> None:
    one, fusion = noise(learners=1), FUSIONS.get(name)()
    each, equal = one[0].softmax(1), one.expand(L, -1, -1, -1, -1)
    if name in ("average", "hierarchical", "explicit"):
        assert close(fused(fusion, equal), each)
    assert torch.equal(fused(fusion, equal).argmax(1), each.argmax(1))
    for number in range(L):
        alone = fused(fusion, noise(), [number])
        assert torch.equal(alone.argmax(1), noise()[number].argmax(1))
        assert name == "majority" or close(alone, noise()[number].softmax(1))


@pytest.mark.parametrize("name", NAMES)
def test_what_some_learners_say_is_independent_of_the_others(name: str) -> None:
    fusion, other = FUSIONS.get(name)(), noise()
    other[1] = 100.0
    assert torch.equal(fused(fusion, noise(), (0, 2, 3)), fused(fusion, other, (3, 2, 0)))
    assert torch.equal(fused(fusion, noise(), range(L)), fused(fusion, noise()))


def test_averages_and_products_are_those_of_probabilities() -> None:
    probabilities = noise().double().softmax(2)
    assert close(fused(FUSIONS.get("average")(), noise()), probabilities.mean(0).float())
    product = probabilities.prod(0)
    assert close(fused(Product(), noise()), (product / product.sum(1, keepdim=True)).float())
    sure = torch.full((2, 1, 3, 1, 1), -1e4)
    sure[:, :, 1] = 1e4  # two learners that are certain of the same class
    assert fused(Product(), sure)[0, 1].item() == 1


def test_votes_carry_their_confidence_or_are_heads() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3]])
    logits = shares.log()[:, None, :, None, None]
    assert torch.allclose(fused(Majority(), logits[:3])[0, :, 0, 0], torch.tensor([1.0, 0.9, 0]) / 1.9, atol=1e-6)
    heads = fused(Majority(votes="heads"), logits)[0, :, 0, 0]
    assert torch.allclose(heads, torch.tensor([0.4, 0.6, 0.0]), atol=1e-6)


def test_masks_of_explicit_attention_sum_to_one_whichever_learners_take_part() -> None:
    fusion = Explicit()
    modules = fusion.attention(L, C).eval()
    for kept in ((0, 1, 2, 3), (1, 3)):
        masks = fusion.masks(noise()[list(kept)], kept, modules)
        assert masks.shape == (len(kept), N, 1, *SIDES) and close(masks.sum(0), torch.ones(N, 1, *SIDES))


def test_hierarchical_attention_goes_from_fine_to_coarse_as_its_masks_say() -> None:
    fusion, logits = Hierarchical(), noise()
    modules = fusion.attention(L, C).eval()
    assert len(modules) == L - 1
    for bias, winner in ((1e4, L - 1), (-1e4, 0)):
        with torch.no_grad():
            for module in modules:
                module[-1].bias.fill_(bias)  # type: ignore[index]
        assert close(fusion(logits, modules).exp(), logits[winner].softmax(1))
    with torch.no_grad():
        modules[0][-1].bias.fill_(1e4)  # type: ignore[index]
    assert close(fusion(logits, modules).exp(), logits[1].softmax(1))


def test_no_learner_a_missing_one_and_a_lacking_module_are_refused() -> None:
    for kept in ((), (0, 4), (-1,)):
        with pytest.raises(UsageError, match="one or more of 0 to 3"):
            Product()(noise(), kept=kept)
    with pytest.raises(UsageError, match="trained with it"):
        Explicit()(noise())
