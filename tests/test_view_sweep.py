"""Frames and sweeps against independent forward passes and evaluations."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TinyArchitecture, TinyNet, World, folder_data, saved, tiny_tensors, tiny_world, until
from PIL import Image
from torch import nn

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.turns import Superseded
from fusionlib.engine.worker import FRAME
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.studio import Options, Selection, Studio
from fusionlib.studio.frame_wish import FrameWish
from fusionlib.studio.recent import ENTRY_BYTES


@pytest.fixture
def world(tmp_path: Path):
    with tiny_world(tmp_path, count=4) as opened:
        yield opened


def forward(alpha: float, image: np.ndarray, classes: int = 3) -> torch.Tensor:
    """Probabilities (C, H, W) of alpha A + (1 - alpha) B, computed with nothing but torch, in float64."""
    a, b = tiny_tensors(1, classes), tiny_tensors(2, classes)
    net = TinyNet(classes).double().eval()
    net.load_state_dict(
        {
            name: alpha * a[name].double() + (1 - alpha) * b[name].double() if a[name].is_floating_point() else a[name]
            for name in a
        }
    )
    about = TinyArchitecture.preprocessing
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    with torch.inference_mode():
        logits = net((x - torch.tensor(about.mean).view(1, 3, 1, 1)) / torch.tensor(about.std).view(1, 3, 1, 1))
        return nn.functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False).softmax(1)[
            0
        ]


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the forward passes of all networks."""
    counted: list[int] = []
    real = BoundNetwork.logits
    monkeypatch.setattr(
        BoundNetwork, "logits", lambda self, images, *rest: (counted.append(len(images)), real(self, images, *rest))[1]
    )
    return counted


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pane", "alpha"), [("m", 0.3), ("m", 1.0), ("m", 0.0), ("a", 1.0), ("b", 0.0)])
def test_a_frame_shows_what_an_independent_forward_pass_gives(world: World, pane: str, alpha: float) -> None:
    view = world.view()
    for index in range(2):
        frame = decoded(view.frame(index, alpha if pane == "m" else 0.5, pane).png)
        odds = forward(alpha, view.pictures.load(index).image)
        top = odds.topk(2, dim=0)
        clear = ((top.values[0] - top.values[1]) > 1e-4).numpy()
        assert clear.mean() > 0.99
        assert frame.shape == (48, 64, 3)
        assert (frame[..., 0] == top.indices[0].numpy())[clear].all()
        assert np.abs(frame[..., 1] / 255 - top.values[0].numpy()).max() <= 1 / 255
        assert (frame[..., 2] != frame[..., 0]).all()


def test_the_figures_of_a_frame_are_those_of_its_picture(world: World) -> None:
    view = world.view()
    frame = view.frame(1, 0.3)
    labels, truth = decoded(frame.png)[..., 0], view.pictures.load(1).truth
    assert frame.about["pixel_accuracy"] == pytest.approx((labels == truth)[truth != 255].mean())
    ious = [
        ((labels == c) & (truth == c)).sum() / (((labels == c) & (truth != 255)) | (truth == c)).sum() for c in range(3)
    ]
    assert frame.about["iou"] == pytest.approx(ious)
    assert frame.about["miou"] == pytest.approx(np.mean(ious))
    assert set(frame.about["ms"]) == {"merge", "forward", "encode"} and frame.about["alpha"] == 0.3
    assert (decoded(view.truth(1)) == truth).all()


def test_an_asked_frame_is_kept(world: World, forwards: list[int]) -> None:
    view = world.view()
    first = view.frame(0, 0.3)
    assert view.frame(0, 0.3) is first and len(forwards) == 1
    assert view.frame(0, 0.31) is not first
    a = view.frame(0, 0.1, "a")
    assert view.frame(0, 0.9, "a") is a, "A alone does not depend on alpha"


def test_all_views_of_a_process_share_one_bounded_cache(world: World) -> None:
    one, other, recent = world.view(), world.view("gaussian"), world.studio.recent
    assert one.recent is other.recent is recent and recent.limit == 512 << 20
    frame = one.frame(0, 0.0)
    recent.limit = 4 * (len(frame.png) + ENTRY_BYTES) + 2000
    for step in range(12):
        (one if step % 2 else other).frame(0, step / 12)
    assert len(recent) == 4 and recent.bytes <= recent.limit
    assert one.frame(0, 0.0) is not frame, "used longest ago, so it went first"


@pytest.mark.parametrize(
    ("index", "alpha", "pane"),
    [
        (-1, 0.5, "m"),
        (4, 0.5, "m"),
        (0, 1.01, "m"),
        (0, -0.01, "m"),
        (0, float("nan"), "m"),
        (0, float("inf"), "m"),
        (0, 0.5, "x"),
        (0, 0.5, ""),
    ],
)
def test_a_frame_that_is_none_is_refused(world: World, index: int, alpha: float, pane: str) -> None:
    with pytest.raises(UsageError):
        world.view().frame(index, alpha, pane)


def test_stale_frames_are_dropped(world: World, forwards: list[int]) -> None:
    view, gate, begun = world.view(), threading.Event(), threading.Event()
    world.studio.worker.submit(lambda: (begun.set(), gate.wait(20)), FRAME)
    assert begun.wait(20)
    first = view.ask(FrameWish(0, 0.1), "session", 1)
    until(first.running)  # else the second takes its place before it has begun
    second, third = (view.ask(FrameWish(0, generation / 10), "session", generation) for generation in (2, 3))
    with pytest.raises(Superseded):
        second.result(15)  # at once, while the device is busy
    gate.set()
    with pytest.raises(Superseded):
        first.result(20)
    assert decoded(third.result(20).png).shape == (48, 64, 3) and len(forwards) == 1
    assert view.ask(FrameWish(0, 0.1), "another session", 1).result(), "sessions do not supersede one another"


def test_other_panes_are_not_superseded(world: World) -> None:
    view = world.view()
    view.ask(FrameWish(0, 0.5), "s", 9).result()
    assert view.ask(FrameWish(0, 0.5, "a"), "s", 1).result()
    with pytest.raises(Superseded):
        view.ask(FrameWish(0, 0.6), "s", 8).result()


def test_a_frame_of_a_large_picture_is_made_in_steps_between_which_others_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    view, other = world.view(), world.view("gaussian")
    expected, between = view.frame(1, 0.37).png, []
    world.studio.recent.limit = 0  # nothing is known any more
    world.studio.recent.keep("", None, 1)
    monkeypatch.setattr("fusionlib.studio.view.STEP_PIXELS", 100)
    monkeypatch.setattr("fusionlib.engine.maps.BAND_PIXELS", 10 * 64)
    real = BoundNetwork.logits

    def noted(self, *given):
        if self is view._blend.network:
            between.append(other.ask(FrameWish(0, 0.5, "a"), "neighbour"))
        return real(self, *given)

    monkeypatch.setattr(BoundNetwork, "logits", noted)
    large = view.ask(FrameWish(1, 0.37), "large")
    assert large.result(20).png == expected and len(between) == 1
    assert between[0].result(20).about["scale"] == 1


@pytest.mark.parametrize("buffers", ["gaussian", "anchor", "recalibrate"])
def test_a_frame_shows_the_statistics_of_its_policy(world: World, buffers: str) -> None:
    labels = decoded(world.view(buffers).frame(0, 0.5).png)
    view = world.view(buffers)
    out = world.studio.export(view, 0.5).path
    tensors = {name: open_checkpoint(out).read(name) for name in open_checkpoint(out).tensors}
    net = TinyNet(3).eval()
    net.load_state_dict(tensors)
    about = TinyArchitecture.preprocessing
    x = torch.from_numpy(view.pictures.load(0).image).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        logits = net((x - torch.tensor(about.mean).view(1, 3, 1, 1)) / torch.tensor(about.std).view(1, 3, 1, 1))
        expected = nn.functional.interpolate(logits, size=(48, 64), mode="bilinear", align_corners=False).argmax(1)[0]
    assert (labels[..., 0] == expected.numpy()).mean() > 0.995
    assert (decoded(world.view("average").frame(0, 0.5).png) != labels).any()


def test_another_label_space_is_mapped(tmp_path: Path) -> None:
    data = folder_data(tmp_path / "data", 2)
    (data / "classes.yaml").write_text("label_space: camvid\n")
    with tiny_world(tmp_path, classes=20, data=(f"folder:{data}",)) as world:
        view = world.view()
        assert view.space.names == CAMVID.names and view.source_space == CITYSCAPES_VOID
        frame = decoded(view.frame(0, 0.4).png)
        odds = forward(0.4, view.pictures.load(0).image, 20).numpy()
        table = mapping(CITYSCAPES_VOID, CAMVID)
        expected = np.where(table[odds.argmax(0)] < 0, 255, table[odds.argmax(0)])
        two = np.sort(odds, axis=0)[-2:]
        assert (frame[..., 0] == expected)[two[1] - two[0] > 1e-4].all()
        summed = np.stack([odds[table == target].sum(0) for target in range(11)])
        chosen = np.take_along_axis(summed, np.minimum(frame[..., 0], 10)[None].astype(int), 0)[0]
        inside = frame[..., 0] != 255
        assert np.abs(frame[..., 1] / 255 - chosen)[inside].max() <= 1 / 255
        assert (frame[..., 2] != frame[..., 0]).all()


# --- sweeps -----------------------------------------------------------------------------------------------------------


def finished(sweep):
    until(lambda: sweep.state != "running")
    return sweep.snapshot()


def test_a_sweep_gives_what_evaluate_gives_for_the_exported_file(world: World) -> None:
    view = world.view()
    sweep = world.studio.sweep(view)
    sweep.want(0.5)
    snapshot = finished(sweep)
    assert (snapshot["state"], snapshot["message"]) == ("done", None)
    assert [point["alpha"] for point in snapshot["points"]] == [0.0, 0.5, 1.0]
    for point in snapshot["points"]:
        exported = open_checkpoint(world.studio.export(view, point["alpha"]).path)
        figures = world.studio.evaluate(exported, view.pictures, fresh=True)
        assert {name: figures[name] for name in point if name != "alpha"} == {
            k: v for k, v in point.items() if k != "alpha"
        }
    assert snapshot["best"]["miou"] == max(point["miou"] for point in snapshot["points"])
    without_alpha = [{k: v for k, v in snapshot["points"][index].items() if k != "alpha"} for index in (-1, 0)]
    assert [snapshot["a"], snapshot["b"]] == without_alpha, "under average the ends are A and B themselves"


def test_the_figures_are_right(world: World) -> None:
    view = world.view()
    sweep = world.studio.sweep(view)
    sweep.want_point(0.3)
    point = finished(sweep)["points"][0]
    right = total = loss = 0
    for index in range(4):
        sample = view.pictures.load(index)
        odds, keep = forward(0.3, sample.image).numpy(), sample.truth != 255
        right += int((odds.argmax(0) == sample.truth)[keep].sum())
        total += int(keep.sum())
        chosen = np.take_along_axis(odds, np.minimum(sample.truth, 2)[None].astype(int), 0)[0]
        loss -= float(np.log(chosen[keep]).sum())
    assert point["pixel_accuracy"] == pytest.approx(right / total, abs=1e-3)
    assert point["loss"] == pytest.approx(loss / total, rel=1e-4)
    assert point["images"] == 4


def test_points_appear_one_by_one_ends_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    view = world.view("anchor")
    sweep = world.studio.sweep(view)
    gate, seen = threading.Semaphore(0), []
    real = BoundNetwork.logits

    def slow(self, images, *rest):
        assert gate.acquire(timeout=20)
        return real(self, images, *rest)

    monkeypatch.setattr(BoundNetwork, "logits", slow)
    sweep.want(0.25)
    for count in range(1, 8):
        for _ in range(4):
            gate.release()
        until(lambda count=count: len(sweep.points) >= count)
        seen.append(set(sweep.points))
        assert sweep.snapshot()["done"] == len(set(sweep.points) - {"a", "b"}), (
            "A and B alone are no points of the curve"
        )
    assert seen[0] == {"a"} and seen[1] == {"a", "b"} and seen[4] == {"a", "b", 0.0, 1.0, 0.5}
    snapshot = finished(sweep)
    assert snapshot["done"] == snapshot["total"] == 5 and snapshot["fraction"] == 1


def test_cancel_takes_effect_within_a_second_and_keeps_what_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = world.studio.sweep(world.view())
    real = BoundNetwork.logits
    monkeypatch.setattr(BoundNetwork, "logits", lambda *given: (time.sleep(0.01), real(*given))[1])
    sweep.want(0.01)
    until(lambda: len(sweep.points) >= 3)
    asked = time.monotonic()
    sweep.cancel()
    snapshot = finished(sweep)
    assert time.monotonic() - asked < 1
    assert snapshot["state"] == "cancelled" and 1 <= snapshot["done"] < snapshot["total"] == 101
    kept = dict(sweep.points)
    sweep.want_point(0.123)
    snapshot = finished(sweep)
    assert snapshot["state"] == "done" and set(sweep.points) == {*kept, 0.123}, "the cancelled rest stays cancelled"
    assert all(sweep.points[point] == figures for point, figures in kept.items())


def test_a_wish_comes_before_the_rest_and_none_is_lost(world: World) -> None:
    sweep = world.studio.sweep(world.view())
    wishes = [round(0.001 + number * 0.02, 6) for number in range(25)]
    for alpha in wishes:
        sweep.want_point(alpha)
    until(lambda: set(wishes) <= set(sweep.points))
    assert finished(sweep)["state"] == "done"
    for alpha in (1.5, -0.1, float("nan")):
        with pytest.raises(UsageError):
            sweep.want_point(alpha)


def test_the_same_sweep_again_needs_no_forward_pass_also_after_a_restart(world: World, forwards: list[int]) -> None:
    view = world.view()
    sweep = world.studio.sweep(view)
    assert world.studio.sweep(world.view()) is sweep, "one sweep for all sessions"
    sweep.want(0.25)
    sweep.want_point(0.111)
    until(lambda: sweep.state == "done" and len(sweep.points) == 8)
    first = sweep.snapshot()
    assert len(forwards) == 4 * 6, "alpha 0 and 1 are B and A themselves"
    forwards.clear()
    sweep.want(0.25)
    assert finished(sweep)["points"] == first["points"]
    again = world.reopened()
    recalled = again.studio.sweep(again.view())
    assert recalled.state == "done"
    assert recalled.snapshot()["points"] == first["points"], "with the points that no grid has"
    recalled.want(0.25)
    assert finished(recalled)["points"] == first["points"]
    assert (
        again.studio.evaluate(again.studio.workspace.get("a").checkpoint, again.view().pictures)["miou"]
        == first["a"]["miou"]
    )
    assert forwards == []
    again.studio.store.close()


def test_ends_that_are_known_are_no_curve(world: World) -> None:
    """A checkpoint that was measured alone is the point at its end: nothing of a curve is done by that."""
    world.studio.evaluate(world.studio.workspace.get("a").checkpoint, world.view().pictures)
    again = world.reopened()
    sweep = again.studio.sweep(again.view())
    found = sweep.snapshot()
    assert [point["alpha"] for point in found["points"]] == [1.0] and found["state"] == "idle"
    sweep.measure_points((0.5,))
    assert sweep.snapshot()["state"] == "done"
    again.studio.store.close()


def test_other_content_is_another_sweep(world: World) -> None:
    studio = world.studio
    sweeps = {
        id(studio.sweep(studio.view(Selection(a, b, world.source, None, buffers))))
        for a, b in (("a", "b"), ("b", "a"))
        for buffers in ("average", "gaussian")
    }
    assert len(sweeps) == 4


def test_a_frame_goes_before_the_next_picture_of_a_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = world.studio.sweep(world.view())
    real, order = BoundNetwork.logits, []

    def noted(self, images, *rest):
        order.append("frame" if threading.current_thread() is not None and self is frames else "sweep")
        time.sleep(0.01)
        return real(self, images, *rest)

    view = world.view()
    view.frame(0, 0.9)
    frames = view._blend.network
    monkeypatch.setattr(BoundNetwork, "logits", noted)
    sweep.want(0.05)
    until(lambda: order)
    before = len(order)
    view.frame(1, 0.35)
    assert order[before:].index("frame") <= 3, "merge and forward pass of a frame each wait for one picture at most"
    sweep.cancel()
    finished(sweep)


def test_a_fresh_measurement_takes_nothing_from_the_store(world: World, forwards: list[int]) -> None:
    sweep = world.studio.sweep(world.view())
    first = sweep.measure(0.5)
    forwards.clear()
    progress: list[tuple[int, int]] = []
    second = sweep.measure(0.5, lambda *at: progress.append(at), fresh=True)
    assert second == first and len(forwards) == 4 * 3, "A, B and the middle: alpha 1 and 0 are A and B themselves"
    assert all(done <= total for done, total in progress)


# --- where something is missing ---------------------------------------------------------------------------------------


def test_pictures_without_masks_can_be_looked_at_but_not_measured(tmp_path: Path) -> None:
    with tiny_world(tmp_path, data=(f"pictures:{folder_data(tmp_path / 'plain', 3, masks=False)}",)) as world:
        view = world.view()
        assert view.obstacle is None and view.truth(0) is None
        frame = view.frame(0, 0.3)
        assert frame.about["miou"] is None
        odds = forward(0.3, view.pictures.load(0).image)
        assert (decoded(frame.png)[..., 0] == odds.argmax(0).numpy()).mean() > 0.99
        sweep = world.studio.sweep(view)
        sweep.want(0.5)
        snapshot = finished(sweep)
        assert snapshot["state"] == "failed" and "no masks" in snapshot["message"]
        assert snapshot["points"] == [] and snapshot["best"] is None
        with pytest.raises(UsageError, match="no masks"):
            sweep.measure(0.5)


def test_without_data_the_view_and_the_sweep_say_what_is_missing(world: World) -> None:
    view = world.view(source="")
    assert view.obstacle is not None and "Workspace page" in view.obstacle
    with pytest.raises(UsageError, match="dataset"):
        view.frame(0, 0.5)
    sweep = world.studio.sweep(view)
    sweep.want(0.5)
    snapshot = finished(sweep)
    assert snapshot["state"] == "failed" and "dataset" in snapshot["message"]
    assert world.studio.export(view, 0.5).path.exists()


def test_an_unknown_network_can_be_merged_but_not_looked_at(tmp_path: Path) -> None:
    for seed, name in ((1, "x"), (2, "y")):
        (tmp_path / "files").mkdir(exist_ok=True)
        saved(
            tmp_path / "files" / f"{name}.safetensors",
            {"w": torch.randn(5, generator=torch.Generator().manual_seed(seed))},
        )
    studio = Studio(
        Options(
            (tmp_path / "files",), (f"folder:{folder_data(tmp_path / 'data', 2)}",), demo=False, home=tmp_path / "home"
        )
    )
    view = studio.view(Selection("x", "y", studio.workspace.sources[0].name, None))
    assert view.obstacle is not None and "--model" in view.obstacle
    with pytest.raises(ArchitectureError, match="--model"):
        view.frame(0, 0.5)
    sweep = studio.sweep(view)
    sweep.want(0.5)
    snapshot = finished(sweep)
    assert snapshot["state"] == "failed" and "--model" in snapshot["message"]
    merged = open_checkpoint(studio.export(view, 1.0).path).read("w")
    assert torch.equal(merged, studio.workspace.get("x").checkpoint.read("w"))
    with pytest.raises(ArchitectureError, match="--model"):
        studio.evaluate(studio.workspace.get("x").checkpoint, view.pictures)
