"""Merge methods with weights of their own for every layer, and arenas of what checkpoints share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import arena_of, saved, tiny_registered, tiny_tensors
from safetensors.torch import save_file

from fusionlib.architectures.enet import ENet
from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.sharing import Sharing, shared_table
from fusionlib.engine.packing import packed, registration_order
from fusionlib.errors import LayoutError, UsageError
from fusionlib.merging.buffers import settle
from fusionlib.merging.isotropic import Isotropic
from fusionlib.merging.layerwise import Layerwise
from fusionlib.merging.profile import LayerProfile, apply_profile


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return arena_of(tmp_path_factory.mktemp("three"), *(tiny_tensors(seed) for seed in (1, 2, 3)))


# --- layer-wise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchor", [0, 1, 2])
@pytest.mark.parametrize("granularity", ["tensor", "module", "block"])
def test_coefficients_are_the_papers_sum_to_one_and_the_anchor_is_strictly_heaviest(
    three: Arena, anchor: int, granularity: str
) -> None:
    table = Layerwise(anchor=anchor, granularity=granularity).tensor_shares(three)
    assert list(table) == [entry.name for entry in three.layout.entries]
    for row in table.values():
        assert sum(row) == pytest.approx(1, abs=1e-12) and min(row) >= 0
        assert all(row[anchor] > share for number, share in enumerate(row) if number != anchor)
    if granularity == "tensor":
        length, others = len(table), [number for number in range(3) if number != anchor]
        for j, row in enumerate(table.values(), start=1):
            assert all(row[number] == pytest.approx((length - j) / (length * 3)) for number in others)
            assert row[anchor] - row[others[0]] == pytest.approx(j / length)
    assert list(table.values())[-1][anchor] == 1


def test_counters_have_no_index_and_running_statistics_have(three: Arena) -> None:
    table = Layerwise().tensor_shares(three)
    assert not any(name.endswith("num_batches_tracked") for name in table)
    assert "norm.running_mean" in table and len(table) == len(three.layout.entries)


def test_start_first_weight_and_offset(three: Arena) -> None:
    length = len(three.layout.entries)
    rows = list(Layerwise(start=4).tensor_shares(three).values())
    assert rows[0] == rows[2] == pytest.approx((1 / 3,) * 3) and rows[3][0] > 1 / 3 and rows[-1][0] == 1
    assert next(iter(Layerwise(j_offset=0).tensor_shares(three).values())) == pytest.approx((1 / 3,) * 3)
    ramp = list(Layerwise(first_weight=0.6, j_offset=0).tensor_shares(three).values())
    assert ramp[0] == pytest.approx((0.6, 0.2, 0.2)) and ramp[1][1] == pytest.approx(0.2 * (length - 1) / length)
    with pytest.raises(UsageError, match="Start layer"):
        Layerwise(start=length + 1)(three)
    with pytest.raises(UsageError, match="Anchor 3 of 3"):
        Layerwise(anchor=3)(three)


def test_excluded_and_unshared_tensors_are_the_anchors_and_do_not_count(three: Arena) -> None:
    table = Layerwise(exclude="head.*, norm2.*", anchor=1).tensor_shares(three)
    merged = Layerwise(exclude="head.*, norm2.*", anchor=1)(three).weights[0]
    assert torch.equal(three.layout.view(merged, "head.weight"), three.layout.view(three.weights[1], "head.weight"))
    kept = [name for name in table if not name.startswith(("head.", "norm2."))]
    assert table[kept[-1]][1] == 1 and table[kept[0]][0] == pytest.approx((len(kept) - 1) / (3 * len(kept)))


def test_a_ramp_is_the_weighted_sum(three: Arena) -> None:
    method = Layerwise(anchor=2)
    table, merged = method.tensor_shares(three), method(three).weights[0]
    for name, row in table.items():
        naive = sum(
            share * three.layout.view(weights, name).double() for share, weights in zip(row, three.weights, strict=True)
        )
        assert torch.allclose(three.layout.view(merged, name).double(), naive, atol=1e-6)


def test_a_file_sorted_by_name_gets_the_order_of_its_network(tmp_path: Path) -> None:
    tensors = tiny_tensors(1)
    save_file(tensors, tmp_path / "sorted.safetensors")
    files = [open_checkpoint(tmp_path / "sorted.safetensors")] * 2
    with tiny_registered():
        arena = packed(files, network_of(files[0].shapes))
    assert arena.in_order == tuple(name for name, value in tensors.items() if value.is_floating_point())
    assert arena.in_order != tuple(arena.layout.by_name) and not arena.notes
    unknown = packed(files, network_of(files[0].shapes))
    assert "order" in unknown.notes[0] and Layerwise()(unknown).notes == unknown.notes


def test_enet_in_alphabetical_order_gets_its_own_order_back(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = {name: tensor.shape for name, tensor in ENet(5).state_dict().items()}
    save_file(
        {name: torch.zeros(shape) for name, shape in names.items() if not name.endswith("tracked")},
        tmp_path / "e.safetensors",
    )
    file = open_checkpoint(tmp_path / "e.safetensors")
    order, notes = registration_order(file, network_of(file.shapes))
    assert order == tuple(name for name in names if not name.endswith("tracked")) and not notes


# --- isotropic and profiles -------------------------------------------------------------------------------------------


def test_isotropic_is_the_mean(three: Arena) -> None:
    assert torch.allclose(Isotropic()(three).weights[0], three.weights.mean(0), atol=1e-6)


def test_a_profile_merges_each_unit_with_its_own_weights(three: Arena) -> None:
    profile = LayerProfile(weights={"stem": (1.0, 0.0, 0.0), "head": (0.2, 0.3, 0.5)}, rest=(0.0, 1.0, 0.0))
    merged = three.layout.views(profile(three).weights[0])
    first, second = three.layout.views(three.weights[0]), three.layout.views(three.weights[1])
    assert torch.equal(merged["stem.weight"], first["stem.weight"]) and torch.equal(
        merged["body.bias"], second["body.bias"]
    )
    naive = sum(
        share * three.layout.view(row, "head.weight") for share, row in zip((0.2, 0.3, 0.5), three.weights, strict=True)
    )
    assert torch.allclose(merged["head.weight"], naive, atol=1e-6)


@pytest.mark.parametrize("policy", ["average", "gaussian", "anchor"])
def test_only_changed_slices_are_recomputed_and_the_result_is_the_same(three: Arena, policy: str) -> None:
    before = LayerProfile(rest=(0.5, 0.5, 0.0))
    after = LayerProfile(weights={"body": (0.1, 0.2, 0.7), "norm": (0.0, 0.0, 1.0)}, rest=(0.5, 0.5, 0.0))
    out = torch.full_like(three.weights[0], torch.nan)
    apply_profile(three, before, out)
    settle(policy, three, before, out)
    three.layout.view(out, "stem.weight").fill_(7)
    changed = apply_profile(three, after, out, previous=before)
    settle(policy, three, after, out)
    assert set(changed) == {name for name in three.layout.by_name if name.startswith(("body.", "norm."))}
    assert (three.layout.view(out, "stem.weight") == 7).all(), "an unchanged slice is not touched"
    whole = after(three).weights[0]
    settle(policy, three, after, whole)
    three.layout.view(out, "stem.weight").copy_(three.layout.view(whole, "stem.weight"))
    assert torch.equal(out, whole)


def test_pooled_statistics_leave_out_who_has_no_weight_in_that_layer(three: Arena) -> None:
    profile = LayerProfile(weights={"norm": (0.0, 1.0, 0.0)})
    out = profile(three).weights[0]
    settle("gaussian", three, profile, out)
    assert torch.equal(
        three.layout.view(out, "norm.running_var"), three.layout.view(three.weights[1], "norm.running_var")
    )
    assert not torch.equal(
        three.layout.view(out, "norm2.running_var"), three.layout.view(three.weights[1], "norm2.running_var")
    )


@pytest.mark.parametrize(
    "profile",
    [
        LayerProfile(weights={"nose": (1, 0, 0)}),
        LayerProfile(rest=(0.5, 0.6, 0.0)),
        LayerProfile(weights={"head": (1, 0)}),
        LayerProfile(granularity="half"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(three: Arena, profile: LayerProfile) -> None:
    with pytest.raises(UsageError):
        profile(three)


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_different_class_counts_share_all_but_the_head(tmp_path: Path) -> None:
    opened = [
        saved(tmp_path / "a.safetensors", tiny_tensors(1)),
        saved(tmp_path / "b.safetensors", tiny_tensors(2, classes=5)),
    ]
    with pytest.raises(LayoutError):
        Arena.pack(opened)
    table = shared_table(opened)
    assert table.own == ("head.weight", "head.bias") and table.reasons["head.weight"] == "shape"
    for anchor in (0, 1):
        arena = Arena.pack(opened, sharing=Sharing(), anchor=anchor)
        assert arena.own == {"head.weight", "head.bias"}
        merged = Isotropic()(arena).weights[0]
        assert torch.equal(arena.layout.view(merged, "head.weight"), opened[anchor].read("head.weight"))
        mean = (opened[0].read("body.weight") + opened[1].read("body.weight")) / 2
        assert torch.allclose(arena.layout.view(merged, "body.weight"), mean, atol=1e-6)
        assert arena.fingerprints == tuple(item.fingerprint for item in opened)
        shares = Layerwise(anchor=anchor).tensor_shares(arena)
        assert shares["head.bias"][anchor] == 1 and shares["norm2.running_var"][anchor] == 1, (
            "the last shared tensor ends the ramp"
        )


def test_renames_and_patterns_correct_what_is_shared(tmp_path: Path) -> None:
    other = {
        f"backbone.{name}" if not name.startswith("head") else name: value for name, value in tiny_tensors(2).items()
    }
    opened = [saved(tmp_path / "a.safetensors", tiny_tensors(1)), saved(tmp_path / "b.safetensors", other)]
    assert (
        shared_table(opened).shared == ("head.weight", "head.bias")
        and "backbone.stem.weight" in shared_table(opened).elsewhere
    )
    sharing = Sharing(rename={r"^backbone\.": ""}, exclude=("norm2.*",))
    table = shared_table(opened, 0, sharing)
    excluded = {name for name, reason in table.reasons.items() if reason == "excluded"}
    assert excluded == {name for name in opened[0].tensors if "norm2." in name}
    arena = Arena.pack(opened, sharing=sharing)
    merged = Isotropic()(arena).weights[0]
    assert torch.allclose(
        arena.layout.view(merged, "stem.weight"), (opened[0].read("stem.weight") + other["backbone.stem.weight"]) / 2
    )
    assert table.to_dict()["shared"] == len(table.shared)
    for wrong in (Sharing(rename={"(": ""}), Sharing(rename={".*": "x"})):
        with pytest.raises(UsageError):
            shared_table(opened, 0, wrong)


def test_networks_that_share_nothing_are_refused(tmp_path: Path) -> None:
    opened = [
        saved(tmp_path / "a.safetensors", tiny_tensors(1)),
        saved(tmp_path / "b.safetensors", {"w": torch.ones(2)}),
    ]
    with pytest.raises(LayoutError, match="share no tensor"):
        Arena.pack(opened, sharing=Sharing())
    with pytest.raises(UsageError, match="Anchor 2"):
        Arena.pack(opened, sharing=Sharing(), anchor=2)
