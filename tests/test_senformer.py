"""SenFormer: sizes, names, what it computes, and the answers of its learners from one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, folder_data
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusionlib.architectures import resnet, upernet_plan
from fusionlib.architectures.backbones import TINY
from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.senformer import FeaturesFusion, SenFormer, SenFormerArchitecture
from fusionlib.architectures.senformer_learner import READINGS, Decoder
from fusionlib.architectures.senformer_plan import SHARING, Plan, plan_of, usual_plan
from fusionlib.architectures.senupernet import SenUperNet
from fusionlib.architectures.sized import made_by_name
from fusionlib.architectures.staged import check_stages
from fusionlib.architectures.swin import position_index
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, FUSIONS, METHODS
from fusionlib.engine.learners import answers_of, usable
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.merging.choices import GRANULARITIES
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import units
from fusionlib.studio.layers import describe

FAMILIES = ("features-fusion-", "senformer-", "senupernet-")
CLASSES = 3
MINI = Plan(
    resnet.Plan((1, 1, 1, 1), bottleneck=False, stem=4, widths=(4, 4, 8, 8)), width=8, depth=2, heads=4, window=3
)
VARIANTS = {
    "repeated": MINI,
    **{sharing: replace(MINI, sharing=sharing) for sharing in SHARING if sharing != "repeated"},
    **{kind: replace(MINI, pyramid=kind, heads=8, window=7) for kind in ("fpn", "none")},
    **{reading: replace(MINI, reading=reading) for reading in READINGS if reading != "released"},
    "literal": replace(MINI, literal=True),
    "post-norm": replace(MINI, post_norm=True),
    "two a level": replace(MINI, learners=2),
    "hierarchical": replace(MINI, fusion="hierarchical"),
    "explicit": replace(MINI, fusion="explicit"),
    "fused": replace(MINI, fused=True),
}
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = set(ARCHITECTURES.names())
    yield
    for name in set(ARCHITECTURES.names()) - before:
        del ARCHITECTURES._items[name]


def millions(plan: Plan, classes: int = 150) -> float:
    with torch.device("meta"):
        network = (FeaturesFusion if plan.fused else SenFormer)(plan, classes)
    return sum(tensor.numel() for tensor in network.parameters()) / 1e6


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def network_of_plan(plan: Plan) -> nn.Module:
    return (FeaturesFusion if plan.fused else SenFormer)(plan, CLASSES)


def lively(plan: Plan, seed: int = 0) -> nn.Module:
    """In evaluation mode, with class embeddings that are not 0 and norms that are not the identity."""
    torch.manual_seed(seed)
    network = network_of_plan(plan).eval()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim < 4:
                tensor.add_(torch.rand(tensor.shape) * 0.3)
    return network


def opened(folder: Path, network: nn.Module, name: str = "a") -> Checkpoint:
    save_file(network.state_dict(), folder / f"{name}.safetensors")
    return open_checkpoint(folder / f"{name}.safetensors")


def bound(checkpoint: Checkpoint) -> BoundNetwork:
    known = network_of(checkpoint.shapes)
    assert known is not None, unknown_network([checkpoint])
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(*known, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    return network


# --- sizes and recognition -------------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_paper_without_the_auxiliary_head() -> None:
    fifty, more = (usual_plan(resnet.PLANS[depth]) for depth in (50, 101))
    repeated, unshared = millions(fifty), millions(replace(fifty, sharing="none"))
    assert repeated == pytest.approx(55.2, abs=0.3) and millions(replace(fifty, depth=1)) == repeated
    assert unshared - repeated == pytest.approx(84.1, abs=0.1)
    assert millions(more) - repeated == pytest.approx(18.99, abs=0.005)
    auxiliary = (1024 * 512 * 9 + 2 * 512 + 512 * 150 + 150) / 1e6
    printed = {144: unshared, 79: millions(more), 68: millions(replace(fifty, sharing="decoder"))}
    assert all(round(own + auxiliary) == count for count, own in printed.items())
    assert round(millions(replace(fifty, fused=True))) == 52


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_told_by_its_tensors_alone_and_runs_in_stages(variant: str) -> None:
    plan, network = VARIANTS[variant], network_of_plan(VARIANTS[variant]).eval()
    shapes = shapes_of(network)
    assert plan_of(shapes) == plan
    known = network_of(shapes)
    assert known is not None and known[1] == CLASSES
    assert dict(known[0].shapes(CLASSES)) == shapes and not hasattr(known[0], "permutations")  # type: ignore[attr-defined]
    assert [name for name, item in ARCHITECTURES.items() if item.recognise(shapes)] == [recognise(shapes)[0]]  # type: ignore[index]
    assert network(torch.rand(1, 3, 33, 62)).shape == (1, CLASSES, 9, 16)
    check_stages(network, network.stages())  # type: ignore[operator]


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES.names() if name.startswith(FAMILIES)])
def test_listed_networks_are_recognised_with_their_classes_and_by_themselves(name: str) -> None:
    item: Any = ARCHITECTURES.get(name)
    with torch.device("meta"):
        shapes = shapes_of(item.build(6))
    assert list(item.shapes(6).items()) == list(shapes.items())
    assert [other for other, one in ARCHITECTURES.items() if one.recognise(shapes)] == [name]
    assert recognise(shapes) == (name, 6) and item.plan.name == name.removeprefix("sen" * ("upernet" in name))
    inside = [key for key in shapes if key.startswith("decode_head.") and key.endswith(".weight")]
    assert all(recognise({one: shapes[one] for one in shapes if one != key}) is None for key in inside[::9])
    assert recognise({**shapes, "auxiliary_head.conv_seg.weight": (6, 256, 1, 1)}) == (name, 6)


ASKED = (
    "sharing=none,fusion=hierarchical",
    "pyramid=fpn,width=12,learners=2",
    "pyramid=none,reading=raw",
    "sharing=cls,window=3,literal=True,post_norm=True,depth=1",
)


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_for_by_name_is_made_and_recognised_again(asked: str) -> None:
    name = made_by_name(f"senformer-tiny:{asked}", ARCHITECTURES)
    with torch.device("meta"):
        shapes = shapes_of(ARCHITECTURES.get(name).build(CLASSES))
    assert recognise(shapes) == (name, CLASSES)
    assert {*asked.split(","), *(["heads=4"] if "12" in asked else [])} == set(name.partition(":")[2].split(","))


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ("senformer-tiny:size=3", "width"),
        ("senformer-tiny:depth=0", "from 1 to"),
        ("senformer-tiny:sharing=all", "repeated"),
        ("senformer-tiny:pyramid=fpn,window=3", "one of"),
        ("senformer-tiny:pyramid=none,literal=True", "fpnt"),
        ("features-fusion-tiny:fusion=explicit", "one of"),
        ("features-fusion-tiny:sharing=cls", "repeated or none"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: str, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        made_by_name(asked, ARCHITECTURES)


def test_a_part_and_a_size_that_no_network_has_are_said(tmp_path: Path) -> None:
    network = SenFormer(MINI, CLASSES)
    del network.decode_head.learners[3].norm_embs
    assert "2 missing (decode_head.learners.3.norm_embs" in str(unknown_network([opened(tmp_path, network)]))
    odd = SenFormer(MINI, CLASSES)
    odd.decode_head.turns[0] = 1  # type: ignore[index]
    with pytest.raises(ArchitectureError, match="turns of the checkpoint"):
        bound(opened(tmp_path, odd, "odd"))


# --- what it computes ------------------------------------------------------------------------------------------------


def naive_learner(t: dict[str, Tensor], x: Tensor, queries: Tensor, depth: int, heads: int) -> Tensor:
    """One picture (d, h, w) and embeddings (C, d), number by number, as METHODS has it."""

    def norm(name: str, rows: Tensor) -> Tensor:
        rows = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return rows * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(name: str, rows: Tensor) -> Tensor:
        return rows @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        size, found = q.shape[1] // heads, torch.zeros_like(q)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(q)):
                scores = torch.stack([(q[row, part] * one).sum() / math.sqrt(size) for one in k[:, part]])
                shares = scores.exp() / scores.exp().sum()
                found[row, part] = sum(share * one for share, one in zip(shares, v[:, part], strict=True))
        return found

    tokens, cls, width = norm("norm_features", x.flatten(1).T), queries, len(x)
    for _ in range(depth):
        keys, values = linear("layers.0.cross_attn.kv", tokens).split(width, 1)
        asked = linear("layers.0.cross_attn.to_q", norm("layers.0.norm1", cls))
        cls = cls + linear("layers.0.cross_attn.proj", attended(asked, keys, values))
        three = linear("layers.0.attn.qkv", norm("layers.0.norm2", cls)).split(width, 1)
        cls = cls + linear("layers.0.attn.proj", attended(*three))
        inside = linear("layers.0.mlp.fc1", norm("layers.0.norm3", cls))
        inside = inside * 0.5 * (1 + torch.erf(inside / math.sqrt(2)))
        cls = cls + linear("layers.0.mlp.fc2", inside)
    return (norm("norm_embs", cls) @ tokens.T).unflatten(1, x.shape[1:])


def test_a_learner_is_the_naive_loop() -> None:
    torch.manual_seed(0)
    learner, x = Decoder(8, 4, 1, 2, CLASSES).double(), torch.randn(2, 8, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        for tensor in learner.parameters():
            tensor.add_(torch.rand_like(tensor) * 0.2)
        state = dict(learner.state_dict())
        expected = torch.stack([naive_learner(state, one, state["queries"][0], 2, 4) for one in x])
        assert torch.allclose(learner(x, learner.queries), expected, atol=1e-10)


def test_learners_share_what_their_kind_says() -> None:
    of = {sharing: SenFormer(replace(MINI, sharing=sharing), CLASSES).decode_head for sharing in SHARING}
    blocks = {
        sharing: [[id(one) for one in head.decoder_of(n)[0].layers] for n in range(4)]  # type: ignore[union-attr]
        for sharing, head in of.items()
    }
    assert all(ids == blocks["decoder"][0] for ids in blocks["decoder"])
    for sharing, count in {"repeated": 1, "none": 2, "cls": 2}.items():
        assert len({one for ids in blocks[sharing] for one in ids}) == 4 * count
    tables = {sharing: {id(head.decoder_of(n)[1]) for n in range(4)} for sharing, head in of.items()}
    assert {sharing: len(ids) for sharing, ids in tables.items()} == {"repeated": 4, "none": 4, "decoder": 4, "cls": 1}
    assert not any(bool(of["repeated"].decoder_of(n)[1].any()) for n in range(4))


def test_all_subsets_and_fusions_come_from_one_pass(tmp_path: Path) -> None:
    network = bound(opened(tmp_path, lively(MINI)))
    whole, calls = network.logits(PICTURES), []
    network.module.get_submodule("backbone.layer4.0").register_forward_hook(lambda *_: calls.append(1))
    answers = answers_of(network, PICTURES)
    assert answers.learners.names == ("d2", "d3", "d4", "d5") and answers.learners.strides == (4, 8, 16, 32)
    assert answers.logits.shape == (4, 2, CLASSES, 8, 16)
    assert torch.equal(answers.fused(), whole)
    assert torch.allclose(whole.softmax(1).sum(1), torch.ones(2, 32, 64))
    for name in usable(answers.learners):
        for size in range(1, 5):
            for kept in combinations(range(4), size):
                assert torch.isfinite(answers.fused(FUSIONS.get(name)(), kept)).all()
    assert len(calls) == 1
    with pytest.raises(UsageError, match="average, majority, product"):
        answers.fused(FUSIONS.get("explicit")())


@pytest.mark.parametrize("variant", ["hierarchical", "explicit", "decoder", "cls", "two a level"])
def test_what_the_network_says_is_the_fusion_of_its_learners(tmp_path: Path, variant: str) -> None:
    network = bound(opened(tmp_path, lively(VARIANTS[variant])))
    answers = answers_of(network, PICTURES)
    assert torch.equal(answers.fused(), network.logits(PICTURES))
    assert answers.learners.fusion in usable(answers.learners)
    assert [table.shape for table in answers.learners.embeddings()] == [(CLASSES, 8)] * len(answers.learners.names)
    assert len(answers.learners.names) == len(answers.logits)


def test_networks_without_learners_say_so(tmp_path: Path) -> None:
    network = bound(opened(tmp_path, lively(VARIANTS["fused"])))
    assert network.learners is None
    with pytest.raises(UsageError, match="no learners inside"):
        answers_of(network, PICTURES)
    assert not isinstance(network.architecture, SenFormerArchitecture)


def test_gradients_are_finite_and_reach_every_parameter() -> None:
    network = SenFormer(usual_plan(TINY), CLASSES).train()
    answers = network.answers(torch.rand(2, 3, 32, 64))
    (network.fused(answers)[:, 0].mean() + answers[:, :, 1].mean()).backward()
    assert all(one.grad is not None and bool(torch.isfinite(one.grad).all()) for one in network.parameters())


def test_senupernet_is_a_pyramid_of_upernet_with_learners(tmp_path: Path) -> None:
    plan = upernet_plan.Plan(MINI.backbone, 8)
    torch.manual_seed(0)
    network = SenUperNet(plan, CLASSES).eval()
    found = bound(opened(tmp_path, network))
    answers = answers_of(found, PICTURES)
    assert answers.learners.names == ("d2", "d3", "d4", "d5") and not answers.learners.embeddings()
    assert torch.equal(answers.fused(), found.logits(PICTURES))
    check_stages(network, network.stages())
    with torch.device("meta"):
        fifty = SenUperNet(upernet_plan.Plan(resnet.PLANS[50]), 150)
    assert sum(one.numel() for one in fifty.parameters()) / 1e6 == pytest.approx(64.33, abs=0.01)


# --- files of the released code --------------------------------------------------------------------------------------


def released(seed: int, width: int = 8, depth: int = 2, window: int = 3) -> dict[str, Tensor]:
    """A small network as the released code stores it, with what it never calls; names written down from it."""
    torch.manual_seed(seed)
    backbone = resnet.ResNet(replace(MINI.backbone, deep=True))  # type: ignore[type-var]
    found = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}

    def layer(name: str, *shape: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = torch.randn(*shape) * 0.2, torch.randn(shape[0]) * 0.2

    for level, channels in enumerate((4, 4, 8, 8)):
        layer(f"neck.lateral_convs.{level}.conv", width, channels, 1, 1)
        block, heads = f"neck.fpn_swins.{level}.swin_blocks.blocks.0", 4
        for norm in ("norm1", "norm2"):
            layer(f"{block}.{norm}", width)
        found[f"{block}.attn.w_msa.relative_position_bias_table"] = torch.randn((2 * window - 1) ** 2, heads)
        found[f"{block}.attn.w_msa.relative_position_index"] = position_index(window)
        layer(f"{block}.attn.w_msa.qkv", 3 * width, width)
        layer(f"{block}.attn.w_msa.proj", width, width)
        layer(f"{block}.ffn.layers.0.0", 4 * width, width)
        layer(f"{block}.ffn.layers.1", width, 4 * width)
        learner = f"decode_head.learners.{level}"
        found[f"{learner}.queries"] = torch.randn(1, CLASSES, width)
        for norm in ("norm_features", "norm_embs"):
            layer(f"{learner}.{norm}", width)
        for number in range(depth):
            block = f"{learner}.layers.{number}"
            for norm in ("norm1", "norm2", "norm3"):
                layer(f"{block}.{norm}", width)
            for name in ("attn.proj", "cross_attn.proj", "cross_attn.to_q"):
                layer(f"{block}.{name}", width, width)
            layer(f"{block}.attn.qkv", 3 * width, width)
            layer(f"{block}.cross_attn.kv", 2 * width, width)
            layer(f"{block}.mlp.fc1", 4 * width, width)
            layer(f"{block}.mlp.fc2", width, 4 * width)
    layer("decode_head.conv_seg", CLASSES, 128, 1, 1)
    layer("auxiliary_head.conv_seg", CLASSES, 16, 1, 1)
    return found


def test_released_files_open_with_every_tensor_and_are_written_under_their_names(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    for seed, path in enumerate(files):
        save_file(released(seed), path)
    checkpoint = open_checkpoint(Path(files[0]))
    name, classes = recognise(checkpoint.shapes)  # type: ignore[misc]
    assert (name.partition(":")[0], classes) == ("senformer-resnet-v1c", CLASSES) and "sharing=none" in name
    theirs, ours = released(0), bound(checkpoint).module.state_dict()
    assert len(ours) == len(theirs) - 4
    for level in range(4):
        place, block = f"neck.fpn_swins.{level}.swin_blocks.blocks.0", f"decode_head.learners.{level}.layers.1"
        assert torch.equal(ours[f"{place}.mlp.fc2.weight"], theirs[f"{place}.ffn.layers.1.weight"])
        assert torch.equal(ours[f"{block}.cross_attn.kv.bias"], theirs[f"{block}.cross_attn.kv.bias"])
    out = tmp_path / "out.safetensors"
    main(["merge", *files, "--alpha", "1", "--out", str(out), "--home", str(tmp_path / "home")])
    assert {key: tuple(one.shape) for key, one in load_file(out).items()} == {
        k: tuple(t.shape) for k, t in theirs.items()
    }


# --- merging ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    folder = tmp_path_factory.mktemp("pair")
    return [opened(folder, lively(MINI, seed), name) for seed, name in ((0, "a"), (1, "b"))]


def test_learners_are_units_of_a_profile_and_parts_stay_two(pair: list[Checkpoint]) -> None:
    arena = Arena.pack(pair, head=network_of(pair[0].shapes)[0].head)  # type: ignore[index]
    learners = [f"decode_head.learners.{number}" for number in range(4)]
    assert set(units(arena.layout, "learner")) == {"backbone", "neck", *learners}
    assert set(units(arena.layout, "part")) == {"backbone", "head"}
    described = describe(arena)
    assert described["offered"] == list(GRANULARITIES) and set(learners) < set(described["levels"]["learner"]["names"])
    profile = LayerProfile(granularity="learner", weights={learners[1]: (0.0, 1.0)}, rest=(1.0, 0.0))
    merged = arena.layout.views(profile(arena).weights[0])
    for name, tensor in merged.items():
        row = int(name.startswith(f"{learners[1]}."))
        assert torch.equal(tensor, arena.layout.view(arena.weights[row], name))


@pytest.mark.parametrize("name", [name for name in METHODS.names() if name not in ("ensemble", "samples")])
def test_two_merge_by_every_method_but_those_that_move_units(
    pair: list[Checkpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out, data = tmp_path / "out.safetensors", folder_data(tmp_path / "data")
    files = [str(one.path) for one in pair]
    command = ["merge", *files, "--method", name, "--data", f"folder:{data}", "--count", "1", "--out", str(out)]
    command += ["--home", str(tmp_path / "home")]
    if METHODS.get(name).statistics == ("permutation",):
        with pytest.raises(SystemExit):
            main(command)
        assert "permutations are not declared" in capsys.readouterr().err
        return
    main(command)
    written = list(tmp_path.glob("out*.safetensors"))
    assert written and all(torch.isfinite(bound(open_checkpoint(one)).logits(PICTURES)).all() for one in written)
