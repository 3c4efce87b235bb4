"""Batch counters of merges say where their own layer's statistics come from: a merge weighs in the next one as it was
trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, saved
from torch import Tensor, nn

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.sharing import Sharing, shared_table, unlike
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, Preprocessing
from fusionlib.engine.blend import Blend
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Worker
from fusionlib.merging.buffers import EQUAL_COUNTS, merged_integers, pooled_moments, settle
from fusionlib.merging.build import build_method
from fusionlib.merging.linear import Linear
from fusionlib.studio import write_recipe
from fusionlib.studio.export import run_recipe

COUNTER = "num_batches_tracked"
LEAVES = ("running_mean", "running_var")


class TwoParts(nn.Module):
    """A body and a head with a batch norm each."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.Conv2d(4, classes, 1), nn.BatchNorm2d(classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class TwoPartsArchitecture:
    title, citation, head, preprocessing = "Two parts", "made for these tests", ("head",), Preprocessing()

    def recognise(self, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
        last = shapes.get("head.0.weight")
        return last[0] if last and last[1:] == (4, 1, 1) else None

    def build(self, classes: int) -> nn.Module:
        return TwoParts(classes)

    def label_space(self, classes: int) -> str:
        return f"classes-{classes}"


@pytest.fixture(autouse=True)
def known_network(monkeypatch: pytest.MonkeyPatch) -> None:
    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", {**ARCHITECTURES._items, "two-parts": TwoPartsArchitecture()})


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker("counters")


def two_parts(
    seed: int, count: int | tuple[int, int], classes: int = 3, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """A state dict with lively statistics whose counters say `count` (of body and head)."""
    torch.manual_seed(seed)
    tensors, counts = TwoParts(classes).state_dict(), (count, count) if isinstance(count, int) else count
    for name, tensor in tensors.items():
        if name.endswith(COUNTER):
            tensor.fill_(counts[name.startswith("head")])
        elif "running" in name:
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def pair(
    folder: Path, a: int | tuple[int, int] = 100, b: int | tuple[int, int] = 300, **options: Any
) -> list[Checkpoint]:
    return [
        saved(folder / "a.safetensors", two_parts(1, a, **options)),
        saved(folder / "b.safetensors", two_parts(2, b, **options)),
    ]


def counters(tensors: Checkpoint | Mapping[str, Tensor]) -> tuple[int, ...]:
    read = tensors.read if isinstance(tensors, Checkpoint) else tensors.__getitem__
    return tuple(int(read(f"{part}.1.{COUNTER}")) for part in ("body", "head"))


def exported(
    folder: Path,
    checkpoints: list[Checkpoint],
    method: str,
    policy: str,
    worker: Worker,
    parameters: Mapping[str, Any] | None = None,
    sharing: Sharing | None = None,
    name: str = "m",
) -> Checkpoint:
    recipe = write_recipe(checkpoints, method, dict(parameters or {}), policy, sharing=sharing)
    return open_checkpoint(
        run_recipe(recipe, checkpoints, folder / f"{name}.safetensors", worker=worker, device=CPU).path
    )


def previewed(
    checkpoints: list[Checkpoint], method: str, policy: str, parameters: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The state dict of the network that a live view runs."""
    arena = Arena.pack(checkpoints, head=("head",))
    network = BoundNetwork(TwoPartsArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
    Blend(arena, network, policy).set(build_method(method, parameters), lambda call: call())
    return network.module.state_dict()


EXAMPLES = [
    ("head_swap", "average", {}, (100, 300)),
    ("head_swap", "gaussian", {}, (100, 300)),
    ("backbone", "gaussian", {}, (400, 100)),
    ("backbone", "gaussian", {"anchor": 1}, (400, 300)),
    ("profile", "gaussian", {"weights": {"head": [1, 0]}}, (400, 100)),
    ("profile", "average", {"weights": {"head": [0, 1]}, "anchor": 0}, (100, 300)),
    ("profile", "average", {"weights": {"head": [1, 0]}, "anchor": 1}, (300, 100)),
    ("profile", "anchor", {"weights": {"head": [0, 1]}, "anchor": 0}, (100, 100)),
    ("layerwise", "gaussian", {"anchor": 1, "exclude": "head.*"}, (400, 300)),
    ("layerwise", "average", {"anchor": 1}, (300, 300)),
    ("linear", "average", {"alpha": 0.25}, (300, 300)),
    ("linear", "average", {"alpha": 0.75}, (100, 100)),
    ("linear", "gaussian", {"alpha": 0.75}, (400, 400)),
    ("linear", "anchor", {"alpha": 0.25}, (100, 100)),
    ("linear", "anchor", {"alpha": 0.0}, (100, 100)),
    ("linear", "gaussian", {"alpha": 0.0}, (300, 300)),
    ("slerp", "average", {"alpha": 0.25}, (300, 300)),
    ("task_arithmetic", "average", {"base": 1}, (100, 100)),
    ("task_arithmetic", "anchor", {"base": 1}, (300, 300)),
]


@pytest.mark.parametrize(("method", "policy", "parameters", "expected"), EXAMPLES)
def test_a_counter_says_where_its_layers_statistics_come_from(
    tmp_path, worker, method, policy, parameters, expected
) -> None:
    checkpoints = pair(tmp_path)
    file = exported(tmp_path, checkpoints, method, policy, worker, parameters)
    assert counters(file) == expected
    live = previewed(checkpoints, method, policy, parameters)
    assert set(live) == set(file.tensors) and all(torch.equal(live[name], file.read(name)) for name in live)


@pytest.mark.parametrize("policy", ["average", "gaussian", "anchor"])
@pytest.mark.parametrize("method", ["isotropic", "linear", "layerwise", "backbone"])
def test_a_head_that_only_the_anchor_has_keeps_its_counter(
    tmp_path: Path, worker: Worker, method: str, policy: str
) -> None:
    body = {name: tensor for name, tensor in two_parts(2, 300).items() if name.startswith("body")}
    for number, other in enumerate(
        (body, two_parts(2, 300, classes=5))
    ):  # without a head, and with one of other shapes
        folder = tmp_path / str(number)
        folder.mkdir()
        checkpoints = [saved(folder / "a.safetensors", two_parts(1, 100)), saved(folder / "b.safetensors", other)]
        assert shared_table(checkpoints).reasons[f"head.1.{COUNTER}"] == ("missing", "shape")[number]
        file = exported(folder, checkpoints, method, policy, worker, sharing=unlike(checkpoints))
        assert counters(file)[1] == 100
        assert counters(file)[0] in {"gaussian": (400,), "anchor": (100,), "average": (100, 300)}[policy]
        assert all(
            torch.equal(file.read(name), checkpoints[0].read(name))
            for name in file.tensors
            if name.startswith("head.1")
        )


def test_the_same_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    pair(tmp_path), saved(tmp_path / "wide.safetensors", two_parts(2, 300, classes=5))
    for line, expected in (
        ("--method head_swap a.safetensors b.safetensors", (100, 300)),
        ("a.safetensors b.safetensors --method profile --buffers gaussian --set weights={head:[1,0]}", (400, 100)),
        ("--method isotropic --shared --buffers gaussian --checkpoints a.safetensors wide.safetensors", (400, 100)),
        ("a.safetensors b.safetensors --alpha 0.25 --buffers gaussian", (400, 400)),
    ):
        main(["merge", *line.split(), "--out", "m.safetensors", "--json"])
        assert counters(open_checkpoint("m.safetensors")) == expected, line


def test_a_tie_without_an_anchor_goes_to_the_first_by_fingerprint(tmp_path: Path, worker: Worker) -> None:
    checkpoints = pair(tmp_path)
    first = min(checkpoints, key=lambda item: item.fingerprint)
    for order in (checkpoints, checkpoints[::-1]):
        for method, parameters in (("linear", {"alpha": 0.5}), ("isotropic", {}), ("slerp", {"alpha": 0.5})):
            assert counters(exported(tmp_path, order, method, "average", worker, parameters)) == counters(first)
    arena = Arena.pack(checkpoints)
    assert int(merged_integers("average", arena, build_method("profile", {"anchor": 1}))[f"body.1.{COUNTER}"]) == 300


def test_a_base_that_takes_no_part_wins_no_tie(tmp_path: Path) -> None:
    arena = Arena.pack([*pair(tmp_path), saved(tmp_path / "c.safetensors", two_parts(3, 500))])
    tasks = min((1, 2), key=lambda number: arena.fingerprints[number])
    integers = merged_integers("average", arena, build_method("task_arithmetic", {"base": 0}))
    assert counters(integers) == counters(arena.integers[tasks])


# --- zero and missing counters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["linear", "profile"])
def test_a_zero_counter_makes_its_own_layer_weigh_equally_and_no_other(
    tmp_path: Path, worker: Worker, method: str
) -> None:
    checkpoints = pair(tmp_path, (100, 0), (300, 300))
    file = exported(tmp_path, checkpoints, method, "gaussian", worker)
    for part, shares in (("body", (100, 300)), ("head", (1, 1))):
        means, variances = (torch.stack([item.read(f"{part}.1.{leaf}") for item in checkpoints]) for leaf in LEAVES)
        expected = pooled_moments(means, variances, torch.tensor(shares).unsqueeze(1).expand_as(means))
        for leaf, value in zip(LEAVES, expected, strict=True):
            assert torch.allclose(file.read(f"{part}.1.{leaf}").double(), value, atol=1e-7)
    assert counters(file) == (400, 300)
    arena = Arena.pack(checkpoints)
    notes = settle("gaussian", arena, build_method(method, {}), arena.weights[0].clone())
    assert notes == (f"{EQUAL_COUNTS} in one of 2 layers (head.1): its Gaussians are pooled with equal counts",)


def test_the_note_names_the_first_layers_and_counts_the_others(tmp_path: Path) -> None:
    tables = [{f"n{number}.{leaf}": torch.ones(1) for number in range(5) for leaf in LEAVES} for _ in range(2)]
    arena = Arena.pack([saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)])
    notes = settle("gaussian", arena, Linear(), arena.weights[0].clone())
    assert notes == (
        f"{EQUAL_COUNTS} in 5 of 5 layers (n0, n1, n2 and 2 more): their Gaussians are pooled with equal counts",
    )


def test_a_zero_counter_without_weight_in_its_layer_does_not_matter(tmp_path: Path) -> None:
    arena = Arena.pack(pair(tmp_path, (100, 0), (300, 300)), head=("head",))
    out = arena.weights[0].clone()
    assert settle("gaussian", arena, build_method("profile", {"weights": {"head": [0, 1]}}), out) == ()
    assert settle("gaussian", arena, build_method("profile", {"weights": {"head": [1, 0]}}), out) == ()
    assert torch.equal(
        arena.layout.view(out, "head.1.running_var"), arena.layout.view(arena.weights[0], "head.1.running_var")
    )


def test_a_counter_that_only_one_of_two_shared_layers_has_counts_alone(tmp_path: Path, worker: Worker) -> None:
    other = {name: tensor for name, tensor in two_parts(2, 300).items() if name != f"body.1.{COUNTER}"}
    checkpoints = [saved(tmp_path / "a.safetensors", two_parts(1, 100)), saved(tmp_path / "b.safetensors", other)]
    file = exported(tmp_path, checkpoints, "isotropic", "gaussian", worker, sharing=unlike(checkpoints))
    assert counters(file) == (100, 400)
    mean = (checkpoints[0].read("body.1.running_mean") + checkpoints[1].read("body.1.running_mean")) / 2
    assert torch.allclose(file.read("body.1.running_mean"), mean)


# --- a merge merged again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("profile", {"weights": {"head": [1, 0]}}),
        ("profile", {"weights": {"body": [0, 1]}}),
        ("backbone", {"anchor": 1}),
        ("head_swap", {}),
        ("layerwise", {}),
        ("linear", {"alpha": 0.1}),
    ],
)
def test_a_merge_of_a_merge_weighs_as_it_was_trained(
    tmp_path: Path, worker: Worker, method: str, parameters: dict
) -> None:
    checkpoints = pair(tmp_path, (100, 50), (300, 700), dtype=torch.float64)
    third = saved(tmp_path / "c.safetensors", two_parts(3, (40, 90), dtype=torch.float64))
    merge = exported(tmp_path, checkpoints, method, "gaussian", worker, parameters)
    folded = exported(tmp_path, [merge, third], "isotropic", "gaussian", worker, name="folded")
    arena, item = Arena.pack(checkpoints, head=("head",)), build_method(method, parameters)
    table = item.tensor_shares(arena) if item.tensorwise else dict.fromkeys(arena.layout.by_name, item.shares(2))
    for part in ("body", "head"):
        there = [one for one, share in zip(checkpoints, table[f"{part}.1.running_mean"], strict=True) if share]
        means, variances, counts = (
            torch.stack([one.read(f"{part}.1.{leaf}") for one in (*there, third)]) for leaf in (*LEAVES, COUNTER)
        )
        at_once = pooled_moments(means, variances, counts.unsqueeze(1).expand_as(means))
        for leaf, value in zip(LEAVES, at_once, strict=True):
            assert torch.allclose(folded.read(f"{part}.1.{leaf}"), value, rtol=1e-12, atol=1e-14)
        assert int(folded.read(f"{part}.1.{COUNTER}")) == int(counts.sum())


@pytest.mark.parametrize("policy", ["average", "gaussian", "anchor"])
def test_a_network_alone_has_its_own_counters(tmp_path: Path, policy: str) -> None:
    checkpoints = pair(tmp_path)
    arena = Arena.pack(checkpoints)
    network = BoundNetwork(TwoPartsArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
    blend = Blend(arena, network, policy)
    for number in (1, 0):
        blend.set_alone(number, lambda call: call())
        assert counters(network.module.state_dict()) == counters(checkpoints[number])
        blend.set(Linear(0.5), lambda call: call())
