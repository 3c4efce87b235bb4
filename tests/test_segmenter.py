"""Segmenter: sizes, names of two codes, what it computes, which units may move, files of any size and broken ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import segmenter_public as public
import torch
from helpers import CPU
from safetensors.torch import load_file, save_file
from segmenter_public import SAMPLED, Sizes
from torch import Tensor, nn

from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.segmenter import SegmenterArchitecture
from fusionlib.architectures.staged import check_stages
from fusionlib.architectures.vit import ViT, ViTPlan
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.permuting import checked, permuted
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.engine.network import BoundNetwork
from fusionlib.runs.ray_worker import PassWorker, Weights

pytestmark = pytest.mark.usefixtures("architectures")

TINY = Sizes(128, 2, 8, 4, labels=10)
KINDS = {
    "linear": TINY,
    "mask": replace(TINY, layers=2),
    "distilled": replace(TINY, extra=2),
    "distilled mask": replace(TINY, extra=2, layers=1),
}
CODES = {"rstrudel": (public.rstrudel, public.rstrudel_forward), "mmseg": (public.mmseg, public.mmseg_forward)}
CASES = [("rstrudel", kind) for kind in KINDS] + [("mmseg", kind) for kind in ("linear", "mask")]

LETTERS = {"t": (192, 12, 32), "s": (384, 12, 32), "b": (768, 12, 32), "l": (1024, 24, 40)}

PARAMETERS = {"t16": 5_905_342, "s16": 22_426_366, "b16": 87_318_910, "l16": 305_918_078}
PARAMETERS |= {"t16-mask": 6_906_388, "s16-mask": 26_418_964, "b16-mask": 103_266_580, "l16-mask": 334_259_476}
"""With 150 classes and the classifier of 1000. The authors give 87 M for B and 7, 27, 106 and 334 M with masks: their
code as it is public has a little less of S and B.
"""


def shapes_of(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def meta(name: str, classes: int) -> nn.Module:
    with torch.device("meta"):
        return ARCHITECTURES.get(name).build(classes)


def opened(folder: Path, tensors: dict[str, Tensor], name: str = "a") -> Checkpoint:
    save_file(tensors, folder / f"{name}.safetensors")
    return open_checkpoint(folder / f"{name}.safetensors")


def bound(checkpoint: Checkpoint) -> BoundNetwork:
    known = network_of(checkpoint.shapes)
    assert known is not None
    arena = Arena.pack([checkpoint])
    network = BoundNetwork(*known, arena.layout, arena.integers[0], device=CPU)
    network.load(arena.weights[0])
    return network


def public_sizes(name: str) -> Sizes:
    width, depth, grid = LETTERS[name.removeprefix("segmenter-").removeprefix("mmseg-")[0]]
    return Sizes(width, depth, 16, grid, layers=2 if name.endswith("mask") else None)


LISTED = [name for name in ARCHITECTURES.names_in_files() if name.startswith("segmenter-")]


# --- sizes and recognition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_public_code(name: str) -> None:
    assert sum(tensor.numel() for tensor in meta(f"segmenter-{name}", 150).parameters()) == PARAMETERS[name]
    without = sum(tensor.numel() for tensor in meta(f"segmenter-mmseg-{name}", 150).parameters())
    width = LETTERS[name[0]][0]
    assert PARAMETERS[name] - without == 1000 * (width + 1), "mmsegmentation drops the classifier"


def test_sizes_beside_the_list_are_those_of_the_authors_too() -> None:
    tall = replace(public_sizes("segmenter-l16-mask"), grid=48, layers=1)
    fine = replace(public_sizes("segmenter-b16"), patch=8, grid=64)
    for sizes, classes, millions in ((tall, 19, 322), (fine, 150, 89)):
        known = network_of(shapes_of(public.rstrudel(sizes, classes, None)))
        assert known is not None
        with torch.device("meta"):
            assert round(sum(one.numel() for one in known[0].build(known[1]).parameters()) / 1e6) == millions


@pytest.mark.parametrize("name", [name for name in LISTED if "mmseg" not in name])
def test_tensors_have_the_public_names_and_shapes(name: str) -> None:
    own, expected = shapes_of(meta(name, 5).state_dict()), shapes_of(public.rstrudel(public_sizes(name), 5, None))
    assert own == expected and (not name.endswith("b16-mask") or set(SAMPLED) <= set(own))
    assert list(ARCHITECTURES.get(name).shapes(5).items()) == list(own.items())  # type: ignore[attr-defined]
    assert recognise(own) == (name, 5)


def test_a_network_of_another_size_is_read_off_its_tensors() -> None:
    usual = shapes_of(public.rstrudel(public_sizes("segmenter-s16-mask"), 19, None))
    assert recognise(usual) == ("segmenter-s16-mask", 19)
    bare = {name: shape for name, shape in usual.items() if "encoder.head" not in name}
    assert recognise(bare) == ("segmenter-s16-mask:labels=0", 19)
    for grid, window in ((48, (768, 512)), (30, (480, 320)), (40, (640, 640))):
        shapes = usual | {"encoder.pos_embed": (1, grid * grid + 1, 384)}
        known = network_of(shapes)
        assert known and known[0].preprocessing.window == window and known[0].preprocessing.mean == (0.5, 0.5, 0.5)
        assert network_of(shapes) == known, "made once"
    distilled = shapes_of(public.rstrudel(replace(public_sizes("segmenter-b16"), extra=2), 7, None))
    known = network_of(distilled)
    assert recognise(distilled) == ("segmenter-b16:extra=2", 7)
    assert known and known[0].preprocessing.mean == (0.485, 0.456, 0.406)
    odd = shapes_of(public.rstrudel(Sizes(256, 3, 32, 7, layers=1), 4, None))
    assert recognise(odd) == ("segmenter-256x3-32-mask:grid=7,layers=1", 4)
    mmseg = ARCHITECTURES.get("segmenter-mmseg-l16-mask").preprocessing
    assert mmseg.window == (640, 608) and ARCHITECTURES.get("segmenter-mmseg-s16").preprocessing.window == (512, 480)


def test_networks_of_other_sizes_differ_in_code_and_are_on_no_list() -> None:
    items = [SegmenterArchitecture(ARCHITECTURES.get(name).plan, listed=False) for name in LISTED]  # type: ignore[attr-defined]
    assert len({item.code for item in items}) == len(LISTED) == 16
    assert not any(item.listed for item in items)


# --- what it computes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "kind"), CASES)
def test_logits_are_those_of_the_public_code(tmp_path: Path, code: str, kind: str) -> None:
    make, forward = CODES[code]
    sizes, generator = KINDS[kind], torch.Generator().manual_seed(1)
    tensors = make(sizes, 5)
    checkpoint = opened(tmp_path, tensors)
    network = bound(checkpoint)
    assert ("mmsegmentation" in "".join(checkpoint.notes)) == (code == "mmseg")
    with torch.inference_mode():
        for height, width in ((32, 32), (40, 72), (31, 50)):
            picture = torch.randn(2, 3, height, width, generator=generator)
            found = network.module(picture)
            assert found.shape == (2, 5, -(-height // 8), -(-width // 8)) and found.std() > 0.01
            torch.testing.assert_close(found, forward(tensors, sizes, picture), rtol=1e-4, atol=1e-5)


def test_a_grid_of_another_shape_and_as_many_patches_gets_positions_of_its_own() -> None:
    network = ViT(ViTPlan(64, 1, 8, 4, 1, 64)).eval()
    assert network.positions(2, 8).shape == network.pos_embed.shape
    assert not torch.equal(network.positions(2, 8), network.pos_embed)
    assert torch.equal(network.positions(4, 4), network.pos_embed)


@pytest.mark.parametrize(("code", "kind"), CASES)
def test_stages_are_the_pass_and_a_drag_goes_on_at_the_changed_one(tmp_path: Path, code: str, kind: str) -> None:
    network = bound(opened(tmp_path, CODES[code][0](KINDS[kind], 3)))
    check_stages(network.module, network.architecture.stages(network.module))  # type: ignore[attr-defined]
    network = bound(opened(tmp_path, CODES[code][0](KINDS[kind], 3)))
    images = torch.randint(0, 256, (1, 48, 40, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    network.logits(images, resume=True)
    for name, began in (("encoder.blocks.1.mlp.fc1.bias", "encoder.blocks.1"), ("encoder.norm.weight", "encoder.norm")):
        network.layout.view(network.flat, name).mul_(1.5).add_(0.1)
        resumed = network.logits(images, resume=True)
        assert network.trail.began == began and torch.equal(resumed, network.logits(images))
    if KINDS[kind].layers:
        network.layout.view(network.flat, "decoder.mask_norm.bias").add_(0.1)
        assert torch.equal(network.logits(images, resume=True), network.logits(images))
        assert network.trail.began == "decoder.mask_norm"


@pytest.mark.parametrize(("code", "kind"), CASES)
def test_units_in_another_order_change_no_logit(tmp_path: Path, code: str, kind: str) -> None:
    checkpoint = opened(tmp_path, CODES[code][0](KINDS[kind], 3))
    known, arena = network_of(checkpoint.shapes), Arena.pack([checkpoint])
    assert known is not None
    permutations = checked(arena, known[0].permutations)  # type: ignore[attr-defined]
    assert len({one.name for one in permutations}) == len(permutations)
    generator = torch.Generator().manual_seed(1)
    orders = [torch.randperm(one.size, generator=generator) for one in permutations]
    row = permuted(arena.layout, permutations, orders, arena.weights[0])
    before, after = arena.layout.views(arena.weights[0]), arena.layout.views(row)
    still = {"decoder.mask_norm.weight", "decoder.mask_norm.bias", "decoder.head.bias", "decoder.conv_seg.bias"}
    still |= {"encoder.head.bias", "encoder.head_dist.bias"}
    assert {name for name, one in before.items() if torch.equal(one, after[name])} == still & set(before)
    found = []
    for flat in (arena.weights[0], row):
        network = known[0].build(3).eval()
        network.load_state_dict(arena.layout.views(flat))
        with torch.inference_mode():
            found.append(network.double()(torch.ones(1, 3, 32, 48).double().cumsum(3) / 48))
    assert torch.allclose(*found, rtol=1e-9, atol=1e-11)


def test_the_encoder_computes_what_that_of_transformers_does(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=192,
        image_size=32,
        patch_size=8,
        layer_norm_eps=1e-6,
        initializer_range=0.3,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    theirs.save_pretrained(tmp_path)
    ours = ViT(ViTPlan(128, 2, 8, 4, 2, 192)).eval()
    ours.load_state_dict(as_timm(load_file(tmp_path / "model.safetensors")), strict=True)
    with torch.inference_mode():
        for sides in ((32, 32), (48, 64)):
            picture = torch.randn(2, 3, *sides)
            expected = theirs(picture, interpolate_pos_encoding=True).last_hidden_state
            torch.testing.assert_close(ours(picture), expected[:, 1:], rtol=1e-4, atol=1e-5)


def as_timm(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file of transformers' ViT under timm's names."""
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        for old, new in (
            ("encoder.layer.", "blocks."),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.", ""),
            ("attention.output.dense", "attn.proj"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("layernorm", "norm"),
        ):
            name = name.replace(old, new)
        found[name] = tensor
    for name in [name for name in found if "attention.query" in name]:
        parts = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return found


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_training_checkpoint_opens_strictly_and_its_copies_merge_to_themselves(tmp_path: Path) -> None:
    tensors = public.rstrudel(KINDS["distilled mask"], 4)
    saved = {"model": tensors, "optimizer": {"state": {}, "param_groups": []}, "n_iter": 7, "epoch": 1}
    for name in ("a", "b"):
        torch.save(saved, tmp_path / f"{name}.pth")
    files = [str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    known = network_of(open_checkpoint(tmp_path / "a.pth").shapes)
    assert known is not None
    known[0].build(4).load_state_dict(tensors, strict=True)
    main(["merge", *files, "--alpha", "0.3", "--out", str(tmp_path / "m.safetensors")])
    merged = load_file(tmp_path / "m.safetensors")
    assert merged.keys() == tensors.keys() and all(torch.equal(merged[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("kind", ["linear", "mask"])
def test_a_merge_of_mmsegmentation_has_its_names_and_all_of_its_tensors(tmp_path: Path, kind: str, early: bool) -> None:
    tensors = [public.mmseg(KINDS[kind], 4, seed, early) for seed in (0, 1)]
    for name, one in zip("ab", tensors, strict=True):
        torch.save({"meta": {}, "state_dict": one}, tmp_path / f"{name}.pth")
    files = [str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    main(["merge", *files, "--alpha", "0.25", "--out", str(tmp_path / "m.safetensors")])
    merged = load_file(tmp_path / "m.safetensors")
    assert shapes_of(merged) == shapes_of(tensors[0])
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, 0.25 * tensors[0][name] + 0.75 * tensors[1][name])
    checkpoint = open_checkpoint(tmp_path / "m.safetensors")
    known = recognise(checkpoint.shapes)
    assert known == (f"segmenter-mmseg-128x2-8{'-mask' if kind == 'mask' else ''}:grid=4", 4)
    assert ("decode_head.conv_seg.weight" in checkpoint.shapes) == (early and kind == "mask"), "kept, and never run"


def test_files_of_mmsegmentation_at_full_size_have_the_shapes_of_the_listed_networks(tmp_path: Path) -> None:
    for name in ("segmenter-mmseg-t16", "segmenter-mmseg-t16-mask"):
        tensors = {key: torch.zeros(one.shape) for key, one in public.mmseg(public_sizes(name), 19, None).items()}
        checkpoint = opened(tmp_path, tensors, name)
        assert recognise(checkpoint.shapes) == (name, 19)
        assert checkpoint.shapes == shapes_of(meta(name, 19).state_dict())


def test_a_worker_elsewhere_makes_a_network_of_any_size_from_the_tensors_it_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = bound(opened(tmp_path, public.rstrudel(KINDS["mask"], 3)))
    name = ARCHITECTURES.name_of(network.architecture)
    del ARCHITECTURES._items[name]
    made = []

    class Fake:
        models, trusted = (), ()
        worker = type("Now", (), {"run": staticmethod(lambda call: call())})
        builder = type("Builder", (), {"member": staticmethod(lambda known, *_: made.append(known))})

    weights = network.flat.numpy()
    PassWorker._new_member(Fake(), Weights("key", name, 3, network.layout, weights, {}))  # type: ignore[arg-type]
    assert made == [(ARCHITECTURES.get(name), 3)]


# --- broken files ----------------------------------------------------------------------------------------------------


def broken(kind: str) -> dict[str, Tensor]:
    tensors = public.rstrudel(KINDS["mask"], 4)
    if kind == "cut":
        return dict(list(tensors.items())[:-5])
    if kind == "mmseg cut":
        return dict(list(public.mmseg(KINDS["mask"], 4).items())[:-5])
    if kind == "no square":
        return tensors | {"encoder.pos_embed": torch.zeros(1, 14, 128)}
    if kind == "backbone":
        return {name: one for name, one in tensors.items() if name.startswith("encoder.")}
    if kind == "timm":
        return {name.removeprefix("encoder."): one for name, one in broken("backbone").items()}
    if kind == "odd width":
        return public.rstrudel(replace(TINY, width=96), 4)
    return tensors | {"encoder.blocks.0.ls1.gamma": torch.zeros(128)}


@pytest.mark.parametrize(
    ("kind", "got", "do"),
    [
        ("cut", r"mask decoder of 2 blocks.* of its 65 tensors there are 5 missing \(decoder.proj_dec.bias", "whole"),
        ("mmseg cut", r"under the names that they have here, .* 5 missing \(decoder.proj_classes.weight", "whole"),
        ("no square", "encoder.pos_embed has 13 places of patches, which are no square", "--model FILE.py:FACTORY"),
        ("backbone", r"a Vision Transformer alone \(2 blocks of 128 channels, patches of 8\)", "whole"),
        ("timm", r"a Vision Transformer alone \(2 blocks of 128 channels, patches of 8\)", "whole"),
        ("odd width", "has 96 channels, from which no number of heads follows", "--model FILE.py:FACTORY"),
        ("scales", r"1 too many \(encoder.blocks.0.ls1.gamma\)", "--model FILE.py:FACTORY"),
    ],
)
def test_what_is_no_whole_network_is_told_apart(tmp_path: Path, kind: str, got: str, do: str) -> None:
    checkpoint = opened(tmp_path, broken(kind))
    assert recognise(checkpoint.shapes) is None
    problem = unknown_network([checkpoint])
    with pytest.raises(type(problem), match=got):
        raise problem
    assert do in problem.do and "built-in networks" in problem.needs and len(str(problem)) < 900


def test_a_broken_file_ends_a_command_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path, broken("cut"))
    main(["inspect", str(tmp_path / "a.safetensors"), "--json"])
    assert json.loads(capsys.readouterr().out)["checkpoints"][0]["architecture"] is None
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "a.safetensors"), "--data", "streets:all:1@val"])
    said = capsys.readouterr().err
    assert "5 missing" in said and "Traceback" not in said and "whole network" in said


def test_shapes_that_no_network_has_are_none() -> None:
    own = shapes_of(public.rstrudel(KINDS["mask"], 3, None))
    for name in own:
        for shape in ((), (0,), (1, 2, 3, 4, 5), (10**9, 10**9)):
            known = recognise(own | {name: shape})
            assert known is None, (name, shape)
    assert recognise(own | {"encoder.blocks.999999999.norm1.weight": (128,)}) is None
    assert recognise(own | {"decoder.blocks.2.norm1.weight": (128,)}) is None
    assert recognise(own | {"encoder.total_ops": (1,), "encoder.blocks.0.total_params": (1,)}) is not None
