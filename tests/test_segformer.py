"""SegFormer: sizes, names of four codes, what it computes, files that are taken apart and put together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import segformer_public as public
import torch
from helpers import CPU
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.architectures.segformer import MMSEG_CHANNELS, PLANS, Plan, SegFormer, SegFormerArchitecture
from fusionlib.architectures.staged import check_stages
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, SPELLINGS
from fusionlib.engine.network import BoundNetwork

SIZES: public.Sizes = ((8, 16, 24, 32), (2, 1, 1, 2), (1, 2, 3, 4), (8, 4, 2, 1))
TINY = Plan(SIZES[0], SIZES[1], 16, SIZES[2], SIZES[3])

PARAMETERS = {"b0": 3.75, "b1": 13.72, "b2": 27.46, "b3": 47.34, "b4": 64.11, "b5": 84.71}
"""Millions, with the decoder and 150 classes: Table 6 rounds them to 3.7, 14.0, 27.5, 47.3, 64.1 and 84.7."""


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    ARCHITECTURES.put("tiny-segformer", SegFormerArchitecture(TINY, "tiny"))
    ARCHITECTURES.put("tiny-mmseg", SegFormerArchitecture(TINY, "tiny mmseg", mmseg=True))
    yield
    del ARCHITECTURES._items["tiny-segformer"], ARCHITECTURES._items["tiny-mmseg"]


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


def as_modules_of_transformers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain replacements in the names that files have, one after another."""
    found = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] == ["segformer", "encoder"]:
            kind, number, *rest = parts[2:]
            place = ["segformer", "stages", number]
            parts = [*place, "blocks", *rest] if kind == "block" else [*place, kind, *rest]
        text = ".".join(parts)
        for old, new in (
            ("attention.self.query", "attention.q_proj"),
            ("attention.self.key", "attention.k_proj"),
            ("attention.self.value", "attention.v_proj"),
            ("attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
            ("attention.self.layer_norm", "attention.sequence_reduction.layer_norm"),
            ("attention.output.dense", "attention.o_proj"),
            ("mlp.dense1", "mlp.fc1"),
            ("mlp.dense2", "mlp.fc2"),
            ("layer_norm_1", "layernorm_before"),
            ("layer_norm_2", "layernorm_after"),
            ("linear_c", "linear_projections"),
        ):
            text = text.replace(old, new)
        found[text] = tensor
    return found


# --- sizes and recognition -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", PLANS)
def test_parameters_are_those_of_the_paper(size: str) -> None:
    network = meta(f"segformer-{size}", 150)
    assert round(sum(tensor.numel() for tensor in network.parameters()) / 1e6, 2) == PARAMETERS[size]


@pytest.mark.parametrize("name", [f"segformer-{kind}{size}" for size in PLANS for kind in ("", "mmseg-")])
def test_shapes_are_those_of_the_network_in_its_order_and_tell_it_from_all_others(name: str) -> None:
    own = shapes_of(meta(name, 6).state_dict())
    assert list(ARCHITECTURES.get(name).shapes(6).items()) == list(own.items())  # type: ignore[attr-defined]
    taken_by = {other: item.recognise(own) for other, item in ARCHITECTURES.items()}
    assert {other: count for other, count in taken_by.items() if count is not None} == {name: 6}
    assert recognise({key: shape for key, shape in own.items() if "block.2.1.mlp.dense1.bias" not in key}) is None


def test_logits_are_at_a_quarter_of_the_side_and_stages_are_the_pass() -> None:
    for mmseg in (False, True):
        network = SegFormer(TINY, mmseg, 5).eval()
        assert network(torch.rand(1, 3, 70, 98)).shape == (1, 5, 18, 25)
        check_stages(network, network.stages())
    assert ARCHITECTURES.get("segformer-b0").label_space(19) == "cityscapes"
    assert not hasattr(ARCHITECTURES.get("segformer-b0"), "permutations")


# --- names of other code ---------------------------------------------------------------------------------------------


def test_a_file_of_the_authors_code_computes_what_that_code_does(tmp_path: Path) -> None:
    tensors = public.nvlabs(SIZES, 16, 5)
    checkpoint = opened(tmp_path, tensors)
    assert recognise(checkpoint.shapes) == ("tiny-segformer", 5)
    picture = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = bound(checkpoint).module(picture)
        torch.testing.assert_close(found, public.nvlabs_forward(tensors, SIZES, picture, 1e-5), rtol=1e-5, atol=1e-5)
        # the norms of the authors' code have another epsilon: what that moves is said in the guide
        assert (found - public.nvlabs_forward(tensors, SIZES, picture, 1e-6)).abs().max() < 1e-3
    assert any("NVlabs/SegFormer" in note and "decode_head.conv_seg" in note for note in checkpoint.notes)


def test_a_file_of_mmsegmentation_computes_what_that_code_does(tmp_path: Path) -> None:
    tensors = public.mmseg(SIZES, 16, 5)
    checkpoint = opened(tmp_path, tensors)
    assert recognise(checkpoint.shapes) == ("tiny-mmseg", 5)
    picture = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = bound(checkpoint).module(picture)
        torch.testing.assert_close(found, public.mmseg_forward(tensors, SIZES, picture), rtol=1e-5, atol=1e-5)


def test_files_of_full_size_open_strictly_whatever_code_wrote_them(tmp_path: Path) -> None:
    plan = PLANS["b0"]
    sizes = (plan.widths, plan.depths, plan.heads, plan.reductions)
    torch.save({"state_dict": public.nvlabs(sizes, plan.decoder, 19)}, tmp_path / "authors.pth")
    torch.save({"meta": {}, "state_dict": public.mmseg(sizes, MMSEG_CHANNELS, 19)}, tmp_path / "mmseg.pth")
    own = SegFormer(plan, False, 19).state_dict()
    torch.save(as_modules_of_transformers(own), tmp_path / "modules.bin")
    save_file(own, tmp_path / "stored.safetensors")
    expected = {
        "authors.pth": ("segformer-b0", 19),
        "mmseg.pth": ("segformer-mmseg-b0", 19),
        "modules.bin": ("segformer-b0", 19),
        "stored.safetensors": ("segformer-b0", 19),
    }
    for file, known in expected.items():
        checkpoint = open_checkpoint(tmp_path / file)
        assert recognise(checkpoint.shapes) == known, file
        assert checkpoint.shapes == shapes_of(meta(*known).state_dict()), file
    modules = open_checkpoint(tmp_path / "modules.bin")
    assert all(torch.equal(modules.read(name), tensor) for name, tensor in own.items())


def test_pieces_of_tensors_that_were_taken_apart_are_their_numbers(tmp_path: Path) -> None:
    tensors = public.nvlabs(SIZES, 16, 3)
    fused = tensors["backbone.block2.0.attn.kv.weight"]
    torch.save(tensors, tmp_path / "a.pth")
    turned = {name: one.t().contiguous().t() if one.ndim == 2 else one for name, one in tensors.items()}
    torch.save(turned, tmp_path / "strided.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for checkpoint in (opened(tmp_path, tensors), *map(open_checkpoint, sorted(tmp_path.glob("*.pth")))):
        start = "segformer.encoder.block.1.0.attention.self"
        assert torch.equal(checkpoint.read(f"{start}.key.weight"), fused[:16])
        assert torch.equal(checkpoint.read(f"{start}.value.weight"), fused[16:])
        assert torch.equal(checkpoint.piece(f"{start}.value.weight", 5, 40), fused[16:].flatten()[5:40])


@pytest.mark.parametrize(("kind", "method"), [("nvlabs", "linear"), ("mmseg", "linear"), ("mmseg", "slerp")])
def test_a_merge_is_written_under_the_names_of_its_files(tmp_path: Path, kind: str, method: str) -> None:
    make = {"nvlabs": public.nvlabs, "mmseg": public.mmseg}[kind]
    a, b = make(SIZES, 16, 4, seed=0), make(SIZES, 16, 4, seed=1)
    for name, tensors in (("a", a), ("b", b)):
        torch.save(tensors, tmp_path / f"{name}.pth")
    files = [str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    out = tmp_path / "m.safetensors"
    main(["merge", "--checkpoints", *files, "--method", method, "--set", "alpha=0.25", "--out", str(out)])
    merged = load_file(out)
    assert shapes_of(merged) == shapes_of(
        {name: one for name, one in a.items() if kind == "mmseg" or "conv_seg" not in name}
    )
    if method == "linear":
        for name, tensor in merged.items():
            if tensor.is_floating_point() and "running" not in name:
                torch.testing.assert_close(tensor, 0.25 * a[name] + 0.75 * b[name])
    again = open_checkpoint(out)
    assert recognise(again.shapes) == ("tiny-mmseg" if kind == "mmseg" else "tiny-segformer", 4)


def test_files_of_different_code_merge_under_the_names_of_the_first(tmp_path: Path) -> None:
    authors = public.nvlabs(SIZES, 16, 4)
    stored = SegFormer(TINY, False, 4).state_dict()
    torch.save(authors, tmp_path / "a.pth")
    save_file(stored, tmp_path / "b.safetensors")
    files = [str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")]
    for order, names in (
        (files, set(authors) - {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}),
        (files[::-1], set(stored)),
    ):
        main(["merge", *order, "--out", str(tmp_path / "m.safetensors")])
        assert set(load_file(tmp_path / "m.safetensors")) == names


def test_names_stay_where_the_operators_own_code_has_them_or_a_tensor_does_not_fit(tmp_path: Path) -> None:
    tensors = public.mmseg(SIZES, 16, 5)

    class Own(SegFormerArchitecture):
        def recognise(self, shapes: Any) -> int | None:
            return 5 if "backbone.layers.0.0.projection.weight" in shapes else None

    ARCHITECTURES.put("own", Own(TINY, "own"))
    try:
        assert opened(tmp_path, tensors).shapes == shapes_of(tensors)
    finally:
        del ARCHITECTURES._items["own"]
    odd = {**tensors, "backbone.layers.0.1.0.attn.attn.in_proj_weight": torch.zeros(25, 8)}
    assert opened(tmp_path, odd, "odd").shapes == shapes_of(odd)
    assert set(SPELLINGS.names()) >= {"segformer-nvlabs", "segformer-mmseg", "segformer-transformers"}


# --- against transformers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(64, 64), (70, 99)])
def test_logits_are_those_of_transformers_and_its_files_open(tmp_path: Path, sides: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]: pip install 'fusionlib[hf]'")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        hidden_sizes=list(TINY.widths),
        depths=list(TINY.depths),
        num_attention_heads=list(TINY.heads),
        decoder_hidden_size=TINY.decoder,
        num_labels=5,
        initializer_range=0.5,
    )
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "modules.pth")
    picture = torch.rand(2, 3, *sides)
    with torch.inference_mode():
        expected = theirs(picture).logits
        for file in ("model.safetensors", "modules.pth"):
            found = bound(open_checkpoint(tmp_path / file)).module(picture)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_plans_differ_in_code_so_that_stored_answers_do_not_mix() -> None:
    codes = {SegFormerArchitecture(plan, "one").code for plan in (TINY, replace(TINY, heads=(1, 1, 1, 1)))}
    assert len(codes) == 2
