"""What a search can choose by beside mIoU: ECE out of the same passes, and the harmonic mean over domains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, counted_forwards, folder_data, tiny_checkpoints, tiny_registered
from PIL import Image

from fusionlib.cli import main
from fusionlib.contracts import IGNORE, MEASURES
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.bootstrap import resampled_harmonics, resampled_scores
from fusionlib.errors import UsageError
from fusionlib.measures.observation import Observation
from fusionlib.question import Question
from fusionlib.studies.candidates import over, subsets_of
from fusionlib.studies.means import harmonic
from fusionlib.studio import Options, Studio
from fusionlib.studio.found import candidate_of
from fusionlib.studio.search import SearchWork
from fusionlib.studio.wanted import Wanted


class Bench:
    """Three tiny checkpoints, two towns, and a studio on a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = tiny_checkpoints(folder / "files", 3)
        folder_data(folder / "town", 5)
        for path in (folder_data(folder / "fog", 2) / "images").iterdir():
            with Image.open(path) as picture:
                picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
        self.studio = Studio(Options(demo=False, home=folder / "home", device="cpu", checkpoints=()))

    def data(self, *names: str) -> list[DecodedCache]:
        return [self.studio.workspace.open_pictures(f"folder:{self.folder / name}", None) for name in names]

    def work(self, name: str, score: str, *data: str, members: int = 2, **settings: Any) -> SearchWork:
        pictures = self.data(*data)
        wanted = Wanted(name, settings, score)
        return self.studio.searches.of(self.checkpoints[:members], pictures, pictures, wanted)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tiny_registered():
        yield Bench(tmp_path_factory.mktemp("scores"))


# --- ECE -------------------------------------------------------------------------------------------------------------


def test_ece_is_that_of_every_network_and_costs_no_pass_of_its_own(bench: Bench, monkeypatch) -> None:
    seen = counted_forwards(monkeypatch)
    first = bench.work("grid", "miou", "town", step=0.25).measure()
    assert len(seen) == 25 and "ece" not in first["evaluations"][0]["select"]
    work = bench.work("grid", "ece", "town", step=0.25)
    found = work.measure()
    assert len(seen) == 25, "every pass over masks has brought it"
    scores = []
    for one in found["evaluations"]:
        recipe = work.study.networks.recipe(candidate_of(one))
        (answer,) = bench.studio.runner.ask(
            [Question((recipe,), work.select[0].fingerprint(), "calibration")], work.select[0]
        )
        assert one["select"]["ece"] == answer.figures["ece_sample_weighted"]
        scores.append(one["select"]["ece"])
    assert found["best"]["select"]["ece"] == min(scores)


def test_ensembles_that_are_counted_together_bring_their_ece_in_the_same_pass(bench: Bench, monkeypatch) -> None:
    seen = counted_forwards(monkeypatch)
    found = bench.work("greedy-ensemble", "ece", "fog", members=3).measure()
    assert len(seen) == 3 * 2 == found["forward_passes_search"]
    assert all(0 <= one["select"]["ece"] <= 1 for one in found["evaluations"])


def test_the_ece_of_a_subset_is_that_of_its_mean_of_probabilities() -> None:
    measure, generator = MEASURES.get("ensembles_calibration"), torch.Generator().manual_seed(5)
    truth = torch.randint(0, 5, (1, 20, 30), generator=generator, dtype=torch.uint8)
    truth[0, :3] = IGNORE
    seen = [Observation(torch.randn(1, 5, 20, 30, generator=generator) * 3, truth) for _ in range(4)]
    state, single = measure.init(5, CPU, 4), MEASURES.get("calibration")
    measure.update(state, *seen)
    figures = measure.compute(state)["ensemble_ece"]
    for place, members in enumerate(subsets_of(4)):
        own = single.init(5, CPU)
        mean = sum(seen[one].logits.softmax(1) for one in members[1:]) + seen[members[0]].logits.softmax(1)
        single.update(own, Observation((mean / len(members)).log(), truth))
        assert figures[place] == pytest.approx(single.compute(own)["ece_sample_weighted"], abs=1e-6)
    assert measure.compute(measure.init(5, CPU, 2)) == {"ensemble_ece": [None]}


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_are_measured_on_a_third_split_where_one_is_named(bench: Bench) -> None:
    town, fog = bench.data("town", "fog")
    bare = bench.studio.workspace.open_pictures(f"pictures:{bench.folder / 'fog' / 'images'}", None)
    usual, third = (
        bench.studio.searches.of(bench.checkpoints[:2], [town], [town], Wanted("swa"), looked_at)
        for looked_at in (None, bare)
    )
    before, after = usual.measure(), third.measure()
    assert before["statistics"] == {"data": town.spec, "images": 5}
    assert after["statistics"] == {"data": bare.spec, "images": 2}, "they need no masks"
    assert before["best"]["select"]["loss"] != after["best"]["select"]["loss"]
    assert third.best.calibration.fingerprint == bare.fingerprint() and third.best.calibration.count == 2
    greedy = bench.studio.searches.of(bench.checkpoints[:2], [town], [town], Wanted("greedy"), fog)
    assert greedy.measure()["statistics"] == {"data": fog.spec, "images": 2}
    assert bench.work("grid", "miou", "town", step=0.5).measure()["statistics"] is None
    with pytest.raises(UsageError, match="--buffers recalibrate"):
        bench.studio.searches.of(bench.checkpoints[:2], [town], [town], Wanted("grid"), fog)


# --- harmonic mean ---------------------------------------------------------------------------------------------------


def test_the_harmonic_mean_is_over_the_domains_of_each_network(bench: Bench) -> None:
    work = bench.work("grid", "harmonic", "town", "fog", step=0.25)
    found = work.measure()
    assert json.loads(json.dumps(found)) == found and found["select"]["domains"] == [one.spec for one in work.select]
    for one in found["evaluations"]:
        each = [
            bench.studio.runner.measure(work.study.networks.recipe(candidate_of(one)), data) for data in work.select
        ]
        scores = [figures["miou"] for figures in each]
        assert [domain["miou"] for domain in one["select"]["domains"]] == scores
        assert one["select"]["harmonic"] == harmonic(scores) and one["select"]["images"] == 7
    best, ends = found["best"]["select"], [one for one in found["evaluations"] if 1.0 in one["weights"]]
    assert best["harmonic"] == max(one["select"]["harmonic"] for one in found["evaluations"])
    assert best["gain"] == best["harmonic"] - max(one["select"]["harmonic"] for one in ends)
    assert found["forward_passes_search"] == 5 * 7
    assert found["best"]["interval"] is None, "two pictures of fog are too few to resample"


@pytest.mark.parametrize("name", ["adaptive", "star", "subsets", "swa", "evolve", "greedy"])
def test_every_strategy_that_looks_at_scores_alone_takes_several(bench: Bench, name: str) -> None:
    settings = {"evolve": {"budget": 140, "population": 6, "unit": "part"}, "star": {"step": 0.5}}.get(name, {})
    work = bench.work(name, "harmonic", "town", "fog", **settings)
    before = bench.studio.runner.tally.run
    found = work.measure()
    assert found["state"] == "done" and found["best"]["report"]["harmonic"] is not None
    assert found["forward_passes_search"] + found["forward_passes_beside"] >= bench.studio.runner.tally.run - before
    assert all(0 <= ray["oracle"] <= 1 for ray in found.get("rays", ()))


def test_a_domain_at_zero_makes_it_zero_and_one_without_a_figure_none() -> None:
    figures = {"pixel_accuracy": 0.5, "loss": 1.0, "images": 3}
    told = [over([{"miou": one, **figures} for one in row], "harmonic") for row in ((0.6, 0.3), (1, 0), (0.5, None))]
    assert [one["harmonic"] for one in told] == [pytest.approx(0.4), 0, None]
    assert told[0]["images"] == 6 and over([{"miou": 0.7, **figures}], "harmonic")["harmonic"] == 0.7


def test_resampled_it_is_the_harmonic_mean_of_each_domain_drawn_by_itself() -> None:
    rng = np.random.default_rng(2)

    def totals(units: int, classes: int) -> np.ndarray:
        right = rng.integers(1, 9, (units, classes))
        return np.stack([right, right + rng.integers(0, 9, right.shape), right + rng.integers(0, 9, right.shape)], 1)

    town, fog = ([totals(units, classes).astype(float) for _ in range(3)] for units, classes in ((6, 3), (8, 4)))
    alone = resampled_harmonics([[one] for one in town], resamples=50)
    assert np.array_equal(alone, resampled_scores(town, resamples=50))
    both = resampled_harmonics(list(zip(town, fog, strict=True)), resamples=50)
    other = np.random.default_rng((0, 1)).multinomial(8, np.full(8, 1 / 8), 50)
    for draw in range(50):
        sums = [np.tensordot(other[draw], one, 1) for one in fog]
        mious = [float((one[0] / (one[1] + one[2] - one[0])).mean()) for one in sums]
        assert both[draw] == pytest.approx([harmonic(pair) for pair in zip(alone[draw], mious, strict=True)])
    fog[0][:, 0] = 0  # nothing right
    assert not resampled_harmonics(list(zip(town, fog, strict=True)), resamples=5)[:, 0].any()
    assert resampled_harmonics([[town[0], fog[0][:4]]]) is None


def test_the_verb_takes_domains_and_says_the_harmonic_mean(
    bench: Bench, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    arguments = [
        "search",
        *(str(one.path) for one in bench.checkpoints[:2]),
        "--set",
        "step=0.5",
        "--score",
        "harmonic",
    ]
    arguments += ["--select", "folder:town", "--select", "folder:fog", "--report", "folder:fog", "--home", "home"]
    main([*arguments, "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert len(found["best"]["select"]["domains"]) == 2 and found["best"]["report"]["images"] == 2
    main([*arguments, "--device", "cpu"])
    assert f"{100 * found['best']['select']['harmonic']:.2f}" in capsys.readouterr().out
