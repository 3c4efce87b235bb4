"""More than two checkpoints on the Layers page: rows on the simplex, from the browser's wish to the exported file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import World, softmax_of, tiny_file, tiny_tensors, tiny_world, until
from test_view_sweep import decoded
from torch import Tensor

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.errors import UsageError
from fusionlib.merging.layerwise import Layerwise
from fusionlib.studio import LETTERS, MergeView, Selection
from fusionlib.studio.layer_jobs import only, without
from fusionlib.studio.layers import describe, from_cosine, profile_of, ramp

BLOCKS = ("stem", "norm", "body", "norm2", "head")
ROWS = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.3334, 0.3333, 0.3333], [0.05, 0.9, 0.05]]


@pytest.fixture
def world(tmp_path: Path):
    tiny_file(tmp_path / "files", "c", 3, 3)
    with tiny_world(tmp_path, count=3) as opened:
        yield opened


def view_of(world: World, buffers: str = "average") -> MergeView:
    return world.studio.view(Selection("a", "b", world.source, None, buffers, ("c",)))


def mixed(rows: list[list[float]]) -> dict[str, Tensor]:
    """By block the sum of weight times tensor in float64, with nothing but torch."""
    members, shares = [tiny_tensors(seed) for seed in (1, 2, 3)], dict(zip(BLOCKS, rows, strict=True))
    return {
        name: (
            sum(
                share * member[name].double()
                for share, member in zip(shares[name.partition(".")[0]], members, strict=True)
            )
            if members[0][name].is_floating_point()
            else members[0][name]
        )
        for name in members[0]
    }  # type: ignore[misc]


def agrees(png: bytes, expected: Tensor) -> bool:
    top = expected.topk(2, dim=0)
    clear = ((top.values[0] - top.values[1]) > 1e-4).numpy()
    assert clear.mean() > 0.98
    return bool((decoded(png)[..., 0] == top.indices[0].numpy())[clear].all())


def test_a_frame_of_three_is_what_an_independent_forward_pass_gives(world: World) -> None:
    view = view_of(world)
    image = view.need_pictures().load(1).image
    for rows in (ROWS, [[0.25, 0.25, 0.5]] * 5, [*ROWS[:4], [0.0, 0.5, 0.5]]):
        assert agrees(
            view.frame(1, profile_of(view.arena.layout, "block", rows, 2, 3)).png, softmax_of(mixed(rows), image)
        )


def test_each_checkpoint_has_a_pane_of_its_own_letter(world: World) -> None:
    view = view_of(world)
    image = view.need_pictures().load(0).image
    for seed, letter in enumerate(LETTERS[:3], start=1):
        assert agrees(view.frame(0, 0.5, letter).png, softmax_of(tiny_tensors(seed), image))
    for letter in ("d", "ab", "", "h", "t"):
        with pytest.raises(UsageError, match="pane a, b, c, ensemble, m"):
            view.frame(0, 0.5, letter)


def test_alpha_is_the_weight_of_a_and_the_others_share_the_rest(world: World) -> None:
    view = view_of(world)
    assert view.uniform(0.5).shares(3) == (0.5, 0.25, 0.25)
    build = world.studio.runner.builder.build
    profile = profile_of(view.arena.layout, "module", [[0.5, 0.25, 0.25]] * 5, 0, 3)
    assert build(view.recipe(0.5)).key == build(view.recipe(profile)).key
    sweep = world.studio.sweep(view)
    sweep.want(0.5)
    until(lambda: sweep.state != "running")
    found = sweep.snapshot()
    assert [point["alpha"] for point in found["points"]] == [0.0, 0.5, 1.0] and all(
        found[letter]["miou"] is not None for letter in "abc"
    )
    assert found["points"][2]["miou"] == found["a"]["miou"], "at alpha 1 A is alone"
    recipe = world.studio.recipe(view, 0.5)
    assert (
        recipe.method == "linear"
        and recipe.parameters == {"weights": [0.5, 0.25, 0.25]}
        and len(recipe.checkpoints) == 3
    )


@pytest.mark.parametrize("buffers", ["average", "gaussian", "anchor", "recalibrate"])
def test_an_exported_profile_of_three_is_the_preview_bit_for_bit(world: World, buffers: str) -> None:
    view = view_of(world, buffers)
    profile = profile_of(view.arena.layout, "block", ROWS, 2, 3)
    written = world.studio.export(view, profile)
    blend = view.new_blend()
    blend.set(profile, world.studio.worker.run)
    checkpoint = open_checkpoint(written.path)
    for name, shown in view.arena.layout.views(blend.network.flat).items():
        assert torch.equal(checkpoint.read(name), shown), name
    assert written.recipe.parameters["weights"]["stem"] == ROWS[0] and written.recipe.parameters["anchor"] == 2


def test_rounded_rows_are_put_back_on_the_simplex_and_others_refused(world: World) -> None:
    layout = view_of(world).arena.layout
    thirds = profile_of(layout, "part", [[0.3333, 0.3333, 0.3333], [1 / 3, 1 / 3, 1 / 3]], 1, 3)
    assert all(sum(row) == pytest.approx(1, abs=1e-12) for row in thirds.weights.values())
    for rows in ([[0.5, 0.5]] * 2, [[0.5, 0.5, 0.1]] * 2, [[1.2, -0.1, -0.1]] * 2, [[1, 0, 0, 0]] * 2):
        with pytest.raises(UsageError):
            profile_of(layout, "part", rows, 0, 3)
    with pytest.raises(UsageError, match="0 to 2"):
        profile_of(layout, "part", [[1, 0, 0]] * 2, 3, 3)


def test_contributions_of_three_set_units_back_to_the_anchor(world: World) -> None:
    profile = profile_of(view_of(world).arena.layout, "block", ROWS, 1, 3)
    assert only(profile, "stem").weights == {**dict.fromkeys(BLOCKS, (0.0, 1.0, 0.0)), "stem": (0.2, 0.3, 0.5)}
    assert without(profile, "stem").weights == {**profile.weights, "stem": (0.0, 1.0, 0.0)}


def test_presets_of_three_have_their_closed_forms_and_the_ramp_is_the_layer_wise_methods(world: World) -> None:
    view = view_of(world)
    described = describe(view.arena)["levels"]["block"]
    assert described["presets"]["equal"] == [0.3333] * 5
    assert from_cosine([1.0, 0.5, None], 3) == [0.3333, 1.0, 1.0]
    table = Layerwise(anchor=0, granularity="block").tensor_shares(view.arena)
    assert (
        ramp(5, 3)
        == pytest.approx([table[f"{block}.weight"][0] for block in BLOCKS], abs=1e-4)
        == described["presets"]["ramp"]
    )
    rows = [
        torch.cat([tensors[f"head.{leaf}"].flatten() for leaf in ("weight", "bias")])
        for tensors in map(tiny_tensors, (1, 2, 3))
    ]
    pairs = [float(torch.cosine_similarity(rows[i], rows[j], dim=0)) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert described["cosine"][-1] == pytest.approx(sum(pairs) / 3, abs=1e-5)


def test_named_profiles_are_offered_to_as_many_checkpoints_as_they_were_made_for(world: World) -> None:
    view, shelf = view_of(world), world.studio.layers.shelf
    shelf.save("three", profile_of(view.arena.layout, "block", ROWS, 2, 3))
    assert [one["weights"] for one in shelf.fitting(view.arena.layout, 3)] == [ROWS]
    assert shelf.fitting(view.arena.layout, 2) == []


def test_a_ninth_checkpoint_is_refused_in_words(world: World) -> None:
    with pytest.raises(UsageError, match="at most 8"):
        world.studio.view(Selection("a", "b", world.source, None, more=("c",) * 7))
