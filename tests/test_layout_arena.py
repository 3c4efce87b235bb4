"""Layouts and arenas: every tensor has its own aligned slice, and packing loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import TinyNet, arena_of, saved, tiny_checkpoints, tiny_tensors
from hypothesis import given
from hypothesis import strategies as st

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import ALIGNMENT, Layout
from fusionlib.checkpoints.reader import TensorInfo
from fusionlib.checkpoints.rounding import round_to_dtype
from fusionlib.contracts import ARCHITECTURES
from fusionlib.errors import LayoutError

SHAPES = st.lists(st.lists(st.integers(0, 5), max_size=4).map(tuple), min_size=1, max_size=12)


@given(SHAPES)
def test_slices_are_aligned_disjoint_and_in_order(shapes: list[tuple[int, ...]]) -> None:
    layout = Layout.of({f"t{i}": TensorInfo(f"t{i}", shape, torch.float32) for i, shape in enumerate(shapes)})
    at = 0
    for entry in layout.entries:
        assert entry.offset % ALIGNMENT == 0
        assert entry.offset >= at
        at = entry.end
    assert layout.size >= at and layout.size % ALIGNMENT == 0
    flat = torch.zeros(layout.size)
    for number, view in enumerate(layout.views(flat).values()):
        assert view.shape == shapes[number]
        view.fill_(number + 1)
    for number, entry in enumerate(layout.entries):
        assert (layout.view(flat, entry.name) == number + 1).all()
    assert int((flat != 0).sum()) == sum(entry.size for entry in layout.entries)


def test_tiny_network_is_laid_out_by_role() -> None:
    infos = {name: TensorInfo(name, tuple(t.shape), t.dtype) for name, t in TinyNet(3).state_dict().items()}
    layout = Layout.of(infos, head=("head",))
    kinds = {entry.name: entry.kind for entry in layout.entries}
    assert kinds["stem.weight"] == "weight" and kinds["body.bias"] == "bias"
    assert kinds["norm.weight"] == kinds["norm2.bias"] == "norm"
    assert kinds["norm.running_mean"] == kinds["norm2.running_var"] == "buffer"
    assert {entry.name for entry in layout.entries if entry.part == "head"} == {"head.weight", "head.bias"}
    assert set(layout.integers) == {"norm.num_batches_tracked", "norm2.num_batches_tracked", "table"}
    assert layout.order == tuple(infos)
    assert [(item.layer, item.counter) for item in layout.statistics] == [
        ("norm", "norm.num_batches_tracked"),
        ("norm2", "norm2.num_batches_tracked"),
    ]


def test_enet_has_a_head_and_statistics_for_every_batch_norm() -> None:
    enet = ARCHITECTURES.get("enet")
    infos = {name: TensorInfo(name, tuple(t.shape), t.dtype) for name, t in enet.build(19).state_dict().items()}
    layout = Layout.of(infos, enet.head)
    assert len(layout.statistics) == sum(name.endswith("running_mean") for name in infos)
    assert {entry.block for entry in layout.entries if entry.part == "head"} == {
        "upsample4_0",
        "regular4_1",
        "regular4_2",
        "upsample5_0",
        "regular5_1",
        "transposed_conv",
    }


def test_signature_tells_layouts_apart_by_name_shape_dtype_and_integers() -> None:
    def signature(
        name: str = "w", shape: tuple[int, ...] = (2, 3), dtype: torch.dtype = torch.float32, table: str = "n"
    ) -> str:
        return Layout.of({name: TensorInfo(name, shape, dtype), table: TensorInfo(table, (), torch.int64)}).signature

    assert signature() == signature()
    different = {
        signature(),
        signature(name="v"),
        signature(shape=(3, 2)),
        signature(dtype=torch.float16),
        signature(table="m"),
    }
    assert len(different) == 5


def test_packing_keeps_every_value_and_leaves_gaps_zero(tmp_path: Path) -> None:
    checkpoints = tiny_checkpoints(tmp_path, 3)
    arena = Arena.pack(checkpoints)
    assert len(arena) == 3 and arena.weights.dtype == torch.float32
    filled = torch.zeros(arena.layout.size, dtype=torch.bool)
    for entry in arena.layout.entries:
        filled[entry.offset : entry.end] = True
    assert (arena.weights[:, ~filled] == 0).all()
    for row, table, checkpoint in zip(arena.weights, arena.integers, checkpoints, strict=True):
        for name in checkpoint.tensors:
            packed = arena.layout.view(row, name) if name in arena.layout.by_name else table[name]
            assert torch.equal(packed, checkpoint.read(name))
    assert arena.fingerprints == tuple(item.fingerprint for item in checkpoints)


def test_checkpoints_in_another_order_of_names_land_in_the_first_ones_order(tmp_path: Path) -> None:
    tensors = tiny_tensors(1)
    arena = arena_of(tmp_path, tensors, dict(reversed(tensors.items())))
    assert torch.equal(arena.weights[0], arena.weights[1])


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_arena_computes_in_float32_or_better(tmp_path: Path, dtype: torch.dtype, kept: torch.dtype) -> None:
    arena = Arena.pack(tiny_checkpoints(tmp_path, 2, dtype))
    assert arena.weights.dtype == kept
    before = arena.weights[0].clone()
    round_to_dtype(arena.layout, arena.weights[0])
    assert torch.equal(arena.weights[0], before), "what came from the dtype fits into it"
    third = arena.weights[0] / 3
    round_to_dtype(arena.layout, third)
    for name, view in arena.layout.views(third).items():
        assert torch.equal(view, (arena.layout.view(arena.weights[0], name) / 3).to(dtype).to(kept))


def test_statistics_alone_are_packed_as_in_the_whole(tmp_path: Path) -> None:
    tables = [{**tiny_tensors(seed), "body.weight": tiny_tensors(seed)["body.weight"].double()} for seed in (1, 2)]
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    whole, part = Arena.pack(checkpoints), Arena.pack(checkpoints, only_statistics=True)
    assert {entry.kind for entry in part.layout.entries} == {"buffer"}
    assert part.weights.dtype == whole.weights.dtype == torch.float64
    for name in part.layout.by_name:
        assert torch.equal(part.layout.view(part.weights[1], name), whole.layout.view(whole.weights[1], name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("head.bias"), "head.bias"),
        (lambda t: t.update({"extra": torch.zeros(2)}), "extra"),
        (lambda t: t.update({"head.weight": torch.zeros(5, 8, 1, 1)}), "head.weight"),
        (lambda t: t.update({"table": torch.arange(4) + 1}), "table"),
        (lambda t: t.update({"table": torch.rand(4)}), "table"),
        (lambda t: t.update({"head.bias": torch.arange(3)}), "head.bias"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, change, said: str) -> None:
    tensors = tiny_tensors(2)
    change(tensors)
    for pair in ((tiny_tensors(1), tensors), (tensors, tiny_tensors(1))):
        with pytest.raises(LayoutError, match=said):
            arena_of(tmp_path, *pair)


def test_equal_index_tables_of_two_integer_types_fit(tmp_path: Path) -> None:
    first, second = tiny_tensors(1), tiny_tensors(2)
    second["table"] = second["table"].to(torch.int32)
    arena = arena_of(tmp_path, first, second)
    assert torch.equal(arena.integers[0]["table"], first["table"])
