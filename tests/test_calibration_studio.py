"""Calibration of views in the background, ensembles, temperature, pairs, pictures of bins, and the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, tiny_file, tiny_world, until

from fusionlib.cli import main
from fusionlib.contracts import IGNORE, MEASURES
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.scaling import scaled
from fusionlib.errors import DataError, UsageError
from fusionlib.imaging.highlight import RIGHT, WRONG, highlight
from fusionlib.measures.bins import OFFERED_BINS
from fusionlib.measures.observation import Observation, first_maximum
from fusionlib.measures.states import add
from fusionlib.studio import CALIBRATED, CalibrationSweep, Selection, band, ensemble_point

FIGURES = (
    "ece_sample_weighted",
    "ece_unweighted",
    "mce",
    "adaptive_ece",
    "classwise_ece",
    "brier",
    "nll",
    "kl",
    "js",
    "auroc",
)


@pytest.fixture
def world(tmp_path: Path):
    with tiny_world(tmp_path, count=3) as made:
        yield made


class Fixed:
    """A network that always answers the same logits, `temperature` times too sure."""

    device = CPU

    def __init__(self, logits: torch.Tensor) -> None:
        self.answer = logits

    def logits(self, images, size=None):
        return self.answer.clone()


def test_a_view_is_measured_in_the_background_and_found_again_after_a_restart(world) -> None:
    sweep = world.studio.calibration.sweep(world.view())
    assert sweep is world.studio.calibration.sweep(world.view())
    assert sweep.summary("a") is None
    points = ("a", "b", 0.25, ensemble_point(0.25))
    sweep.want_points(points)
    sweep.wait(30)
    assert sweep.state == "done", sweep.message
    before = {point: sweep.summary(point) for point in points}
    for figures in before.values():
        assert all(figures[name] is not None and math.isfinite(figures[name]) for name in FIGURES)
        assert sum(bin["count"] for bin in figures["bins"]) == figures["pixels"] > 0
    again = world.reopened()
    found = again.studio.calibration.sweep(again.view())
    assert {point: found.summary(point) for point in points} == before
    assert [point["alpha"] for point in found.curve()] == [0.0, 0.25, 1.0], "the ends of the path are A and B"
    found.want_points(points)
    found.wait(30)
    assert again.studio.runner.tally.run == 0, "nothing was measured again"


def test_an_ensemble_is_the_softmax_mean_and_its_ends_are_the_members(world) -> None:
    view = world.view()
    sweep = world.studio.calibration.sweep(view)
    sweep.want_points(("a", "b", ensemble_point(1.0), ensemble_point(0.0)))
    sweep.wait(30)
    for end, point in (("a", ensemble_point(1.0)), ("b", ensemble_point(0.0))):
        assert sweep.summary(point)["nll"] == pytest.approx(sweep.summary(end)["nll"], abs=1e-5)
    networks = []
    for number in range(2):
        blend = view.new_blend()
        blend.set_alone(number, world.studio.worker.run)
        networks.append(blend.network)
    image = view.pictures.load(0).image[None]
    said = OutputEnsemble(networks, (0.3, 0.7)).logits(image).softmax(1)
    parts = [network.logits(image).softmax(1) for network in networks]
    assert torch.allclose(said, 0.3 * parts[0] + 0.7 * parts[1], atol=1e-6)
    with pytest.raises(UsageError):
        OutputEnsemble(networks, (0.3, 0.3))


def test_an_ensemble_of_five_is_measured_and_seen_with_all_of_them(world, tmp_path: Path) -> None:
    files = [tiny_file(tmp_path, f"m{seed}", seed) for seed in range(5)]
    pictures = world.view().pictures
    sweep = CalibrationSweep(
        world.studio.views.view_files(files, lambda: pictures, "average"), world.studio.runner, world.studio.store
    )
    point = ensemble_point(0.2)
    sweep.want_points((point,))
    sweep.wait(30)
    assert sweep.recipe_at(point).parameters["weights"] == [0.2] * 5
    counts = [one["count"] for one in sweep.summary(point, 10)["bins"]]
    for number in range(10):
        found = [sweep.where(point, index, 10, number) for index in range(len(pictures))]
        assert sum(right + wrong for _, right, wrong in found) == counts[number]


def test_a_cancelled_calibration_keeps_what_it_has(world) -> None:
    sweep = world.studio.calibration.sweep(world.view())
    sweep.want(0.01)
    until(lambda: len(sweep.points) >= 2)
    sweep.cancel()
    sweep.wait(30)
    assert sweep.state in ("cancelled", "done") and 2 <= len(sweep.points) <= 103


def test_a_plain_sweep_brings_calibration_and_does_not_carry_it_about(world) -> None:
    view = world.view()
    plain = world.studio.sweep(view)
    plain.measure(1.0)
    sweep = world.studio.calibration.sweep(view)
    assert sweep.summary("a") is not None and plain.points, "every pass over masks feeds it"
    sweep.want(1.0)
    sweep.wait(30)
    assert sweep.points["a"]["miou"] == plain.points["a"]["miou"]
    assert sweep.points["a"]["loss"] == pytest.approx(plain.points["a"]["loss"], abs=1e-6)
    assert "calibration" not in plain.points["a"]
    checkpoint = world.studio.workspace.get("a").checkpoint
    known = world.studio.evaluate(checkpoint, view.pictures, measures=CALIBRATED)
    assert known["calibration"] == sweep.points["a"]["calibration"], "one question, one answer, whoever asks"


def test_pictures_show_where_the_pixels_of_a_bin_are(world) -> None:
    sweep = world.studio.calibration.sweep(world.view())
    sweep.want_points(("a", ensemble_point(0.5)))
    sweep.wait(30)
    for point in ("a", ensemble_point(0.5)):
        bins = sweep.summary(point, 10)["bins"]
        for number in range(10):
            found = [sweep.where(point, index, 10, number) for index in range(3)]
            assert sum(right for _, right, _ in found) == bins[number]["correct"]
            assert sum(wrong for _, _, wrong in found) == bins[number]["wrong"]
            picture, right, _ = found[0]
            assert int((picture == np.array(RIGHT, np.uint8)).all(-1).sum()) == right
    by_class = [sweep.where("a", 0, 10, 9, label)[1] for label in range(4)]
    assert sum(by_class) == sweep.where("a", 0, 10, 9)[1]
    for wrong in ((5, 0), (0, 10)):
        with pytest.raises(UsageError):
            sweep.where("a", wrong[0], 10, wrong[1])


def test_highlighting_colours_the_masks_and_dims_the_rest() -> None:
    image = np.full((2, 3, 3), 200, np.uint8)
    right, wrong = np.zeros((2, 3), bool), np.zeros((2, 3), bool)
    right[0, 0] = wrong[1, 2] = True
    shown = highlight(image, right, wrong)
    assert tuple(shown[0, 0]) == RIGHT and tuple(shown[1, 2]) == WRONG and tuple(shown[0, 1]) == (70, 70, 70)
    with pytest.raises(UsageError):
        highlight(image, right[:1], wrong)


# --- temperature -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.1, 3.7])
def test_temperature_never_changes_what_is_said(temperature: float) -> None:
    made = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 7, 60, 60, generator=made)
    near = torch.nextafter(logits[:, :1], torch.full_like(logits[:, :1], torch.inf))
    logits[:, 3:4] = near  # one step above class 0: division may make both equal, and class 0 would win
    assert torch.equal(first_maximum(scaled(logits, temperature))[1], first_maximum(logits)[1])
    with pytest.raises(DataError):
        scaled(logits, 0.0)


def fitted(logits: torch.Tensor, truths: list[torch.Tensor]) -> dict:
    measure = MEASURES.get("temperature")
    states = []
    for truth in truths:
        states.append(measure.init(logits.shape[1], CPU))
        measure.update(states[-1], Observation(logits, truth))
    return measure.compute(add(states))


def test_a_known_temperature_is_found() -> None:
    """Labels drawn from softmax(z): the logits k z then need T = k."""
    made = torch.Generator().manual_seed(0)
    true = torch.randn(1, 3, 48, 64, generator=made) * 1.5
    p = true.softmax(1)[0].permute(1, 2, 0).reshape(-1, 3)
    truths = [torch.multinomial(p, 1, generator=made).view(1, 48, 64).to(torch.uint8) for _ in range(4)]
    for factor in (0.5, 2.5):
        found = fitted(true * factor, truths)
        assert found["temperature"] == pytest.approx(factor, rel=0.04) and not found["at_limit"]
        assert found["nll_after"] <= min(loss for _, loss in found["losses"]) <= found["nll_before"]
    assert fitted(true * 100, truths)["at_limit"]
    assert fitted(true, [torch.full((1, 48, 64), IGNORE, dtype=torch.uint8)])["temperature"] is None


def test_the_fit_is_the_minimum_that_a_search_by_gradient_finds() -> None:
    """Cross-entropy in float64 over all pixels, minimised in log T to the last digits."""
    made = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 5, 40, 50, generator=made) * 3
    truth = torch.where(torch.rand(1, 40, 50, generator=made) < 0.4, logits.argmax(1), 2).to(torch.uint8)
    found = fitted(logits, [truth])
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(logits.double() / log_t.exp(), truth.long())
        value.backward()
        return value

    search.step(loss)
    assert found["temperature"] == pytest.approx(float(log_t.detach().exp()), rel=1e-3)
    assert found["nll_after"] == pytest.approx(float(loss().detach()), abs=1e-5)


def test_temperature_of_a_view_is_reported_stored_and_leaves_accuracy_alone(world) -> None:
    view = world.view()
    desk = world.studio.calibration
    job = desk.temperature(view, "a", view.pictures)
    assert job is desk.temperature(view, "a", view.pictures) and job.summaries() is None
    job.want()
    job.wait(30)
    assert job.state == "done", job.message
    before, after = job.summaries()
    assert after["miou"] == before["miou"] and after["accuracy"] == before["accuracy"]
    assert after["nll"] <= before["nll"] + 1e-6, "fitted and reported on the same pictures"
    again = world.reopened()
    stored = again.studio.calibration.temperature(again.view(), "a", again.view().pictures)
    assert stored.state == "done" and stored.fit == job.fit


def test_with_one_split_temperature_is_fitted_on_one_half_and_reported_on_the_other(world) -> None:
    view = world.view()
    job = world.studio.calibration.temperature(view, 0.5, None)
    assert [len(job.fit_on), len(job.report_on)] == [(len(view.pictures) + 1) // 2, len(view.pictures) // 2]
    names = [half.name(index) for half in (job.fit_on, job.report_on) for index in range(len(half))]
    assert sorted(names) == [view.pictures.name(index) for index in range(len(view.pictures))]
    assert job.key != world.studio.calibration.temperature(view, 0.5, view.pictures).key
    job.want()
    job.wait(30)
    assert job.state == "done", job.message
    before, after = job.summaries()
    whole = world.studio.calibration.sweep(view)
    whole.want_points((0.5,))
    whole.wait(30)
    assert (
        0 < before["pixels"] == after["pixels"] < whole.summary(0.5)["pixels"]
        and before["accuracy"] == after["accuracy"]
    )


def test_a_recipe_with_a_temperature_scales_its_logits(world) -> None:
    build, recipe = world.studio.runner.builder.build, world.view().recipe(0.5)
    plain, cool = build(recipe), build(recipe.model_copy(update={"temperature": 2.0}))
    image = world.view().need_pictures().load(0).image[None]
    assert torch.equal(cool.logits(image), plain.logits(image) / 2) and cool.key != plain.key
    assert build(recipe.model_copy(update={"temperature": 1.0})).key == plain.key


# --- all pairs -------------------------------------------------------------------------------------------------------


def test_all_pairs_are_measured_and_averaged(world) -> None:
    desk = world.studio.calibration
    pairs = desk.pairs(["a", "b"], world.source, None, "average")
    assert pairs is desk.pairs(["a", "b"], world.source, None, "average") and pairs.curves(0.5) == {}
    pairs.want(0.5)
    pairs.wait(30)
    assert pairs.state == "done", pairs.message
    curves = pairs.curves(0.5)
    assert list(curves) == [("a", "b")] and [point["alpha"] for point in curves["a", "b"]] == [0.0, 0.5, 1.0]
    assert (
        world.studio.calibration.sweep(world.studio.view(Selection("a", "b", world.source, None))).summary(0.5)["nll"]
        == curves["a", "b"][1]["nll"]
    )
    rows = band(list(curves.values()), "nll")
    assert (
        rows[0]["mean"]
        == rows[2]["mean"]
        == pytest.approx((curves["a", "b"][0]["nll"] + curves["a", "b"][2]["nll"]) / 2)
    )


def test_a_band_has_mean_lowest_and_highest() -> None:
    curves = [
        [{"alpha": 0.0, "x": 1.0}, {"alpha": 0.5, "x": 4.0}, {"alpha": 1.0, "x": 3.0}],
        [{"alpha": 0.0, "x": 5.0}, {"alpha": 0.5, "x": 6.0}, {"alpha": 1.0, "x": 5.0}],
    ]
    assert band(curves, "x")[0] == {"alpha": 0.0, "mean": 3.5, "low": 2.0, "high": 5.0}
    assert band(curves, "x", mirrored=False)[2] == {"alpha": 1.0, "mean": 4.0, "low": 3.0, "high": 5.0}
    curves[0][1]["x"] = None
    assert [row["alpha"] for row in band(curves, "x")] == [0.0, 1.0] and band([], "x") == []


def test_unlabelled_pictures_are_refused_in_words(tmp_path: Path) -> None:
    from helpers import folder_data

    plain = folder_data(tmp_path / "plain", 2, masks=False)
    with tiny_world(tmp_path, data=(f"pictures:{plain}",)) as world, pytest.raises(DataError, match="masks"):
        world.studio.calibration.sweep(world.view())


# --- command line ----------------------------------------------------------------------------------------------------


def test_evaluate_with_calibration_prints_the_contract(
    world, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [
        "evaluate",
        str(tmp_path / "files" / "a.pth"),
        "--data",
        f"folder:{tmp_path / 'data'}",
        "--home",
        str(tmp_path / "cli"),
    ]
    main([*arguments, "--calibration", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"ece_sample_weighted", "ece_unweighted", "mce", "kl", "brier", "nll", "bins", *FIGURES} <= set(found)
    assert [set(bin) >= {"low", "high", "count", "accuracy", "confidence"} for bin in found["bins"]] == [True] * 15
    assert found["nll"] == pytest.approx(found["loss"], abs=1e-6) and found["accuracy"] == found["pixel_accuracy"]
    assert sum(bin["count"] for bin in found["bins"]) == found["pixels"]
    assert all((bin["accuracy"] is None) == (bin["count"] == 0) for bin in found["bins"])
    for bins in OFFERED_BINS:
        main([*arguments, "--calibration", "--bins", str(bins), "--json"])
        assert len(json.loads(capsys.readouterr().out)["bins"]) == bins
    main([*arguments, "--calibration"])
    text = capsys.readouterr().out
    assert "ECE, sample-weighted" in text and "ECE, unweighted (the paper's)" in text
    main([*arguments, "--json"])
    assert "bins" not in json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--calibration", "--bins", "7"])
    assert stopped.value.code == 2 and "one of 10, 12" in capsys.readouterr().err
    for unread in (
        ["--bins", "15"],
        ["--rule", "softmax"],
    ):  # silently ignored, they would look as if they had been heeded
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, *unread])
        message = capsys.readouterr().err.strip()
        assert stopped.value.code == 2 and f"{unread[0]} {unread[1]} without" in message and "\n" not in message


def test_the_order_of_pictures_changes_no_bit(world) -> None:
    view = world.view()
    blend = view.new_blend()
    blend.set_alone(0, world.studio.worker.run)
    meter = MEASURES.get("calibration")
    states = []
    for order in ((0, 1, 2), (2, 0, 1)):
        state = meter.init(3, CPU)
        for index in order:
            sample = view.pictures.load(index)
            logits = blend.network.logits(sample.image[None], sample.truth.shape)
            meter.update(state, Observation(logits, torch.from_numpy(sample.truth)[None], None, 3))
        states.append(state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.real
def test_real_pictures_agree_with_a_separate_computation(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two CamVid pictures through ENet: softmax, grouping of classes and bins again in float64, pixel by pixel."""
    from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
    from fusionlib.studio import Options, Studio

    data = f"camvid:{real_data / 'camvid'}"
    file = real_data / "checkpoints" / "enet-cityscapes" / "epoch-030.pth"
    main(
        [
            "evaluate",
            str(file),
            "--data",
            data,
            "--split",
            "val",
            "--limit",
            "2",
            "--calibration",
            "--json",
            "--home",
            str(tmp_path),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    studio = Studio(Options(checkpoints=(file,), demo=False, home=tmp_path / "other", device="cpu"))
    pictures = studio.workspace.open_pictures(data, "val", 2)
    network = studio.views.sweep_files(file, file, lambda: pictures, "average").view.new_blend()
    network.set_alone(0, studio.worker.run)
    table = mapping(CITYSCAPES_VOID, CAMVID)
    confidences, rights = [], []
    for index in range(2):
        sample = pictures.load(index)
        z = network.network.logits(sample.image[None], sample.truth.shape)[0].double().numpy()
        p = np.exp(z - z.max(0)) / np.exp(z - z.max(0)).sum(0)
        said = table[z.argmax(0)]
        keep = sample.truth != IGNORE
        confidences.append(np.where(table[:, None, None] == said, p, 0).sum(0)[keep])
        rights.append((said == sample.truth)[keep])
    confidence, right = np.concatenate(confidences), np.concatenate(rights)
    place = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(right[place == bin].sum() - confidence[place == bin].sum()) for bin in range(15)]
    assert found["ece_sample_weighted"] == pytest.approx(sum(gaps) / len(right), abs=2e-6)
    assert found["accuracy"] == pytest.approx(right.mean()) and found["pixels"] == len(right)
    assert sum(abs(bin["count"] - int((place == number).sum())) for number, bin in enumerate(found["bins"])) <= 4, (
        "float32 at the edges"
    )
    studio.store.close()
