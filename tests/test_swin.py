"""Swin: positions in windows, what a shift keeps apart, and the maps of the public release."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import upernet_public as public
from helpers import CPU
from torch import Tensor

from fusionlib.architectures import swin

SIZES = public.SMALL
PLAN = swin.Plan(SIZES.width, SIZES.depths, SIZES.heads, SIZES.window)

PARAMETERS = {"t": 27.52, "s": 48.84, "b": 86.75, "l": 195.0}
"""Millions, norms of the outputs included and without a classifier: the paper has 29, 50, 88 and 197 with one."""


def noise(*sides: int) -> Tensor:
    return torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(1))


def backbone(seed: int = 0) -> tuple[swin.Swin, dict[str, Tensor]]:
    """With the tensors of a file of the release, all of them and no other."""
    tensors, network = public.release(SIZES, 4, seed), swin.Swin(PLAN).eval()
    own = {name.removeprefix("backbone."): one for name, one in tensors.items() if name.startswith("backbone.")}
    network.load_state_dict(own, strict=True)
    return network, tensors


@pytest.mark.parametrize("size", PARAMETERS)
def test_parameters_are_those_of_the_paper(size: str) -> None:
    with torch.device("meta"):
        network = swin.Swin(swin.PLANS[size])
    assert round(sum(one.numel() for one in network.parameters()) / 1e6, 2) == PARAMETERS[size]


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_positions_in_a_window_are_counted_as_by_going_through_them(window: int) -> None:
    assert torch.equal(swin.position_index(window), public.index_of(window))
    tables = {"a.relative_position_bias_table": ((2 * window - 1) ** 2, 3)}
    assert swin.missing_indices(tables) == {"a.relative_position_index": (window**2, window**2)}
    assert swin.missing_indices({**tables, "a.relative_position_index": ()}) == {}
    assert swin.missing_indices({"a.relative_position_bias_table": (10**12, 3)}) == {}


@pytest.mark.parametrize(("height", "width", "window", "shift"), [(6, 9, 3, 1), (4, 4, 4, 2), (14, 7, 7, 3)])
def test_tokens_from_opposite_edges_are_kept_apart(height: int, width: int, window: int, shift: int) -> None:
    found = swin.kept_apart(height, width, window, shift, CPU)
    places = torch.arange(height * width).reshape(1, height, width, 1)
    rolled = swin.windows(torch.roll(places, (-shift, -shift), (1, 2)), window)[:, :, 0]
    for number, one, other in product(range(len(found)), range(window**2), range(window**2)):
        (y, x), (v, u) = (divmod(int(rolled[number, at]), width) for at in (one, other))
        near = abs(y - v) < window and abs(x - u) < window
        if height > window and width > window:
            assert (found[number, one, other] == 0) == near
        assert found[number, one, other] in (0, -100) and (near or found[number, one, other] == -100)
    assert (found == 0).sum() < found.numel()


@pytest.mark.parametrize("sides", [(48, 48), (50, 71), (7, 90)])
def test_maps_are_those_of_going_through_all_windows(sides: tuple[int, int]) -> None:
    network, tensors = backbone()
    with torch.inference_mode():
        found, expected = network(noise(*sides)), public.swin(tensors, SIZES, noise(*sides))
    assert [one.shape[2:] for one in found] == [
        tuple(-(-side // stride) for side in sides) for stride in (4, 8, 16, 32)
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_pictures_of_a_batch_do_not_see_one_another_and_mixed_precision_is_near() -> None:
    network, _ = backbone()
    with torch.inference_mode():
        both = network(noise(50, 71))
        for one, alone in zip(both, network(noise(50, 71)[1:]), strict=True):
            torch.testing.assert_close(one[1:], alone, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            for one, mixed in zip(both, network(noise(50, 71)), strict=True):
                assert (mixed.float() - one).abs().mean() < 0.05


def test_gradients_reach_every_tensor_also_after_a_pass_without_them() -> None:
    network, _ = backbone()
    with torch.inference_mode():
        network(noise(50, 71))
    sum(one.square().mean() for one in network(noise(50, 71))).backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in network.parameters())
