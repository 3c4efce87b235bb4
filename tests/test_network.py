"""Networks bound to a flat buffer, ENet, and the maps that the browser draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, TinyArchitecture, TinyNet, arena_of, pictures, tiny_tensors
from torch import nn

from fusionlib.architectures.outputs import logits_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import ARCHITECTURES, IGNORE
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.engine.maps import doubt_maps, pixel_maps
from fusionlib.engine.network import BoundNetwork, choose_device
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.measures.observation import Observation
from fusionlib.studio.demo import DEMO

IMAGES = pictures(3)


def bound(arena: Arena, row: int = 0, precision: str = "float32") -> BoundNetwork:
    network = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU, precision=precision)
    network.load(arena.weights[row])
    return network


def reference(tensors: dict[str, torch.Tensor], images: np.ndarray) -> torch.Tensor:
    """The network as anybody would run it: load_state_dict, normalise, forward."""
    net = TinyNet(3).eval()
    net.load_state_dict(tensors)
    about = TinyArchitecture.preprocessing
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return net((x - torch.tensor(about.mean).view(1, 3, 1, 1)) / torch.tensor(about.std).view(1, 3, 1, 1))


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))


def test_to_change_the_buffer_is_to_change_the_network(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_: pytest.fail("load_state_dict on the live path"))
    network = bound(arena)
    first = network.logits(IMAGES)
    network.flat.copy_(arena.weights[1])
    second = network.logits(IMAGES)
    network.load(arena.weights[0])
    assert torch.equal(network.logits(IMAGES), first)
    assert not torch.allclose(first, second, atol=0.1)


def test_every_tensor_of_the_network_is_a_view_and_every_element_matters(arena: Arena) -> None:
    network = bound(arena)
    start, end = network.flat.data_ptr(), network.flat.data_ptr() + 4 * network.flat.numel()
    state = network.module.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            assert start <= tensor.data_ptr() < end, name
            assert tensor.data_ptr() == network.layout.view(network.flat, name).data_ptr()
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert not network.module.training


def test_two_networks_of_one_arena_do_not_share_anything(arena: Arena) -> None:
    one, other = bound(arena, 0), bound(arena, 1)
    before = one.logits(IMAGES)
    other.flat.zero_()
    for tensor in other.module.buffers():
        tensor.zero_()
    assert torch.equal(one.logits(IMAGES), before)
    assert int(arena.integers[0]["norm.num_batches_tracked"]) == 17


@pytest.mark.parametrize("size", [None, (48, 64), (96, 128), (31, 57), (24, 32)])
def test_logits_are_those_of_the_plain_network_resized_bilinearly(arena: Arena, size: tuple[int, int] | None) -> None:
    logits = bound(arena).logits(IMAGES, size)
    plain = reference(tiny_tensors(1), IMAGES)
    assert plain.shape[-2:] == (24, 32)
    expected = nn.functional.interpolate(plain, size=size or (48, 64), mode="bilinear", align_corners=False)
    assert logits.dtype == torch.float32 and logits.shape == expected.shape
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (17, 23), (48, 63), (5, 200)])
def test_odd_sizes(arena: Arena, size: tuple[int, int]) -> None:
    assert bound(arena).logits(pictures(2, size=size)).shape == (2, 3, *size)


def test_a_batch_gives_what_its_pictures_give(arena: Arena) -> None:
    network = bound(arena)
    together = network.logits(IMAGES)
    alone = torch.cat([network.logits(image[None]) for image in IMAGES])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_pictures_are_left_alone(arena: Arena) -> None:
    before = IMAGES.copy()
    bound(arena).logits(IMAGES)
    assert (before == IMAGES).all()


def test_mixed_precision_agrees_on_nearly_all_labels(arena: Arena) -> None:
    exact, mixed = (bound(arena, 0, precision).logits(IMAGES) for precision in ("float32", "mixed"))
    assert mixed.dtype == torch.float32
    assert float((exact.argmax(1) == mixed.argmax(1)).float().mean()) > 0.98
    assert not torch.equal(exact, mixed)


@pytest.mark.parametrize("lost", ["head.weight", "norm.running_var", "body.bias", "table"])
def test_a_missing_tensor_is_named(tmp_path: Path, lost: str) -> None:
    tensors = tiny_tensors(1)
    del tensors[lost]
    arena = arena_of(tmp_path, tensors)
    with pytest.raises(ArchitectureError, match=lost):
        bound(arena)


def test_a_missing_counter_is_no_obstacle(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in tiny_tensors(1).items() if not name.endswith("num_batches_tracked")}
    whole = bound(arena_of(tmp_path / "whole", tiny_tensors(1)))
    assert torch.equal(bound(arena_of(tmp_path, tensors)).logits(IMAGES), whole.logits(IMAGES))


def test_wrong_device_and_precision_are_refused(arena: Arena) -> None:
    with pytest.raises(UsageError, match="float32, mixed"):
        bound(arena, 0, "half")
    with pytest.raises(UsageError, match="auto, cpu or cuda"):
        choose_device("toaster")
    assert choose_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert choose_device() == CPU
        with pytest.raises(UsageError, match="no CUDA"):
            choose_device("cuda:1")


@pytest.mark.parametrize(
    "output",
    [
        lambda x: x,
        lambda x: {"out": x},
        lambda x: {"logits": x},
        lambda x: (x, None),
        lambda x: [x],
        lambda x: type("Output", (), {"logits": x})(),
    ],
)
def test_logits_are_found_in_what_networks_return(output) -> None:
    logits = torch.zeros(1, 3, 4, 4)
    assert logits_of(output(logits)) is logits


@pytest.mark.parametrize(
    "output", [None, (), {}, {"aux": torch.zeros(1, 3, 4, 4)}, torch.zeros(3, 4, 4), "text", [None]]
)
def test_other_outputs_are_refused(output: object) -> None:
    with pytest.raises(ArchitectureError, match="under 'out' or 'logits'"):
        logits_of(output)


# --- ENet -------------------------------------------------------------------------------------------------------------


def shapes_of(classes: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in ARCHITECTURES.get("enet").build(classes).state_dict().items()}


@pytest.mark.parametrize(
    ("classes", "space"), [(19, "cityscapes"), (20, "cityscapes-void"), (11, "camvid"), (7, "classes-7")]
)
def test_enet_is_recognised_with_its_class_count(classes: int, space: str) -> None:
    enet = ARCHITECTURES.get("enet")
    assert enet.recognise(shapes_of(classes)) == classes
    assert enet.label_space(classes) == space
    without = {name: shape for name, shape in shapes_of(classes).items() if not name.endswith("num_batches_tracked")}
    assert enet.recognise(without) == classes
    assert enet.recognise({**without, "mean": (3,), "criterion.weight": (classes,)}) == classes


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("regular5_1.ext_conv1.0.weight"),
        lambda s: s.update({"initial_block.main_branch.weight": (13, 4, 3, 3)}),
        lambda s: s.pop("transposed_conv.weight"),
        lambda s: s.update({"transposed_conv.weight": (16, 19)}),
        lambda s: s.update({"initial_block.batch_norm.num_batches_tracked": (1,)}),
    ],
)
def test_other_shapes_are_not_enet(change) -> None:
    shapes = shapes_of(19)
    change(shapes)
    assert ARCHITECTURES.get("enet").recognise(shapes) is None


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (50, 31), (64, 96)])
def test_enet_answers_at_the_pictures_own_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES.get("enet").build(5).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, *size)).shape == (1, 5, *size)


def test_enet_has_the_size_of_the_paper() -> None:
    network = ARCHITECTURES.get("enet").build(20)
    assert 340_000 < sum(parameter.numel() for parameter in network.parameters()) < 380_000


# --- label, confidence and runner-up ---------------------------------------------------------------------------------


def naive_maps(logits: np.ndarray, table: list[int], classes: int) -> tuple[np.ndarray, ...]:
    """Pixel by pixel: (C, H, W) logits -> label, confidence in 0..255 (not rounded), runner-up."""
    height, width = logits.shape[1:]
    label, certain, second = (np.zeros((height, width)) for _ in range(3))
    for y in range(height):
        for x in range(width):
            odds = np.exp(logits[:, y, x].astype(np.float64) - logits[:, y, x].max())
            odds /= odds.sum()
            best = int(np.argmax(odds))
            sums = [sum(odds[c] for c in range(len(odds)) if table[c] == target) for target in range(classes)]
            label[y, x] = IGNORE if table[best] < 0 else table[best]
            certain[y, x] = 255 * (odds[best] if table[best] < 0 else sums[table[best]])
            second[y, x] = max(
                (target for target in range(classes) if target != table[best]), key=lambda target: sums[target]
            )
    return label, certain, second


@pytest.mark.parametrize("mapped", [False, True])
def test_maps_are_those_of_a_naive_loop(mapped: bool) -> None:
    torch.manual_seed(4)
    logits = torch.randn(1, 20, 12, 15) * 2
    logits[0, 19, :3] += 6  # void wins there: outside the target space
    truth = torch.full((1, 12, 15), IGNORE, dtype=torch.uint8)
    table = mapping(CITYSCAPES_VOID, CAMVID)
    observation = (
        Observation(logits, truth, torch.from_numpy(table), CAMVID.count) if mapped else Observation(logits, truth)
    )
    label, certain, second = pixel_maps(observation)
    assert label.dtype == certain.dtype == second.dtype == np.uint8
    expected = naive_maps(logits[0].numpy(), list(table) if mapped else list(range(20)), CAMVID.count if mapped else 20)
    assert (label == expected[0]).all()
    assert np.abs(certain - expected[1]).max() <= 0.5 + 1e-3
    assert (second == expected[2]).all()
    assert (second != label).all()
    assert not mapped or ((label == IGNORE).any() and (label != IGNORE).any())


@pytest.mark.parametrize("mapped", [False, True])
def test_doubt_is_that_of_a_naive_loop(mapped: bool) -> None:
    torch.manual_seed(5)
    logits = torch.randn(1, 20, 7, 9) * 2
    logits[0, 19, :3] += 6  # void wins there: outside the target space, which is a class of its own
    truth = torch.full((1, 7, 9), IGNORE, dtype=torch.uint8)
    table = mapping(CITYSCAPES_VOID, CAMVID)
    wide = Observation(logits, truth, torch.from_numpy(table), CAMVID.count) if mapped else Observation(logits, truth)
    entropy, margin = doubt_maps(wide)
    odds = logits.double().softmax(1)[0].numpy()
    for y, x in np.ndindex(7, 9):
        kept = odds[:, y, x]
        if mapped:
            kept = np.array([kept[table == target].sum() for target in range(-1, CAMVID.count)])
        second, first = np.sort(kept)[-2:]
        assert abs(margin[y, x] - 255 * (first - second)) <= 0.51
        assert abs(entropy[y, x] + 255 * (kept * np.log(kept)).sum() / np.log(len(kept))) <= 0.51


def test_doubt_of_a_coin_and_of_one_class() -> None:
    truth = torch.zeros(1, 1, 2, dtype=torch.uint8)
    even = torch.tensor([[[[0.0, 200.0]], [[0.0, 0.0]]]])
    assert [one.tolist() for one in doubt_maps(Observation(even, truth))] == [[[255, 0]], [[0, 255]]]
    assert [one.tolist() for one in doubt_maps(Observation(even[:, :1], truth))] == [[[0, 0]], [[255, 255]]]


def test_a_picture_too_small_for_the_network_is_said_so() -> None:
    """A built-in network is not the user's code to correct."""
    enet = ARCHITECTURES.get("enet")
    checkpoint = open_checkpoint(DEMO / "night.safetensors")
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(enet, 19, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    with pytest.raises(ArchitectureError) as caught:
        network.logits(pictures(1, size=(1, 1)))
    error = caught.value
    assert error.got == f"{enet.title} cannot run on pictures of 1x1" and "model code" not in str(error)
    side = int(re.search(r"about (\d+) pixels a side", error.needs)[1])  # type: ignore[index]
    assert network.logits(pictures(1, size=(side, side))).shape[2:] == (side, side)
    assert "larger pictures" in error.do
