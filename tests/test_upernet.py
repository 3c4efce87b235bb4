"""UperNet and Swin: sizes, names of three codes, what they compute, files that are put together and written again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import upernet_public as public
from helpers import CPU
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusionlib.architectures import resnet, swin
from fusionlib.architectures.nearest import explain, unknown_network
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.staged import check_stages
from fusionlib.architectures.upernet import UperNet, UperNetArchitecture
from fusionlib.architectures.upernet_plan import Plan
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.permuting import checked, permuted
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, SPELLINGS
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import ArchitectureError
from fusionlib.merging.linear import Linear

SIZES = public.SMALL
SWIN = Plan(swin.Plan(SIZES.width, SIZES.depths, SIZES.heads, SIZES.window), SIZES.decoder)
RESNET = Plan(resnet.Plan((1, 2, 1, 1), deep=True, stem=8, widths=(4, 8, 8, 16)), 8)
NAME = "upernet-swin:width=8,depths=2-2-3-1,heads=1-2-2-4,window=3,channels=8"

PARAMETERS = {
    "resnet50": 66.50,
    "resnet101": 85.49,
    "resnet50-v1c": 66.52,
    "resnet101-v1c": 85.51,
    "swin-t": 59.94,
    "swin-s": 81.26,
    "swin-b": 121.28,
    "swin-b-w12": 121.42,
    "swin-l": 233.76,
    "swin-l-w12": 233.96,
}
"""Millions with 150 classes and the auxiliary head: publications print 67, 86, 60, 81, 121 and 234."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    before = set(ARCHITECTURES.names())
    yield
    for name in set(ARCHITECTURES.names()) - before:
        del ARCHITECTURES._items[name]


def shapes_of(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def meta(name: str, classes: int) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES.get(name).build(classes)


def without_auxiliary(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("auxiliary_head")}


def opened(folder: Path, tensors: dict[str, Tensor], name: str = "a") -> Checkpoint:
    save_file(tensors, folder / f"{name}.safetensors")
    return open_checkpoint(folder / f"{name}.safetensors")


def bound(checkpoint: Checkpoint) -> BoundNetwork:
    known = network_of(checkpoint.shapes)
    assert known is not None, unknown_network([checkpoint])
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(*known, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    return network


def noise(*sides: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, *sides, generator=torch.Generator().manual_seed(1))


def lively(network: nn.Module) -> nn.Module:
    """In evaluation mode, with norms that are not the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim < 4:
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.3)
    return network.eval()


# --- sizes and recognition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_publications_with_the_auxiliary_head(name: str) -> None:
    network = meta(f"upernet-{name}", 150)
    third = network.get_submodule("decode_head.lateral_convs.2.conv").in_channels
    auxiliary = third * 256 * 9 + 2 * 256 + 256 * 150 + 150
    own = sum(tensor.numel() for tensor in network.parameters())
    assert round((own + auxiliary) / 1e6, 2) == PARAMETERS[name]


@pytest.mark.parametrize("name", [f"upernet-{name}" for name in PARAMETERS])
def test_shapes_are_those_of_the_network_in_its_order_and_tell_it_from_all_others(name: str) -> None:
    own = shapes_of(meta(name, 6).state_dict())
    item: Any = ARCHITECTURES.get(name)
    assert list(item.shapes(6).items()) == list(own.items())
    for shapes in (own, {**own, "auxiliary_head.conv_seg.weight": (6, 256, 1, 1)}):
        taken_by = {other: one.recognise(shapes) for other, one in ARCHITECTURES.items()}
        assert {other: count for other, count in taken_by.items() if count is not None} == {name: 6}
    names = [key for key in own if "batches" not in key and "index" not in key]
    assert all(
        item.recognise({one: own[one] for one in own if one != key}) is None for key in names[:: len(names) // 5]
    )
    assert item.head == ("decode_head", "auxiliary_head") and item.stride == 32


def test_output_strides_are_4_to_32_and_the_staged_pass_is_the_whole() -> None:
    for plan in (SWIN, RESNET, replace(RESNET, backbone=replace(RESNET.backbone, deep=False, bottleneck=False))):
        network = UperNet(plan, 5).eval()
        states: list[Any] = [torch.rand(1, 3, 70, 98)]
        for stage in network.stages():
            states.append(stage.call(states[-1]))
        (maps,) = (s for s, stage in zip(states, network.stages(), strict=False) if stage.name.endswith("psp_modules"))
        assert [one.shape[2:] for one in maps] == [(18, 25), (9, 13), (5, 7), (3, 4)]
        assert states[-1].shape == (1, 5, 18, 25)
        check_stages(network, network.stages())
    assert ARCHITECTURES.get("upernet-swin-t").label_space(150) == "ade20k"
    assert ARCHITECTURES.get("upernet-swin-t").preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("plan", [SWIN, RESNET], ids=["swin", "resnet"])
def test_units_in_another_order_change_no_logit(tmp_path: Path, plan: Plan) -> None:
    tensors = lively(UperNet(plan, 3)).state_dict()
    checkpoint = opened(tmp_path, tensors)
    arena, network = Arena.pack([checkpoint]), bound(checkpoint)
    permutations = checked(arena, network.architecture.permutations)  # type: ignore[attr-defined]
    assert len({one.name for one in permutations}) == len(permutations)
    orders = [torch.arange(one.size).flip(0) for one in permutations]
    row = permuted(arena.layout, permutations, orders, arena.weights[0])
    stays = {name for name, one in arena.layout.views(row).items() if torch.equal(one, tensors[name])}
    assert all("bias_table" in name or name.startswith("decode_head.conv_seg.bias") for name in stays)
    network.module.double()
    with torch.inference_mode():
        before = network.module(noise(50, 71).double())
        network.module.load_state_dict({**network.module.state_dict(), **arena.layout.views(row)})
        torch.testing.assert_close(network.module(noise(50, 71).double()), before, rtol=1e-8, atol=1e-9)
    assert before.std() > 1e-3


def test_logits_of_the_release_are_those_of_a_plain_pass() -> None:
    tensors = public.release(SIZES, 4)
    network = UperNet(SWIN, 4).eval()
    network.load_state_dict(without_auxiliary(tensors), strict=True)
    with torch.inference_mode():
        expected = public.decoded(tensors, public.swin(tensors, SIZES, noise(50, 71, count=2)))
        torch.testing.assert_close(network(noise(50, 71, count=2)), expected, rtol=1e-4, atol=1e-5)


# --- names of other code ---------------------------------------------------------------------------------------------


def test_a_file_of_mmsegmentation_computes_what_that_code_does(tmp_path: Path) -> None:
    tensors = public.mmseg(SIZES, 4)
    checkpoint = opened(tmp_path, tensors)
    assert recognise(checkpoint.shapes) == (NAME, 4)
    picture, named = noise(50, 71, count=2), public.release(SIZES, 4)
    with torch.inference_mode():
        expected = public.decoded(named, public.swin(named, SIZES, picture, unfolds=True))
        torch.testing.assert_close(bound(checkpoint).module(picture), expected, rtol=1e-4, atol=1e-5)
        other = public.decoded(named, public.swin(named, SIZES, picture))
    assert (other - expected).abs().max() > 0.01, "the order of the pixels matters"


def test_a_file_of_hugging_face_computes_what_the_release_does_with_and_without_indices(tmp_path: Path) -> None:
    tensors = public.release(SIZES, 4)
    with torch.inference_mode():
        expected = bound(opened(tmp_path, tensors, "release")).module(noise(50, 71))
        for indices in (True, False):
            checkpoint = opened(tmp_path, public.files(tensors, indices), f"{indices}")
            assert recognise(checkpoint.shapes) == (NAME, 4)
            assert torch.equal(bound(checkpoint).module(noise(50, 71)), expected)
            assert set(checkpoint.tensors) == set(tensors)
            for name in ("qkv.weight", "qkv.bias", "relative_position_index", "relative_position_bias_table"):
                name = f"backbone.layers.2.blocks.1.attn.{name}"
                assert torch.equal(checkpoint.read(name), tensors[name])
        bare = {name: tensor for name, tensor in tensors.items() if "index" not in name}
        assert torch.equal(bound(opened(tmp_path, bare, "bare")).module(noise(50, 71)), expected)


def test_pieces_of_tensors_that_were_put_together_or_turned_are_their_numbers(tmp_path: Path) -> None:
    torch.save(public.files(public.release(SIZES, 4)), tmp_path / "files.pth")
    torch.save(public.mmseg(SIZES, 4), tmp_path / "mmseg.pth")
    for file in ("files.pth", "mmseg.pth"):
        checkpoint = open_checkpoint(tmp_path / file)
        for name in ("backbone.layers.1.blocks.0.attn.qkv.weight", "backbone.layers.1.downsample.reduction.weight"):
            whole = checkpoint.read(name).flatten()
            for start, stop in ((0, 5), (250, 270), (500, 768), (256, 512), (7, 7)):
                assert torch.equal(checkpoint.piece(name, start, stop), whole[start:stop])
                out = torch.empty(stop - start, dtype=torch.float64)
                assert torch.equal(checkpoint.piece(name, start, stop, out), whole[start:stop].double())
    turned = public.mmseg(SIZES, 4)["backbone.stages.0.downsample.norm.weight"]
    found = checkpoint.read("backbone.layers.0.downsample.norm.weight")
    assert [int((turned == value).nonzero()) for value in found[:: SIZES.width]] == [0, 2, 1, 3]


def test_rows_of_different_dtypes_become_the_wider(tmp_path: Path) -> None:
    tensors = public.files(public.release(SIZES, 4))
    for name in tensors:
        if "self.key" in name:
            tensors[name] = tensors[name].bfloat16()
        if "self.value" in name:
            tensors[name] = tensors[name].half()
    checkpoint = opened(tmp_path, tensors)
    start = "backbone.layers.0.blocks.0.attn.qkv.weight"
    assert checkpoint.tensors[start].dtype == torch.float32
    value = tensors["backbone.encoder.layers.0.blocks.0.attention.self.value.weight"]
    assert torch.equal(checkpoint.read(start)[16:], value.float())


@pytest.mark.parametrize("method", ["linear", "slerp"])
@pytest.mark.parametrize("kind", ["mmseg", "files", "bare"])
def test_a_merge_is_written_under_the_names_of_its_files(tmp_path: Path, kind: str, method: str) -> None:
    def make(seed: int) -> dict[str, Tensor]:
        if kind == "mmseg":
            return public.mmseg(SIZES, 4, seed)
        return public.files(public.release(SIZES, 4, seed), indices=kind == "files")

    a, b, out = make(0), make(1), tmp_path / "m.safetensors"
    save_file(a, tmp_path / "a.safetensors")
    torch.save(b, tmp_path / "b.pth")
    files = [str(tmp_path / "a.safetensors"), str(tmp_path / "b.pth")]
    main(["merge", "--checkpoints", *files, "--method", method, "--set", "alpha=0.25", "--out", str(out)])
    merged = load_file(out)
    assert shapes_of(merged) == shapes_of(a)
    for name, tensor in merged.items():
        if not tensor.is_floating_point():
            assert torch.equal(tensor, a[name]), "neither positions nor counters are averaged"
        elif method == "linear" and "running" not in name:
            torch.testing.assert_close(tensor, 0.25 * a[name] + 0.75 * b[name])
    again = open_checkpoint(out)
    assert recognise(again.shapes) == (NAME, 4)
    assert again.read("auxiliary_head.conv_seg.bias").shape == (4,)


def test_a_merge_from_file_to_file_has_the_bytes_of_one_in_memory(tmp_path: Path) -> None:
    pair = [str(tmp_path / f"{name}.safetensors") for name in "ab"]
    for make in (public.mmseg, lambda *about: public.files(public.release(*about))):
        for seed, file in enumerate(pair):
            save_file(make(SIZES, 4, seed), file)
        main(["merge", *pair, "--alpha", "0.3", "--out", str(tmp_path / "m.safetensors")])
        merged, arena = (
            open_checkpoint(tmp_path / "m.safetensors"),
            Arena.pack([open_checkpoint(file) for file in pair]),
        )
        expected = arena.layout.views(Linear(0.3)(arena).weights[0])
        names = [name for name in expected if "running" not in name]
        assert all(torch.equal(merged.read(name), expected[name]) for name in names)


def test_files_of_different_code_merge_under_the_names_of_the_first(tmp_path: Path) -> None:
    tables = {
        "mmseg": public.mmseg(SIZES, 4, 1),
        "release": public.release(SIZES, 4, 2),
        "hf": public.files(public.release(SIZES, 4, 3), indices=False),
    }
    paths = {name: str(tmp_path / f"{name}.safetensors") for name in tables}
    for name, tensors in tables.items():
        save_file(tensors, paths[name])
    for first, *others in (("mmseg", "hf"), ("release", "mmseg"), ("hf", "release")):
        main(["merge", paths[first], *(paths[other] for other in others), "--out", str(tmp_path / "m.safetensors")])
        assert shapes_of(load_file(tmp_path / "m.safetensors")) == shapes_of(tables[first])
    merged = open_checkpoint(tmp_path / "m.safetensors")
    both = [open_checkpoint(paths[name]) for name in ("hf", "release")]
    for name in ("backbone.layers.1.downsample.reduction.weight", "backbone.layers.0.blocks.0.attn.qkv.bias"):
        torch.testing.assert_close(merged.read(name), sum(one.read(name) for one in both) / 2)
    assert len([name for name in SPELLINGS.names() if name.startswith("upernet-")]) == 5


# --- broken files -----------------------------------------------------------------------------------------------------


def broken(folder: Path, tensors: dict[str, Tensor]) -> ArchitectureError:
    checkpoint = opened(folder, tensors)
    assert network_of(checkpoint.shapes) is None
    return unknown_network([checkpoint])


MADE = {"release": public.release, "mmseg": public.mmseg, "files": lambda *about: public.files(public.release(*about))}


@pytest.mark.parametrize("kind", MADE)
def test_a_table_of_another_size_is_told(tmp_path: Path, kind: str) -> None:
    tensors = MADE[kind](SIZES, 4)
    table = next(name for name in tensors if name.endswith("relative_position_bias_table"))
    problem = broken(tmp_path, {**tensors, table: torch.zeros(24, 1)})
    assert "they are UperNet, Swin of 8 channels, 2+2+3+1 blocks, windows of 3, but of its" in problem.got
    assert "relative_position_bias_table is (24, 1) and not (25, 1)" in problem.got
    assert ("named as in" in problem.got) == (kind != "release")
    assert "--model FILE.py:FACTORY" in problem.do and problem.needs


@pytest.mark.parametrize("kind", MADE)
def test_a_missing_head_or_a_part_of_it_is_told(tmp_path: Path, kind: str) -> None:
    tensors = MADE[kind](SIZES, 4)
    problem = broken(tmp_path, {name: one for name, one in tensors.items() if not name.startswith("decode_head")})
    assert "they are the backbone of a network alone (Swin of 8 channels" in problem.got
    assert "whole network" in problem.do
    problem = broken(tmp_path, {name: one for name, one in tensors.items() if "psp_modules.3" not in name})
    assert "5 missing (decode_head.psp_modules.3.1.conv.weight" in problem.got and "whole network" in problem.do


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("backbone.layers.0.blocks.{}.attn.qkv.bias", (24,)),
        ("backbone.layers.1.blocks.7.norm1.weight", (8,)),
        ("backbone.patch_embed.proj.weight", ()),
        ("backbone.patch_embed.proj.weight", (10**12, 3, 4, 4)),
        ("decode_head.fpn_bottleneck.conv.weight", (0, 8, 3, 3)),
        ("backbone.layers.{}.blocks.0.attn.relative_position_bias_table", (10**12, 1)),
        ("backbone.layers.{}.blocks.0.attn.relative_position_bias_table", (25, 0)),
        ("backbone.layers.{}.blocks.0.attn.relative_position_bias_table", (25,)),
    ],
)
def test_sizes_of_no_network_are_no_network(name: str, shape: tuple[int, ...]) -> None:
    shapes = shapes_of(public.release(SIZES, 4))
    hostile = {**shapes, **{name.format(at): shape for at in (0, 1, 2, 3, 10**6)}}
    assert recognise(hostile) is None and (len(shape) != 1 or explain(hostile).do)


def test_positions_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = public.release(SIZES, 4)
    name = "backbone.layers.2.blocks.1.attn.relative_position_index"
    for index in (tensors[name] + 10**6, tensors[name].flip(0), tensors[name].clamp_max(3)):
        with pytest.raises(ArchitectureError, match=r"relative_position_index.*window of 3x3"):
            bound(opened(tmp_path, {**tensors, name: index}))
    assert bound(opened(tmp_path, {**tensors, name: tensors[name].int()})).space.count == 4
    pair = two(tmp_path, tensors, {**tensors, name: tensors[name] + 1})
    with pytest.raises(SystemExit):
        main(["merge", *pair, "--out", str(tmp_path / "m.safetensors")])
    assert name in capsys.readouterr().err


def two(folder: Path, *tables: dict[str, Tensor]) -> list[str]:
    for number, tensors in enumerate(tables):
        save_file(tensors, folder / f"{number}.safetensors")
    return [str(folder / f"{number}.safetensors") for number in range(len(tables))]


# --- Hugging Face -----------------------------------------------------------------------------------------------------

CONFIGS: dict[str, dict[str, Any]] = {
    "swin": {
        "model_type": "swin",
        "embed_dim": SIZES.width,
        "depths": list(SIZES.depths),
        "num_heads": list(SIZES.heads),
        "window_size": SIZES.window,
    },
    "resnet": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 2, 1, 1]},
    "basic": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 16, 16],
        "depths": [1, 1, 2, 1],
        "layer_type": "basic",
    },
}


def config_of(kind: str, **changed: Any) -> dict[str, Any]:
    backbone = {**CONFIGS[kind], "out_features": [f"stage{number}" for number in range(1, 5)]}
    return {
        "architectures": ["UperNetForSemanticSegmentation"],
        "model_type": "upernet",
        "hidden_size": SIZES.decoder,
        "id2label": {"0": "road", "1": "car", "2": "sky", "3": "kerb"},
        "backbone_config": {**backbone, **changed.pop("backbone", {})},
        **changed,
    }


def folder_of(path: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Checkpoint:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")
    return open_checkpoint(path)


def test_a_folder_is_opened_by_its_config_and_no_other(tmp_path: Path) -> None:
    tensors = public.files(public.release(SIZES, 4), indices=False)
    checkpoint = folder_of(tmp_path / "f", tensors, config_of("swin"))
    known = network_of(checkpoint.shapes)
    assert known is not None and known[1] == 4 and isinstance(known[0].base, UperNetArchitecture)  # type: ignore[attr-defined]
    assert bound(checkpoint).space.names == ("road", "car", "sky", "kerb")
    problem = unknown_network(
        [folder_of(tmp_path / "f", {**tensors, "decode_head.classifier.bias": torch.zeros(4, 1)}, config_of("swin"))]
    )
    assert "decode_head.conv_seg.bias is (4, 1) and not (classes)" in problem.got and problem.do.startswith("Download")
    for changed in (
        {"backbone": {"hidden_act": "relu"}},
        {"backbone": {"window_size": 4}},
        {"backbone": {"window_size": 10**6}},
        {"backbone": {"depths": [2, 2, 10**9, 1]}},
        {"backbone": {"num_heads": [3, 3, 3, 3]}},
        {"backbone": {"use_absolute_embeddings": True}},
        {"backbone": {"out_features": ["stage4"]}},
        {"backbone": {"model_type": "convnext"}},
        {"pool_scales": [1, 2]},
        {"hidden_size": "8"},
        {"architectures": ["UperNetModel"]},
        {"backbone_config": 7},
    ):
        found = folder_of(tmp_path / "f", tensors, {**config_of("swin", **dict(changed))})
        known = network_of(found.shapes)
        assert known is None or "of transformers" in known[0].title, changed


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_those_of_transformers_and_an_export_is_opened_by_it(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
    models = []
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        config = config_of(kind, auxiliary_channels=4, auxiliary_in_channels=None)
        models.append(lively(transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(**config))))
        models[-1].save_pretrained(tmp_path / name)
    torch.save(models[0].state_dict(), tmp_path / "modules.pth")
    found = open_checkpoint(tmp_path / "a")
    known = network_of(found.shapes)
    assert known is not None and isinstance(known[0].base, UperNetArchitecture)  # type: ignore[attr-defined]
    for file, sides in product(("a", "modules.pth"), ((64, 64), (50, 71))):
        logits_alike(bound(open_checkpoint(tmp_path / file)), models[0], sides)
    pair, out = [str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "m"
    main(["merge", *pair, "--alpha", "0.5", "--export", "hf", "--out", str(out)])
    theirs = transformers.UperNetForSemanticSegmentation.from_pretrained(out, local_files_only=True).eval()
    logits_alike(bound(open_checkpoint(out)), theirs, (50, 71))
    stored = load_file(tmp_path / "a" / "model.safetensors")
    assert set(stored) - set(load_file(out / "model.safetensors")) <= {
        f"backbone.swin.layernorm.{leaf}" for leaf in ("weight", "bias")
    }
    assert torch.equal(
        theirs.auxiliary_head.classifier.bias, sum(one.auxiliary_head.classifier.bias for one in models) / 2
    )


def logits_alike(network: BoundNetwork, theirs: Any, sides: tuple[int, int]) -> None:
    with torch.inference_mode():
        found = nn.functional.interpolate(network.module(noise(*sides)), size=sides, mode="bilinear")
        expected = theirs(noise(*sides)).logits
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_plans_differ_in_code_so_that_stored_answers_do_not_mix() -> None:
    plans = (
        SWIN,
        RESNET,
        replace(SWIN, backbone=replace(SWIN.backbone, heads=(1, 1, 1, 1))),
        replace(SWIN, channels=9),
    )
    assert len({UperNetArchitecture(plan).code for plan in plans}) == 4
