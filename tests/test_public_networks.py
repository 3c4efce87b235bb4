"""Networks of public code: names, sizes, strides, what they compute, and that each file is taken by one alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import public_names as names
import pytest
import torch
from helpers import CPU, arena_of
from model_files import NET
from public_forward import FORWARDS
from safetensors.torch import save_file
from torch import Tensor, nn

from fusionlib.architectures.nearest import explain
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.resnet import ResNet
from fusionlib.architectures.staged import check_stages
from fusionlib.architectures.user import refresh_user_models, register_user_models
from fusionlib.architectures.wiring import wired_permutations
from fusionlib.checkpoints.permuting import checked, permuted
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, Description, TensorShapes
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, UsageError

PUBLIC: dict[str, Callable[[int], names.Shapes]] = {
    **{f"unet-resnet{depth}": lambda n, d=depth: names.unet(d, n) for depth in (18, 34, 50, 101)},
    **{f"deeplabv3plus-resnet{depth}": lambda n, d=depth: names.deeplabv3plus(d, n) for depth in (50, 101)},
    **{f"deeplabv3plus-resnet{depth}-os8": lambda n, d=depth: names.deeplabv3plus(d, n) for depth in (50, 101)},
    **dict.fromkeys(
        ("deeplabv3plus-multigrid-resnet101", "deeplabv3plus-multigrid-resnet101-os8"),
        lambda n: names.deeplabv3plus_multigrid(101, n),
    ),
    **{f"deeplabv3plus-smp-resnet{depth}": lambda n, d=depth: names.deeplabv3plus_smp(d, n) for depth in names.BLOCKS},
    **{f"deeplabv3-resnet{depth}": lambda n, d=depth: names.deeplabv3(d, n) for depth in (50, 101)},
    **{f"fcn-resnet{depth}": lambda n, d=depth: names.fcn(d, n) for depth in (50, 101)},
    **{f"hrnet-w{width}": lambda n, w=width: names.hrnet(w, n) for width in (18, 48)},
}

AUXILIARY = 2_365_205
"""Parameters of torchvision's auxiliary head of 21 classes, which its counts include."""

PARAMETERS = {
    ("unet-resnet18", 1): 14_328_209,
    ("unet-resnet34", 1): 24_436_369,
    ("unet-resnet50", 1): 32_521_105,
    ("deeplabv3plus-smp-resnet34", 1): 22_437_457,
    ("deeplabv3plus-smp-resnet50", 21): 26_682_725,
    ("deeplabv3plus-multigrid-resnet101", 21): 59_344_309,
    ("deeplabv3-resnet50", 21): 42_004_074 - AUXILIARY,
    ("deeplabv3-resnet101", 21): 60_996_202 - AUXILIARY,
    ("fcn-resnet50", 21): 35_322_218 - AUXILIARY,
    ("fcn-resnet101", 21): 54_314_346 - AUXILIARY,
    ("hrnet-w48", 19): 65_859_379,
}
"""As the public code counts them."""

SMALLEST = (
    "unet-resnet18",
    "deeplabv3plus-resnet50",
    "deeplabv3plus-resnet50-os8",
    "deeplabv3plus-multigrid-resnet101",
    "deeplabv3plus-multigrid-resnet101-os8",
    "deeplabv3plus-smp-resnet18",
    "deeplabv3-resnet50",
    "fcn-resnet50",
    "hrnet-w18",
)
STAGED = (
    "unet-resnet18",
    "deeplabv3plus-resnet50",
    "deeplabv3plus-multigrid-resnet101",
    "deeplabv3plus-smp-resnet18",
    "deeplabv3-resnet50",
    "hrnet-w18",
)
PER_LOGIT = {"deeplabv3": 8, "fcn": 8, "hrnet": 4, "deeplabv3plus": 4}
"""Pixels of the picture a side of a logit; 1 where the public code brings them to its size."""

ON_REQUEST = [name for name in PUBLIC if name.endswith("-os8")]
BY_THEMSELVES = [name for name in ARCHITECTURES.names() if name not in ON_REQUEST]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kind(name: str) -> str:
    return max((one for one in FORWARDS if name.startswith(one)), key=len)


def meta(name: str, classes: int) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES.get(name).build(classes)


def shapes(name: str, classes: int) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in meta(name, classes).state_dict().items()}


def lively(name: str, classes: int, seed: int) -> dict[str, Tensor]:
    """Tensors of a network under the public names: activations neither vanish nor grow, and no norm is the identity."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for key, shape in PUBLIC[name](classes).items():
        if key.endswith("num_batches_tracked"):
            found[key] = torch.tensor(seed)
        elif len(shape) == 4:
            found[key] = torch.randn(shape, generator=generator) * (2 / prod(shape[1:])) ** 0.5
        elif key.endswith(("running_var", "weight")):
            found[key] = torch.rand(shape, generator=generator) * 0.5 + 0.5
        else:
            found[key] = torch.randn(shape, generator=generator) * 0.1
    return found


def loaded(name: str, classes: int = 3, seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    network, tensors = ARCHITECTURES.get(name).build(classes).eval(), lively(name, classes, seed)
    network.load_state_dict(tensors, strict=True)
    return network, tensors


# --- names and sizes --------------------------------------------------------------------------------------------------


def test_every_built_in_network_is_held_against_its_public_names() -> None:
    families = ("features-fusion-", "segformer-", "segmenter-", "senformer-", "senupernet-", "upernet-")
    elsewhere = {name for name in ARCHITECTURES.names() if name.startswith(families)}
    assert {*PUBLIC, "enet"} == set(ARCHITECTURES.names()) - elsewhere


@pytest.mark.parametrize("name", PUBLIC)
def test_tensors_have_the_public_names_and_shapes(name: str) -> None:
    assert shapes(name, 5) == PUBLIC[name](5)
    assert ARCHITECTURES.get(name).shapes(7) == PUBLIC[name](7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "classes"), PARAMETERS)
def test_parameters_are_as_many_as_the_public_code_counts(name: str, classes: int) -> None:
    assert sum(tensor.numel() for tensor in meta(name, classes).parameters()) == PARAMETERS[name, classes]


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("depth", [18, 50])
def test_a_backbone_has_the_output_stride_that_it_is_asked_for(depth: int, stride: int) -> None:
    with torch.device("meta"):
        found = ResNet(depth, stride)(torch.zeros(1, 3, 64, 96))
    assert [64 // one.shape[2] for one in found] == [2, 4, 8, min(16, stride), stride]
    assert [one.shape[1] for one in found] == list(ResNet(depth, stride).widths) if depth == 18 else True


@pytest.mark.parametrize("name", SMALLEST)
def test_the_declared_stride_is_the_backbones_and_logits_are_at_their_size(name: str) -> None:
    item, network = ARCHITECTURES.get(name), meta(name, 4).eval()
    states: list[Any] = [torch.zeros(1, 3, 64, 96, device="meta")]
    stages = item.stages(network)  # type: ignore[attr-defined]
    for stage in stages:
        states.append(stage.call(states[-1]))
    before = next(state for stage, state in zip(stages, states, strict=False) if stage.name.startswith(item.head))
    last = before[0 if name.startswith("hrnet") else -1]  # of four resolutions the finest
    assert 64 // last.shape[2] == item.stride  # type: ignore[attr-defined]
    per = PER_LOGIT.get(kind(name), 1)
    assert states[-1].shape == (1, 4, 64 // per, 96 // per)


# --- recognising ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 19])
@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_a_file_is_recognised_by_its_own_network_alone(name: str, classes: int) -> None:
    own = shapes(name, classes)
    assert recognise(own) == (name, classes)
    taken_by = [other for other in BY_THEMSELVES if ARCHITECTURES.get(other).recognise(own) is not None]
    assert taken_by == [name]
    assert recognise({key: shape for key, shape in own.items() if "batches" not in key}) == (name, classes)
    assert recognise({**own, "criterion.weight": (classes,), "mean": (3,)}) == (name, classes)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_file_that_lacks_a_tensor_or_has_another_shape_is_not_recognised(name: str) -> None:
    own = shapes(name, 4)
    keys = [key for key in own if "batches" not in key]
    for key in keys[:: len(keys) // 7]:
        assert recognise({other: shape for other, shape in own.items() if other != key}) is None
        assert recognise({**own, key: (*own[key], 1)}) is None


def test_an_auxiliary_head_of_torchvision_lies_beside_and_further_layers_do_not() -> None:
    own = names.deeplabv3(50, 21)
    assert recognise({**own, **names.fcn_head("aux_classifier", 1024, 21)}) == ("deeplabv3-resnet50", 21)
    assert recognise({**own, "backbone.layer4.3.conv1.weight": (512, 2048, 1, 1)}) is None
    assert recognise({**own, "backbone.total_ops": (1,)}) == ("deeplabv3-resnet50", 21), "what profilers leave behind"


@pytest.mark.parametrize("name", ON_REQUEST)
def test_another_output_stride_is_recognised_where_the_operator_names_it(name: str) -> None:
    own, usual = shapes(name, 19), name.removesuffix("-os8")
    try:
        assert register_user_models([name]) == () and recognise(own) == (name, 19)
        assert not refresh_user_models([name])
        chosen = network_of(own)
    finally:
        register_user_models([])
    assert recognise(own) == (usual, 19)
    other = network_of(own)
    assert chosen and other and architecture_key(*chosen) != architecture_key(*other)
    with pytest.raises(UsageError, match=name):
        register_user_models(["enet"])


SMP = {"_model_class": "DeepLabV3Plus", "encoder_name": "resnet18", "encoder_output_stride": 16, "upsampling": 4}


def described(changed: dict[str, Any]) -> TensorShapes:
    config = SMP | changed
    own = names.unet if config["_model_class"] == "Unet" else names.deeplabv3plus_smp
    return TensorShapes(own(18, 3), Description(config))


def test_a_config_of_smp_says_what_no_tensor_does() -> None:
    assert recognise(described({})) == ("deeplabv3plus-smp-resnet18", 3)
    assert recognise(described({"_model_class": "Unet"})) == ("unet-resnet18", 3)
    found = network_of(described({"encoder_output_stride": 8, "decoder_atrous_rates": [6, 12, 18]}))
    assert found and found[0].preprocessing.pad == 8 and architecture_key(*found)
    with torch.device("meta"):
        network = found[0].build(3).eval()
        states: list[Any] = [torch.zeros(1, 3, 64, 96)]
        for stage in found[0].stages(network):  # type: ignore[attr-defined]
            states.append(stage.call(states[-1]))
    assert [branch[0][0].dilation[0] for branch in list(network.decoder.aspp[0].convs)[1:4]] == [6, 12, 18]
    assert states[-4][1].shape[2:] == (8, 12) and states[-1].shape == (1, 3, 64, 96)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"activation": "softmax2d"}, "activation 'softmax2d'"),
        ({"encoder_name": "resnext50_32x4d"}, "encoder_name 'resnext50_32x4d'"),
        ({"encoder_output_stride": 32}, "encoder_output_stride 32"),
        ({"encoder_output_stride": [16]}, "encoder_output_stride"),
        ({"decoder_atrous_rates": [6, 12]}, "decoder_atrous_rates"),
        ({"_model_class": "Unet", "decoder_interpolation": "bilinear"}, "decoder_interpolation 'bilinear'"),
        ({"_model_class": "FPN"}, ""),
    ],
)
def test_what_a_config_of_smp_asks_for_is_not_passed_over(changed: dict[str, Any], said: str) -> None:
    shapes = described(changed)
    assert recognise(shapes) is None
    assert said in explain(shapes).what


# --- what they compute ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALLEST)
def test_logits_are_those_of_a_plain_forward_pass(name: str) -> None:
    network, tensors = loaded(name)
    item: Any = ARCHITECTURES.get(name)
    sides = (65, 57) if item.preprocessing.pad == 1 else (64, 32)
    picture = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = network(picture)
        expected = FORWARDS[kind(name)](tensors, picture, item.stride)
    spread = float(logits.std())
    assert spread > 0.01 and torch.allclose(logits, expected, rtol=1e-4, atol=1e-5 * max(1, spread))


@pytest.mark.parametrize("name", STAGED)
def test_stages_read_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionlib.architectures.staged.SIDES", (64, 64))
    network, _ = loaded(name)
    check_stages(network, ARCHITECTURES.get(name).stages(network))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in STAGED if "multigrid" not in name])
def test_units_in_another_order_change_no_logit(tmp_path: Path, name: str) -> None:
    arena = arena_of(tmp_path, lively(name, 3, 0))
    item = ARCHITECTURES.get(name)
    permutations = checked(arena, item.permutations)  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(1)
    orders = [torch.randperm(one.size, generator=generator) for one in permutations]
    row = permuted(arena.layout, permutations, orders, arena.weights[0])
    before, after = arena.layout.views(arena.weights[0]), arena.layout.views(row)
    assert all(not torch.equal(one, after[key]) for key, one in before.items() if one.shape[0] > 3)
    found = []
    for flat in (arena.weights[0], row):
        network = item.build(3).eval()
        network.load_state_dict({**arena.layout.views(flat), **arena.integers[0]})
        with torch.inference_mode():
            found.append(network.double()(torch.ones(1, 3, 64, 64).double().cumsum(3) / 64))
    assert torch.allclose(*found, rtol=1e-9, atol=1e-11)


def test_a_step_that_mixes_channels_is_no_ground_for_permutations() -> None:
    with pytest.raises(ArchitectureError, match="Conv2d 0"):
        wired_permutations(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)))
    with pytest.raises(ArchitectureError, match="PixelShuffle"):
        wired_permutations(nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1)))


# --- lists ------------------------------------------------------------------------------------------------------------


def test_architectures_are_listed_with_their_sizes(
    tmp_path: Path, architectures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"{NET}def make(classes):\n    assert classes < 30\n    return Net(classes)\n")
    own = ["--model", f"{tmp_path}/mine.py:make"]
    main(["architectures", "--classes", "21", "--json", *own])
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["architectures"]}
    assert set(listed) == {*ARCHITECTURES.names()} > {*PUBLIC, "enet", "mine:make"}
    for (name, classes), count in PARAMETERS.items():
        assert listed[name]["parameters"] == count if classes == 21 else listed[name]["parameters"] > count
    assert listed["mine:make"]["parameters"] == 6 * 27 + 6 + 12 + 6 * 21 + 21 and listed["mine:make"]["stride"] is None
    assert {name for name, one in listed.items() if f"--model {name}" in one["recognises"]} == {*ON_REQUEST}
    assert all(one["title"] and one["citation"] and one["recognises"] for one in listed.values())
    main(["architectures", "--classes", "40", *own])
    assert "mine:make: unknown parameters" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["architectures", "--classes", "0"])
    assert "1 to 255" in capsys.readouterr().err


# --- through the library ----------------------------------------------------------------------------------------------


def test_a_drag_goes_on_at_the_changed_stage(tmp_path: Path) -> None:
    arena = arena_of(tmp_path, lively("hrnet-w18", 3, 0))
    network = BoundNetwork(ARCHITECTURES.get("hrnet-w18"), 3, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    images = torch.randint(0, 256, (1, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    network.logits(images, resume=True)
    network.layout.view(network.flat, "stage4.2.branches.3.3.conv2.weight").mul_(0.5)
    resumed = network.logits(images, resume=True)
    assert network.trail.began == "stage4.2"
    assert torch.equal(resumed, network.logits(images))


@pytest.mark.parametrize("name", ["unet-resnet18"])
def test_two_files_are_inspected_merged_and_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    for seed, file in enumerate(("a", "b")):
        save_file(lively(name, 19, seed), tmp_path / f"{file}.safetensors")
    files = [str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]
    main(["inspect", *files, "--json"])
    assert [one["architecture"] for one in json.loads(capsys.readouterr().out)["checkpoints"]] == [name] * 2
    merged = str(tmp_path / "merged.safetensors")
    main(["merge", *files, "--alpha", "0.5", "--out", merged, "--json"])
    capsys.readouterr()
    main(["evaluate", merged, "--data", "streets:all:1@val", "--json"])
    assert 0 <= json.loads(capsys.readouterr().out)["miou"] <= 1
