"""Layer profiles on live views: hostile requests, independent forwards, what is recomputed, contributions, exports,
presets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Answer, World, folder_data, request, saved, softmax_of, tiny_tensors, tiny_world, until
from starlette.applications import Starlette
from test_view_sweep import decoded

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.errors import UsageError
from fusionlib.merging.profile import LayerProfile
from fusionlib.studio.layer_jobs import only, without
from fusionlib.studio.layer_presets import PresetShelf
from fusionlib.studio.layers import from_cosine, profile_of, ramp, smooth_step
from pages.widgets import layers_routes, routes

BLOCKS = ("stem", "norm", "body", "norm2", "head")
DRAWN = [0.2, 0.5, 1.0, 0.0, 0.75]


def rows(weights: list[float]) -> list[list[float]]:
    """Weights of A as rows of two."""
    return [[weight, round(1 - weight, 4)] for weight in weights]


@pytest.fixture
def world(tmp_path: Path):
    with tiny_world(tmp_path, count=3) as opened:
        yield opened


class Browser:
    """One session with one view granted."""

    def __init__(self, world: World) -> None:
        self.view, self.session = world.view(), world.studio.live.open()
        self.key = self.session.key
        world.studio.live.grant(self.session, self.view)
        self.app = Starlette(routes=routes.live_routes())

    def __call__(self, path: str, content: object = None, method: str = "POST", query: str = "") -> Answer:
        body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        return request(self.app, method, f"/live/{self.key}/{self.view.id}/{path}", body, query)


@pytest.fixture
def browser(world: World, monkeypatch: pytest.MonkeyPatch) -> Browser:
    for module in (routes, layers_routes):
        monkeypatch.setattr(module, "studio", lambda: world.studio)
    return Browser(world)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For what changes nothing."""
    with tiny_world(tmp_path_factory.mktemp("shared"), count=3) as opened:
        yield opened


@pytest.fixture
def refusing(shared: World, monkeypatch: pytest.MonkeyPatch) -> Browser:
    for module in (routes, layers_routes):
        monkeypatch.setattr(module, "studio", lambda: shared.studio)
    return Browser(shared)


def merged(weights: list[float]) -> dict[str, torch.Tensor]:
    """`w A + (1 - w) B` by block in float64, with nothing but torch."""
    a, b = tiny_tensors(1), tiny_tensors(2)
    share = {str(name): weight for name, weight in zip(BLOCKS, weights, strict=True)}
    return {
        name: (
            share[name.partition(".")[0]] * a[name].double() + (1 - share[name.partition(".")[0]]) * b[name].double()
            if a[name].is_floating_point()
            else a[name]
        )
        for name in a
    }


# --- frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_of_a_profile_shows_what_an_independent_forward_pass_gives(browser: Browser) -> None:
    for weights in (DRAWN, [0.5] * 5, [0.2, 0.5, 1.0, 0.0, 0.1]):  # the last differs from the first in one block only
        answer = browser("frame/1", {"level": "block", "weights": rows(weights)}, query="pane=m&gen=0")
        assert answer.status == 200, answer.body
        odds, frame = softmax_of(merged(weights), browser.view.need_pictures().load(1).image), decoded(answer.body)
        top = odds.topk(2, dim=0)
        clear = ((top.values[0] - top.values[1]) > 1e-4).numpy()
        assert clear.mean() > 0.98
        assert (frame[..., 0] == top.indices[0].numpy())[clear].all()
        assert np.abs(frame[..., 1] / 255 - top.values[0].numpy()).max() <= 1 / 255


def test_only_the_slices_that_changed_are_recomputed_and_the_buffer_is_that_of_a_fresh_merge(world: World) -> None:
    view = world.view()
    blend, fresh = view.new_blend(), view.new_blend()
    first, second = (
        profile_of(view.arena.layout, "block", rows(DRAWN)),
        profile_of(view.arena.layout, "block", rows([*DRAWN[:4], 0.25])),
    )
    blend.set(first, lambda call: call())
    assert len(blend.recomputed) == len(view.arena.layout.entries)
    blend.set(second, lambda call: call())
    assert blend.recomputed == ("head.weight", "head.bias")
    fresh.set(second, lambda call: call())
    assert torch.equal(blend.network.flat, fresh.network.flat)
    blend.set_alone(0, lambda call: call())
    blend.set(second, lambda call: call())
    assert torch.equal(blend.network.flat, fresh.network.flat), "another network was in the buffer meanwhile"


@pytest.mark.parametrize("buffers", ["average", "gaussian", "anchor", "recalibrate"])
def test_step_by_step_and_at_once_give_the_same_bytes_under_every_buffer_policy(world: World, buffers: str) -> None:
    view = world.view(buffers)
    blend, fresh = view.new_blend(), view.new_blend()
    for weights in (DRAWN, [0.2, 0.9, 1.0, 0.0, 0.75], [0.2, 0.9, 1.0, 0.3, 0.75]):
        blend.set(profile_of(view.arena.layout, "block", rows(weights), 1), lambda call: call())
    fresh.set(profile_of(view.arena.layout, "block", rows(weights), 1), lambda call: call())
    assert torch.equal(blend.network.flat, fresh.network.flat)


def test_the_same_weight_everywhere_is_a_point_of_the_sweep(world: World) -> None:
    view = world.view()
    profile = profile_of(view.arena.layout, "module", rows([0.3] * 5))
    build = world.studio.runner.builder.build
    assert build(view.recipe(profile)).key == build(view.recipe(0.3)).key
    assert (decoded(view.frame(0, profile).png) == decoded(view.frame(0, 0.3).png)).all()
    drawn = profile_of(view.arena.layout, "block", rows(DRAWN))
    assert build(view.recipe(drawn)).key != build(view.recipe(0.3)).key


# --- what is refused --------------------------------------------------------------------------------------------------


GOOD = rows([0.5] * 4)
LAST_ROWS = (
    [0.5, 0.4],
    [0.2, 0.3, 0.5],
    [1.01, -0.01],
    [-0.1, 1.1],
    [float("nan"), 0.5],
    [float("inf"), 0.5],
    [True, 0.5],
    [None, 0.5],
    ["1", 0.5],
    [[0.5], 0.5],
    [],
    0.5,
    None,
)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b"[" * 9000,
        {},
        {"level": "block"},
        {"level": "layer", "weights": rows(DRAWN)},
        {"level": ["block"], "weights": rows(DRAWN)},
        {"level": "block", "weights": rows(DRAWN)[:4]},
        {"level": "block", "weights": rows([*DRAWN, 0.5])},
        {"level": "block", "weights": "0.5"},
        {"level": "block", "weights": {"stem": 1}},
        *({"level": "block", "weights": [*GOOD, row]} for row in LAST_ROWS),
        *({"level": "block", "weights": rows(DRAWN), "anchor": anchor} for anchor in (2, -1, True, "A", None, 0.5)),
        b'{"level": "block", "weights": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [1e999, 0]]}',
        b'{"level": "block", "weights": [' + b"9" * 5000 + b"]}",
        b'{"weights": "' + b"x" * (1 << 17) + b'"}',
    ],
    ids=lambda content: str(content)[:40],
)
@pytest.mark.parametrize("path", ["frame/0", "profile", "contribution", "presets"])
def test_hostile_profiles_are_refused_in_words(refusing: Browser, path: str, content: object) -> None:
    answer = refusing(path, content)
    assert answer.status == 400 and set(answer.json()) == {"got", "needs", "do"}
    assert len(answer.body) < 1000


def test_other_figures_names_and_methods_are_refused(browser: Browser) -> None:
    for of in ("3", "-1", "acc", "9" * 500, "\u0663", ""):
        assert browser("contribution", method="GET", query=f"of={of}").status == 400
    good = {"level": "block", "weights": rows(DRAWN)}
    for name in (None, "", "   ", "x" * 61, 7, ["a"], "a\x00b"):
        assert browser("presets", {**good, "name": name}).status == 400
    assert browser("layers", method="POST").status == 405
    assert browser("profile", method="GET").status == 405


def test_a_late_profile_is_dropped_by_its_generation(browser: Browser) -> None:
    assert browser("frame/0", {"level": "block", "weights": rows(DRAWN)}, query="gen=9").status == 200
    assert browser("frame/0", {"level": "block", "weights": rows([0.1] * 5)}, query="gen=8").status == 409


# --- units and presets ------------------------------------------------------------------------------------------------


def test_units_carry_cosine_discrepancy_and_sizes_of_their_tensors(browser: Browser) -> None:
    units = browser("layers", method="GET").json()
    block = units["levels"]["block"]
    assert units["offered"] == ["tensor", "module", "block", "part"]
    assert units["levels"]["learner"] == block
    assert block["names"] == list(BLOCKS) and units["levels"]["part"]["names"] == ["backbone", "head"]
    a, b = tiny_tensors(1), tiny_tensors(2)
    x, y = (torch.cat([tensors[f"head.{leaf}"].flatten() for leaf in ("weight", "bias")]) for tensors in (a, b))
    assert block["cosine"][-1] == pytest.approx(float(torch.cosine_similarity(x, y, dim=0)), abs=1e-5)
    assert block["discrepancy"][-1] == pytest.approx(float(((y - x).abs() >= x.abs() / 10).double().mean()), abs=1e-4)
    assert block["size"][-1] == x.numel() and sum(block["size"]) == sum(units["sizes"])


def test_preset_curves_have_their_closed_forms(browser: Browser) -> None:
    assert ramp(4) == [0.625, 0.75, 0.875, 1.0]
    assert smooth_step(5) == [0.0, 0.1562, 0.5, 0.8438, 1.0] and smooth_step(1) == [0.0]
    assert from_cosine([1.0, 0.5, 0.75, None]) == [0.5, 1.0, 0.75, 1.0] and from_cosine([0.9, 0.9]) == [0.5, 0.5]
    levels = browser("layers", method="GET").json()["levels"]
    assert levels["block"]["presets"]["backbone"] == [1, 1, 1, 1, 0] and levels["part"]["presets"]["head"] == [0, 1]
    assert all(len(curve) == len(level["names"]) for level in levels.values() for curve in level["presets"].values())


def test_presets_are_kept_as_yaml_and_found_again_for_the_networks_they_fit(browser: Browser, world: World) -> None:
    saved = browser(
        "presets", {"level": "block", "weights": rows(DRAWN), "anchor": 1, "name": "  my/../curve "}
    ).json()["presets"]
    assert saved == [{"name": "my/../curve", "level": "block", "anchor": 1, "weights": rows(DRAWN)}]
    folder = world.studio.options.home / "profiles"
    assert [path.parent for path in world.studio.options.home.rglob("*.yaml")] == [folder]
    (folder / "broken.yaml").write_text("[" * 100)
    (folder / "other.yaml").write_text("name: other\ngranularity: block\nanchor: 0\nweights: {elsewhere: [0.5, 0.5]}\n")
    assert browser("presets", method="GET").json()["presets"] == saved
    assert browser("presets", {"name": "my/../curve"}, "DELETE").json()["presets"] == []
    assert PresetShelf(folder / "not there").fitting(world.view().arena.layout) == []


# --- measuring --------------------------------------------------------------------------------------------------------


def direct(world: World, weights: list[float], folder: Path) -> float:
    """mIoU of a merge made by hand, written to a file and evaluated by itself."""
    path = folder / f"direct{abs(hash(tuple(weights)))}.safetensors"
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in merged(weights).items()
    }
    return world.studio.evaluate(saved(path, tensors), world.view().need_pictures())["miou"]


def test_contributions_equal_direct_evaluations_and_resume_from_the_store(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    assert browser("contribution", {"level": "block", "weights": rows(DRAWN)}).status == 200
    job = world.studio.layers.contribution(browser.view)
    until(lambda: job.state != "running")
    found = browser("contribution", method="GET").json()
    assert found["state"] == "done" and found["names"] == list(BLOCKS)
    assert found["base"] == pytest.approx(direct(world, [1.0] * 5, tmp_path), abs=1e-6)
    assert found["whole"] == pytest.approx(direct(world, DRAWN, tmp_path), abs=1e-6)
    for number, weight in enumerate(DRAWN):
        alone = [1.0] * number + [weight] + [1.0] * (4 - number)
        rest = [*DRAWN[:number], 1.0, *DRAWN[number + 1 :]]
        assert found["only"][number] == pytest.approx(direct(world, alone, tmp_path), abs=1e-6)
        assert found["without"][number] == pytest.approx(direct(world, rest, tmp_path), abs=1e-6)
    by_class = browser("contribution", method="GET", query="of=1").json()
    whole = job.figures(profile_of(browser.view.arena.layout, "block", rows(DRAWN)))
    assert whole and by_class["whole"] == whole["iou"][1]
    again = world.reopened()
    second = again.studio.layers.contribution(again.view())
    second.measure(profile_of(again.view().arena.layout, "block", rows(DRAWN)))
    until(lambda: second.state != "running")
    assert second.total == 0 and second.snapshot()["only"] == found["only"], "everything came from the store"


def test_a_profile_is_measured_once_and_cancelled_between_pictures(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    wish = {"level": "block", "weights": rows(DRAWN)}
    assert browser("profile", wish).json()["figures"] is None
    browser("profile", {**wish, "measure": True})
    job = world.studio.layers.profiles(browser.view)
    until(lambda: job.state != "running")
    assert browser("profile", wish).json()["figures"]["miou"] == pytest.approx(direct(world, DRAWN, tmp_path), abs=1e-6)
    assert browser("profile", {**wish, "weights": rows([0.4] * 5)}).json()["figures"] is None
    assert browser("profile", method="DELETE").status == 200


def test_points_of_a_profiles_own_curve_are_asked_for_together(browser: Browser, world: World, tmp_path: Path) -> None:
    shifted = [[min(1.0, weight + 0.2) for weight in DRAWN], [max(0.0, weight - 0.2) for weight in DRAWN]]
    wish = {"level": "block", "weights": rows(DRAWN), "more": [rows(one) for one in shifted]}
    assert browser("profile", wish).json()["more"] == [None, None]
    browser("profile", {**wish, "measure": True})
    job = world.studio.layers.profiles(browser.view)
    until(lambda: job.state != "running")
    found = browser("profile", wish).json()
    assert [one["miou"] for one in (found["figures"], *found["more"])] == [
        pytest.approx(direct(world, weights, tmp_path), abs=1e-6) for weights in (DRAWN, *shifted)
    ]
    for more in ("x", [rows(DRAWN)] * 25, [rows(DRAWN)[:3]], [3], {}):
        assert browser("profile", {**wish, "more": more}).status == 400


def test_only_and_without_are_complements() -> None:
    profile = LayerProfile(anchor=1, granularity="block", weights={"x": (0.3, 0.7), "y": (1.0, 0.0)})
    assert only(profile, "x").weights == {"x": (0.3, 0.7), "y": (0.0, 1.0)}
    assert without(profile, "x").weights == {"x": (0.0, 1.0), "y": (1.0, 0.0)}
    assert set(only(profile, None).weights.values()) == {(0.0, 1.0)}


def test_without_masks_pictures_answer_and_measuring_says_what_is_missing(tmp_path: Path) -> None:
    with tiny_world(tmp_path, data=(f"pictures:{folder_data(tmp_path / 'plain', 2, masks=False)}",)) as world:
        view = world.view()
        profile = profile_of(view.arena.layout, "block", rows(DRAWN))
        assert view.frame(0, profile).about["miou"] is None
        with pytest.raises(UsageError, match="masks"):
            world.studio.layers.profiles(view).want([profile])
        with pytest.raises(UsageError, match="masks"):
            world.studio.layers.contribution(view).measure(profile)


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffers", ["average", "gaussian", "anchor", "recalibrate"])
def test_an_exported_profile_computes_what_the_preview_showed_bit_for_bit(world: World, buffers: str) -> None:
    view = world.view(buffers)
    profile = profile_of(view.arena.layout, "block", rows(DRAWN), 1)
    written = world.studio.export(view, profile)
    checkpoint = open_checkpoint(written.path)
    blend = view.new_blend()
    blend.set(profile, world.studio.worker.run)
    for name, shown in view.arena.layout.views(blend.network.flat).items():
        assert torch.equal(checkpoint.read(name), shown), name
    assert written.recipe.method == "profile" and written.recipe.parameters["weights"]["head"] == [0.75, 0.25]
    again = world.studio.merge(
        written.recipe, world.studio._checkpoints(view), world.folder / "again.safetensors", view.pictures
    )
    assert again.path.read_bytes() == written.path.read_bytes()
