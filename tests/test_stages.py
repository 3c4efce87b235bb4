"""Passes that start at the changed stage give the bits of a pass from the picture, whatever has changed and however."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, TinyArchitecture, TinyNet, arena_of, pictures, tiny_tensors
from torch import Tensor

from fusionlib.architectures.staged import check_stages
from fusionlib.architectures.user import register_user_model
from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import ARCHITECTURES, Architecture, Sample, Stage
from fusionlib.engine import stages as trails
from fusionlib.engine.blend import Blend
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError
from fusionlib.merging.linear import Linear
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import units

ENET = ARCHITECTURES.get("enet")
IMAGES = [image[None] for image in pictures(3, size=(32, 46))]


@pytest.fixture(autouse=True)
def one_thread():
    """Pictures this small are not worth a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def enet_tensors(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    tensors = ENET.build(3).state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape) * 0.1)
        elif name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape) + 0.3)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(seed + 5)
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return arena_of(tmp_path_factory.mktemp("enets"), enet_tensors(1), enet_tensors(2))


class Calibration:
    """Two unlabelled pictures."""

    def __len__(self) -> int:
        return 2

    def spread(self, count: int) -> list[int]:
        return [0, 1]

    def load(self, index: int) -> Sample:
        return Sample(str(index), IMAGES[index][0], None)


def bound(arena: Arena, architecture: Architecture = ENET, precision: str = "float32") -> BoundNetwork:
    network = BoundNetwork(architecture, 3, arena.layout, arena.integers[0], device=CPU, precision=precision)
    network.load(arena.weights[0])
    return network


def from_scratch(network: BoundNetwork, arena: Arena, image: np.ndarray, architecture: Architecture = ENET) -> Tensor:
    fresh = bound(arena, architecture, network.precision)
    fresh.load(network.flat)
    return fresh.logits(image)


def touch(network: BoundNetwork, name: str) -> None:
    """Change one number of a tensor."""
    network.layout.view(network.flat, name).reshape(-1)[-1:].mul_(0.5).add_(0.25)


# --- the property -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "precision"),
    [
        ("average", "float32"),
        ("gaussian", "float32"),
        ("anchor", "float32"),
        ("recalibrate", "float32"),
        ("average", "mixed"),
    ],
)
def test_any_sequence_of_changes_gives_what_a_pass_from_scratch_gives(
    arena: Arena, policy: str, precision: str
) -> None:
    pick, run = random.Random(f"{policy}{precision}"), lambda call: call()
    blend = Blend(arena, bound(arena, precision=precision), policy, calibration=Calibration(), count=2)  # type: ignore[arg-type]
    network, fresh, blocks, begun = (
        blend.network,
        bound(arena, precision=precision),
        list(units(arena.layout, "block")),
        set(),
    )
    weights, image = dict.fromkeys(blocks, (0.5, 0.5)), IMAGES[0]

    def drag(count: int) -> None:
        for name in pick.sample(blocks, count):
            share = pick.choice((0.0, 0.25, 0.6, 1.0))
            weights[name] = (share, 1 - share)
        blend.set(LayerProfile(weights=dict(weights)), run)

    others: list[Callable[[], object]] = [
        lambda: drag(5),
        lambda: blend.set_alone(pick.randrange(2), run),
        lambda: blend.set(Linear(pick.random()), run),
        lambda: touch(network, pick.choice(arena.layout.entries).name),
        lambda: network.load(arena.weights[1]),
    ]
    for step in range(30):
        image = pick.choice(IMAGES) if step % 5 == 4 else image
        pick.choice(others)() if step % 4 == 3 else drag(1)
        given = network.logits(image, None, True)
        begun.add(network.trail.began)
        fresh.load(network.flat)
        assert torch.equal(given, fresh.logits(image)), (step, network.trail.began)
    assert len(begun) > 4, "most passes began somewhere on the way"


@pytest.mark.parametrize("precision", ["float32", "mixed"])
def test_every_stage_may_be_a_call_of_its_own(arena: Arena, precision: str) -> None:
    network, calls = bound(arena, precision=precision), []
    expected = network.logits(IMAGES[0])

    def run(call: Callable[[], object]) -> object:
        calls.append(call)
        with (
            torch.inference_mode(False),
            torch.autocast("cpu", enabled=False),
        ):  # what others leave behind between two calls
            return call()

    count = len(ENET.stages(network.module))  # type: ignore[attr-defined]
    assert torch.equal(network.logits(IMAGES[0], None, False, run), expected) and len(calls) == count + 2
    assert torch.equal(network.logits(IMAGES[0], None, True, run), expected)
    calls.clear()
    touch(network, network.layout.entries[-1].name)
    fresh = from_scratch(network, arena, IMAGES[0])
    assert torch.equal(network.logits(IMAGES[0], None, True, run), fresh) and len(calls) < 6, (
        "from the stage that has changed"
    )


def test_half_precision_checkpoints(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, enet_tensors(1, torch.float16), enet_tensors(2, torch.float16))
    blend = Blend(arena, bound(arena), "gaussian")
    for share in (0.5, 0.3, 0.0):
        blend.set(LayerProfile(weights={"dilated3_5": (share, 1 - share)}, rest=(0.5, 0.5)), lambda call: call())
        assert torch.equal(blend.network.logits(IMAGES[0], None, True), from_scratch(blend.network, arena, IMAGES[0]))
    assert blend.network.trail.began == "dilated3_5"


# --- ENet -------------------------------------------------------------------------------------------------------------


def test_the_stages_of_enet_are_its_blocks_and_its_forward_pass(arena: Arena) -> None:
    module = ENET.build(3).eval()
    stages = ENET.stages(module)  # type: ignore[attr-defined]
    assert [stage.name for stage in stages] == list(units(arena.layout, "block"))
    check_stages(module, stages)


def test_a_pass_begins_at_the_block_that_changed(arena: Arena) -> None:
    network = bound(arena)
    network.logits(IMAGES[0], None, True)
    blocks = units(arena.layout, "block")
    for name, entries in reversed(blocks.items()):
        touch(network, entries[-1].name)
        network.logits(IMAGES[0], None, True)
        assert network.trail.began == (None if name == "initial_block" else name)
    touch(network, "regular5_1.ext_conv1.0.weight")
    touch(network, "regular1_2.ext_conv1.1.running_var")
    network.logits(IMAGES[0], (20, 30), True)
    assert network.trail.began == "regular1_2", "the first of two; at which size it is looked at does not matter"
    network.logits(IMAGES[0], None, True)
    assert network.trail.began == "transposed_conv"


def test_other_pictures_sizes_and_precisions_begin_at_the_picture(arena: Arena) -> None:
    network, image = bound(arena), IMAGES[0].copy()

    def begins() -> str | None:
        given = network.logits(image, None, True)
        assert torch.equal(given, from_scratch(network, arena, image))
        return network.trail.began

    assert begins() is None and begins() is not None
    image[0, 0, 0, 0] ^= 1  # in place: the same array
    assert begins() is None and begins() is not None
    image = image[:, :20]
    assert begins() is None and begins() is not None
    network.precision = "mixed"
    assert begins() is None and begins() is not None
    network.logits(IMAGES[1])
    assert begins() is not None, "passes that do not resume leave it alone"


def test_states_are_not_written_over(arena: Arena) -> None:
    network = bound(arena)
    network.logits(IMAGES[0], None, True)
    kept = dict(network.trail._states)
    before = {number: [tensor.clone() for tensor, _ in one.versions] for number, one in kept.items()}
    assert len(kept) == len(network.trail._stages)
    for name in ("regular1_1", "downsample2_0", "upsample4_0", "regular5_1"):
        touch(network, f"{name}.ext_conv1.0.weight")
        network.logits(IMAGES[0], None, True).zero_()
    for number, one in kept.items():
        assert not one.overwritten
        assert all(torch.equal(tensor, was) for (tensor, _), was in zip(one.versions, before[number], strict=True))


def test_a_pass_that_failed_half_way_leaves_nothing_wrong(arena: Arena) -> None:
    network = bound(arena)
    network.logits(IMAGES[0], None, True)
    touch(network, "regular1_3.ext_conv1.0.weight")
    handle = network.module.get_submodule("regular2_5").register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ArchitectureError, match="ZeroDivisionError"):
        network.logits(IMAGES[0], None, True)
    handle.remove()
    assert torch.equal(network.logits(IMAGES[0], None, True), from_scratch(network, arena, IMAGES[0]))
    assert network.trail.began == "regular2_5"


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "resumes"), [(10_000_000, True), (300_000, True), (150_000, True), (1000, False)])
def test_the_bound_on_memory_is_kept(arena: Arena, monkeypatch: pytest.MonkeyPatch, limit: int, resumes: bool) -> None:
    monkeypatch.setattr(trails, "LIMIT", limit)
    network, held = bound(arena), []
    for child in network.module.children():
        child.register_forward_hook(lambda *_: held.append(network.trail.bytes))
    for _ in range(3):
        assert torch.equal(network.logits(IMAGES[0], None, True), from_scratch(network, arena, IMAGES[0]))
        touch(network, "transposed_conv.weight")
    assert max(held) <= limit
    assert (network.trail.began is not None) == resumes


def test_all_networks_together_keep_the_bound(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [bound(arena) for _ in range(3)]
    networks[0].logits(IMAGES[0], None, True)
    monkeypatch.setattr(trails, "LIMIT", int(2.5 * networks[0].trail.bytes))
    for network in networks[1:]:
        network.logits(IMAGES[0], None, True)
    assert [network.trail.bytes > 0 for network in networks] == [False, True, True], "that used longest ago forgets"
    assert torch.equal(networks[0].logits(IMAGES[0], None, True), networks[1].logits(IMAGES[0], None, True))


# --- other networks ---------------------------------------------------------------------------------------------------


class StagedTiny(TinyArchitecture):
    """TinyNet in the stages that a test gives it."""

    def __init__(self, stages: Callable[[Any], Sequence[Stage]]) -> None:
        self.stages = stages


def sound(net: TinyNet) -> list[Stage]:
    return [
        Stage("stem", lambda x: torch.relu(net.norm(net.stem(x))), ("stem", "norm")),
        Stage("body", net.body),
        Stage("rest", lambda x: net.head(torch.relu(net.norm2(x))), ("norm2", "head")),
    ]


def in_place(net: TinyNet) -> list[Stage]:
    """Every stage writes over the state that it got."""

    def stem(x: Tensor) -> dict[str, Tensor]:
        return {"x": 2 * net.norm(net.stem(x))}

    def body(state: dict[str, Tensor]) -> dict[str, Tensor]:
        state["x"] = net.body(state["x"].mul_(0.5).relu_())
        return state

    return [
        Stage("stem", stem, ("stem", "norm")),
        Stage("body", body),
        Stage("head", lambda state: net.head(net.norm2(state["x"]).relu_()), ("norm2", "head")),
    ]


def one_table(net: TinyNet) -> list[Stage]:
    """All stages write into the same table."""

    def written(state: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        state["x"] = x
        return state

    return [
        Stage("stem", lambda x: {"x": torch.relu(net.norm(net.stem(x)))}, ("stem", "norm")),
        Stage("body", lambda state: written(state, net.body(state["x"]))),
        Stage("head", lambda state: net.head(torch.relu(net.norm2(state["x"]))), ("norm2", "head")),
    ]


def no_tensors(net: TinyNet) -> list[Stage]:
    """States of which nothing is known."""
    first, second, third = sound(net)
    return [
        Stage(first.name, lambda x: type("State", (), {"x": first.call(x)}), first.prefixes),
        Stage(second.name, lambda state: type("State", (), {"x": second.call(state.x)})),
        Stage(third.name, lambda state: third.call(state.x), third.prefixes),
    ]


@pytest.mark.parametrize("stages", [sound, in_place, one_table, no_tensors])
def test_stages_of_other_networks(tmp_path: Path, stages: Callable[[Any], Sequence[Stage]]) -> None:
    arena, architecture = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2)), StagedTiny(stages)
    network = bound(arena, architecture)
    for name in (
        "head.bias",
        "body.weight",
        "body.bias",
        "norm2.running_mean",
        "head.weight",
        "stem.weight",
        "body.bias",
        "head.bias",
    ):
        touch(network, name)
        assert torch.equal(
            network.logits(IMAGES[0], None, True), from_scratch(network, arena, IMAGES[0], TinyArchitecture())
        )


def test_a_tensor_of_no_stage_begins_at_the_picture(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))
    network = bound(arena, StagedTiny(lambda net: [*sound(net)[:2], Stage("head", sound(net)[2].call)]))
    for name, begins in (("head.bias", None), ("head.weight", "head"), ("norm2.weight", None), ("body.bias", "body")):
        touch(network, name)
        network.logits(IMAGES[0], None, True)
        assert network.trail.began == begins


def test_without_stages_every_pass_begins_at_the_picture(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))
    network = bound(arena, TinyArchitecture())
    assert torch.equal(network.logits(IMAGES[0], None, True), network.logits(IMAGES[0])) and not network.trail
    assert network.trail.began is None and network.trail.bytes == 0


# --- trying them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stages", [sound, in_place, one_table])
def test_sound_stages_pass_their_trial(stages: Callable[[Any], Sequence[Stage]]) -> None:
    net = TinyNet(3).eval()
    check_stages(net, stages(net))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (lambda net: [], "does not return stages"),
        (lambda net: [net.stem], "does not return stages"),
        (lambda net: [*sound(net)[:2], Stage("head", net.head)], "other logits"),
        (
            lambda net: [
                Stage("stem", sound(net)[0].call, ("stem",)),
                Stage("body", net.body, ("body", "norm")),
                sound(net)[2],
            ],
            "a later stage",
        ),
        (no_tensors, "in it"),
    ],
)
def test_others_do_not(stages: Callable[[Any], Sequence[Stage]], words: str) -> None:
    net = TinyNet(3).eval()
    with pytest.raises(ArchitectureError, match=words):
        check_stages(net, stages(net))


# --- the user's own file ----------------------------------------------------------------------------------------------

MODEL = """
from torch import nn
from fusionlib.contracts import Stage

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.norm, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, classes, 1)
    def forward(self, x):
        return {"out": self.head(self.norm(self.body(x)))}

def make(classes):
    return Net(classes)
"""
GOOD = """
def stages(net):
    body = Stage("body", lambda x: net.norm(net.body(x)), ("body", "norm"))
    return body, Stage("head", lambda x: {"out": net.head(x)})
"""


WRONG = (
    "def stages(of, what):\n    return 3\n",
    "stages = 4\n",
    GOOD.replace("net.norm(net.body(x))", "net.body(x)"),
    GOOD.replace(', ("body", "norm")', "").replace("net.head(x)})", 'net.head(x)}, ("head", "norm"))'),
)


@pytest.mark.parametrize(("code", "used"), [("", False), (GOOD, True), *((code, False) for code in WRONG)])
def test_a_model_file_may_declare_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str, used: bool
) -> None:
    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
    (tmp_path / "mine.py").write_text(MODEL + code)
    architecture = ARCHITECTURES.get(register_user_model(f"{tmp_path}/mine.py:make"))
    arena = arena_of(tmp_path, architecture.build(3).state_dict())
    network = bound(arena, architecture)
    for name in ("head.bias", "norm.weight", "head.weight"):
        touch(network, name)
        assert torch.equal(network.logits(IMAGES[0], None, True), network.logits(IMAGES[0]))
    assert network.trail.began == ("head" if used else None)
    assert bool(caplog.records) == (bool(code) and not used), "the reason is logged"
