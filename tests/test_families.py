"""Networks of one family: sets with what they are worth, snapshots on lines to the last, runs of learning rates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.barrier import barrier
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import DataError, LayoutError, UsageError
from fusionlib.measures.calibrated_likelihood import calibrated_log_likelihood
from fusionlib.measures.observation import UNIT
from fusionlib.question import Question
from fusionlib.recipe import Source, checkpoint_alone
from fusionlib.studies.sets import NetworkSet
from fusionlib.studies.snapshots import Snapshots
from fusionlib.studio import Options, Studio, Wanted
from fusionlib.studio.rates import RunFiles
from tests.helpers import counted_forwards, folder_data, tiny_checkpoints, tiny_file, tiny_registered

PICTURES, COUNT = 4, 3


class Bench:
    """Three tiny checkpoints, pictures with masks, and studios on homes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.homes = folder, 0
        self.files = tiny_checkpoints(folder / "files", COUNT)
        folder_data(folder / "town", PICTURES)
        folder_data(folder / "plain", 2, masks=False)

    def studio(self, home: str | None = None) -> Studio:
        self.homes += 1
        return Studio(Options(demo=False, home=self.folder / (home or f"home-{self.homes}"), device="cpu"))

    def town(self, studio: Studio, limit: int | None = None) -> DecodedCache:
        return studio.workspace.open_pictures(f"folder:{self.folder / 'town'}", None, limit)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tiny_registered():
        yield Bench(tmp_path_factory.mktemp("families"))


def plain(found: dict[str, Any]) -> dict[str, Any]:
    assert json.loads(json.dumps(found)) == found, "JSON values"
    return found


def without_state(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ("done", "total", "seconds_left", "fraction")}


def likelihood(studio: Studio, recipe: Any, pictures: DecodedCache) -> float | None:
    """Of one network, out of the measure of its temperature."""
    question = Question((recipe,), pictures.fingerprint(), "temperature")
    states = studio.runner.look_into(question, pictures)
    losses = np.stack([state["steps"].numpy() * UNIT for state in states])
    return calibrated_log_likelihood(losses, np.array([int(state["pixels"]) for state in states]))


# --- sets ------------------------------------------------------------------------------------------------------------


def test_a_set_is_what_its_networks_their_ensembles_and_their_mean_are_by_themselves(bench: Bench) -> None:
    studio = bench.studio()
    town = bench.town(studio)
    found = plain(studio.sets.of(bench.files, town).measure())
    assert found["state"] == "done" and found["cost"] == 0 and found["reason"] is None
    own = bench.studio()
    own.sources.know(bench.files, town)

    def figures(recipe: Any) -> dict[str, Any]:
        told = own.runner.measure(recipe, town, measures=("confusion", "loss", "calibration"))
        return {name: told[name] for name in ("miou", "pixel_accuracy", "loss")} | {"ece": told["ece_sample_weighted"]}

    def held(row: dict[str, Any], wanted: dict[str, Any]) -> None:
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)

    for row, file in zip(found["members"], bench.files, strict=True):
        assert row["name"] == file.name
        held(row, figures(recipe_alone(file)))
    for size in (2, 3):
        recipe = write_recipe(bench.files[:size], "ensemble", {}, "average")
        held(found["ensembles"][size - 1], figures(recipe))
        assert found["ensembles"][size - 1]["log_likelihood"] == pytest.approx(likelihood(own, recipe, town), abs=1e-6)
    soup = write_recipe(bench.files, "isotropic", {}, "average")
    held(found["soup"], figures(soup))
    assert found["soup"]["log_likelihood"] == pytest.approx(likelihood(own, soup, town))
    assert found["mean"]["miou"] == pytest.approx(np.mean([one["miou"] for one in found["members"]]))
    assert found["best"] == max(found["members"], key=lambda one: one["miou"])


def test_how_different_they_are_is_the_mean_of_pairs(bench: Bench) -> None:
    found = bench.studio().sets
    table = found.of(bench.files, bench.town(bench.studio())).measure()
    pairs = {tuple(one["members"]): one for one in table["pairs"]}
    assert list(pairs) == list(combinations(range(COUNT), 2))
    for name in ("disagreement", "correlation"):
        assert table[name] == pytest.approx(np.mean([one[name] for one in pairs.values()]))
        assert table["members"][0][name] == pytest.approx((pairs[0, 1][name] + pairs[0, 2][name]) / 2)
        sizes = [one[name] for one in table["ensembles"]]
        assert sizes == [None, pairs[0, 1][name], pytest.approx(table[name])]
    assert table["oracle_miou"] >= max(one["miou"] for one in table["members"])


def test_the_set_itself_is_its_own_measure_and_others_are_counted_in_the_reference(bench: Bench) -> None:
    studio = bench.studio()
    town = bench.town(studio)
    own = studio.sets.of(bench.files, town).measure()
    curve = [one["log_likelihood"] for one in own["ensembles"]]
    assert [one["log_likelihood"] for one in own["reference"]["curve"]] == curve and own["reference"]["itself"]
    rising = [size for size in (1, 2, 3) if curve[size - 1] == max(curve[:size])]
    assert [own["ensembles"][size - 1]["dee"] for size in rising] == pytest.approx(rising)
    assert own["ensembles"][0]["dee_text"] == "<= 1"
    other = plain(studio.sets.of(bench.files[:2], town, reference=bench.files[::-1]).measure())
    assert other["reference"]["names"] == ["c2", "c1", "c0"] and not other["reference"]["itself"]
    assert other["ensembles"][0]["log_likelihood"] == curve[0] and len(other["reference"]["curve"]) == COUNT
    turned = studio.sets.of(bench.files[::-1], town).measure()["ensembles"]
    assert [one["log_likelihood"] for one in other["reference"]["curve"]] == [one["log_likelihood"] for one in turned]
    best = max(one["log_likelihood"] for one in turned)
    for one in other["ensembles"]:
        assert (one["dee"] is None) == (one["log_likelihood"] > best) == (one["dee_text"] == "> 3")


def test_one_pass_of_each_network_brings_it_all_and_it_is_known_from_then_on(bench: Bench, monkeypatch) -> None:
    seen = counted_forwards(monkeypatch)
    studio = bench.studio("kept")
    work = studio.sets.of(bench.files, bench.town(studio))
    assert work.snapshot()["cost"] == (COUNT + 1) * PICTURES and work.state == "idle"
    first = work.measure()
    assert sum(seen) == (COUNT + 1) * PICTURES
    again = bench.studio("kept")
    known = again.sets.of(bench.files, bench.town(again))
    assert known.state == "done" and without_state(known.snapshot()) == without_state(first)
    assert sum(seen) == (COUNT + 1) * PICTURES
    part = again.sets.of(bench.files, bench.town(again, 2))
    assert part.state == "done" and part.snapshot()["images"] == 2, "states of pictures add"


def test_a_cancelled_set_goes_on_where_it_was(bench: Bench, monkeypatch) -> None:
    studio = bench.studio()
    work = studio.sets.of(bench.files, bench.town(studio))
    told = work.progress

    def stopping(done: int, total: int) -> None:
        told(done, total)
        if done == 2 * COUNT:
            work.cancel()

    monkeypatch.setattr(work, "progress", stopping)
    work.begin()
    work.wait()
    assert work.state == "cancelled"
    again = studio.sets.of(bench.files, bench.town(studio))
    left = again.snapshot()["cost"]
    assert left == (COUNT + 1) * PICTURES - 2 * COUNT, "two pictures are finished"
    seen = counted_forwards(monkeypatch)
    assert again.measure()["soup"]["miou"] is not None and sum(seen) == left


def test_networks_that_cannot_be_averaged_still_answer_together(bench: Bench, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_tensors(tmp_path / "other.safetensors", ARCHITECTURES.get("enet").build(20).state_dict())
    tiny = open_checkpoint(tiny_file(tmp_path, "tiny", 1, classes=20))
    studio = bench.studio()
    files = [tiny, open_checkpoint(tmp_path / "other.safetensors")]
    found = plain(studio.sets.of(files, bench.town(studio, 2)).measure())
    assert found["soup"]["miou"] is None and "tensor" in found["soup"]["reason"]
    assert found["ensembles"][1]["miou"] is not None and found["correlation"] is not None


def test_what_is_no_set_is_refused_before_anything_runs(bench: Bench, tmp_path: Path) -> None:
    studio = bench.studio()
    town, unlabelled = bench.town(studio), studio.workspace.open_pictures(f"pictures:{bench.folder / 'plain'}", None)
    with pytest.raises(UsageError, match="2 to 64"):
        studio.sets.of(bench.files[:1], town)
    with pytest.raises(UsageError, match="The reference of 1 network"):
        studio.sets.of(bench.files, town, reference=bench.files[:1])
    with pytest.raises(DataError, match="no masks"):
        studio.sets.of(bench.files, unlabelled)
    others = open_checkpoint(tiny_file(tmp_path, "wide", 1, classes=19))
    with pytest.raises(UsageError, match="same classes"):
        studio.sets.of([bench.files[0], others], town)
    with pytest.raises(UsageError, match="polic"):
        studio.sets.of(bench.files, town, "nonsense")


def test_sets_can_be_planned_as_any_study() -> None:
    members = [checkpoint_alone(Source(path=f"{letter}.pth", fingerprint=letter * 64)) for letter in "abc"]
    study = NetworkSet.planned(members, "d")
    (step,) = study.steps({})
    assert {len(one.recipes) for one in step.questions} == {1, 3} and study.names == ("a", "b", "c")
    table = study.table({})
    assert table["disagreement"] is None and table["members"][2]["miou"] is None and len(table["pairs"]) == 3
    with pytest.raises(UsageError, match="two or more"):
        NetworkSet.planned(members[:1], "d")


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_lines_lead_from_every_snapshot_to_the_last(bench: Bench, monkeypatch) -> None:
    seen = counted_forwards(monkeypatch)
    studio = bench.studio("lines")
    data = [bench.town(studio), bench.town(studio, 2)]
    work = studio.snapshots.of(bench.files, data, step=0.25)
    assert work.snapshot()["cost"] == (COUNT + 2 * 3) * (PICTURES + 2)
    found = plain(work.measure())
    assert sum(seen) == (COUNT + 2 * 3) * PICTURES, "the second data are pictures of the first"
    assert [one["name"] for one in found["lines"]] == ["c0", "c1"] and found["last"] == "c2"
    assert [one["images"] for one in found["data"]] == [PICTURES, 2]
    studio.sources.know(bench.files)
    for place, pictures in enumerate(data):
        for number, line in enumerate(found["lines"]):
            points = line["data"][place]["points"]
            assert [one["alpha"] for one in points] == [0, 0.25, 0.5, 0.75, 1]
            assert points[0]["loss"] == found["snapshots"][number]["data"][place]["loss"]
            assert points[-1]["miou"] == found["snapshots"][-1]["data"][place]["miou"]
            middle = write_recipe([bench.files[-1], bench.files[number]], "linear", {"alpha": 0.25}, "average")
            assert points[1]["loss"] == studio.runner.measure(middle, pictures)["loss"]
            heights = line["data"][place]["barriers"]["loss"]
            alphas, losses = zip(*((one["alpha"], one["loss"]) for one in points), strict=True)
            assert heights == {mode: barrier(alphas, losses, mode) for mode in ("entezari", "frankle")}
            best = max(points[1:-1], key=lambda one: one["miou"])
            assert line["data"][place]["best"] == {"alpha": best["alpha"], "miou": best["miou"]}
    again = bench.studio("lines")
    assert again.snapshots.of(bench.files, [bench.town(again)], step=0.25).state == "done"


def test_snapshots_that_do_not_fit_are_refused(bench: Bench, tmp_path: Path) -> None:
    studio = bench.studio()
    town = bench.town(studio)
    for files, data, step in ((bench.files[:1], [town], 0.1), (bench.files, [], 0.1), (bench.files, [town], 2)):
        with pytest.raises(UsageError):
            studio.snapshots.of(files, data, step=step)
    wide = open_checkpoint(tiny_file(tmp_path, "wide", 1, classes=19))
    with pytest.raises(LayoutError):
        studio.snapshots.of([*bench.files, wide], [town])
    merge = write_recipe(bench.files, "isotropic", {}, "average")
    with pytest.raises(UsageError, match="merges"):
        Snapshots.planned([merge, merge], "d")


# --- learning rates --------------------------------------------------------------------------------------------------


def runs_of(files: list[Checkpoint]) -> list[RunFiles]:
    return [RunFiles("0.002", tuple(files[1:])), RunFiles("large", (files[2],))]


def test_rates_are_the_star_of_every_run(bench: Bench, monkeypatch) -> None:
    studio = bench.studio("rates")
    town = bench.town(studio)
    seen = counted_forwards(monkeypatch)
    work = studio.rates.of(bench.files[0], runs_of(bench.files), town, step=0.25)
    found = plain(work.measure())
    assert sum(seen) <= (COUNT + 2 * 3 + 2 + 1) * PICTURES, "the start is looked at again with each, for the oracle"
    assert [one["rate"] for one in found["runs"]] == [0.002, None]
    wanted = Wanted("star", {"step": 0.25})
    star = studio.searches.of(bench.files, [town], [town], wanted).measure()
    for epoch, ray in zip(found["runs"][0]["epochs"], star["rays"], strict=True):
        assert {name: epoch[name] for name in ("alpha", "fused", "single", "loss", "oracle", "cosine")} == {
            name: ray[name] for name in ("alpha", "fused", "single", "loss", "oracle", "cosine")
        }
        assert [one["alpha"] for one in epoch["curve"]] == [0, 0.25, 0.5, 0.75, 1]
        assert max(one["miou"] for one in epoch["curve"]) == epoch["fused"]
    best = max(found["runs"][0]["epochs"], key=lambda one: one["fused"])
    assert found["runs"][0]["best"]["name"] == best["name"]
    assert found["runs"][0]["gain"] == pytest.approx(best["fused"] - found["start"]["miou"])
    mean = write_recipe(bench.files, "isotropic", {}, "average")
    assert found["runs"][0]["mean"]["miou"] == studio.runner.measure(mean, town)["miou"]
    again = bench.studio("rates")
    known = again.rates.of(bench.files[0], runs_of(bench.files), bench.town(again), step=0.25)
    assert known.state == "done" and without_state(known.snapshot()) == without_state(found)


def test_what_rates_cost_is_told_before_and_never_grows(bench: Bench) -> None:
    studio = bench.studio()
    work = studio.rates.of(bench.files[0], runs_of(bench.files), bench.town(studio), step=0.25)
    totals: list[int] = []
    foretold = work.cost()
    work.run(progress=lambda done, total: totals.append(total))
    assert foretold == (COUNT + 2 * 3 + 1 + 1) * PICTURES, "networks; merges of the two runs' rays; means of the runs"
    assert max(totals) <= foretold + 2 * PICTURES and work.cost() == 0


@pytest.mark.parametrize(
    ("runs", "words"), [([], "No run"), ([("a", 0)], "0 epochs of run a"), ([("a", 1), ("a", 1)], "Two runs called a")]
)
def test_runs_without_epochs_or_a_name_of_their_own_are_refused(bench: Bench, runs: list, words: str) -> None:
    studio = bench.studio()
    files = [RunFiles(name, tuple(bench.files[1 : 1 + count])) for name, count in runs]
    with pytest.raises(UsageError, match=words):
        studio.rates.of(bench.files[0], files, bench.town(studio))


# --- the verbs -------------------------------------------------------------------------------------------------------


def said(bench: Bench, capsys: pytest.CaptureFixture[str], *arguments: str, json_too: bool = True) -> Any:
    home = str(bench.folder / "verbs")
    main([*arguments, "--data", f"folder:{bench.folder / 'town'}", "--home", home, *(["--json"] if json_too else [])])
    out = capsys.readouterr().out
    return json.loads(out) if json_too else out


def test_the_verbs_say_it_as_json_and_for_people(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(one.path) for one in bench.files]
    found = said(bench, capsys, "sets", *files, "--reference", ",".join(files[::-1]))
    assert {"members", "pairs", "ensembles", "soup", "mean", "best", "disagreement", "correlation"} <= set(found)
    assert (
        found["reference"]["names"] == ["c2", "c1", "c0"] and found["forward_passes"] == (COUNT + 1 + COUNT) * PICTURES
    )
    text = said(bench, capsys, "sets", *files, json_too=False)
    assert "first 3 together" in text and "mean of the weights" in text and "No forward passes run" in text
    lines = said(bench, capsys, "snapshots", *files, "--step", "0.5")
    assert len(lines["lines"]) == 2 and lines["data"][0]["images"] == PICTURES
    text = said(bench, capsys, "snapshots", *files, "--step", "0.5", json_too=False)
    assert "alpha its weight" in text and "c2" in text
    rates = said(bench, capsys, "rates", files[0], "--run", "0.01", *files[1:], "--step", "0.5")
    assert rates["runs"][0]["rate"] == 0.01 and len(rates["runs"][0]["epochs"]) == 2
    text = said(bench, capsys, "rates", files[0], "--run", "0.01", *files[1:], "--step", "0.5", json_too=False)
    assert "oracle" in text and "optimistic" in text


def test_a_run_is_gone_on_with_by_its_command_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(one.path) for one in bench.files]
    first = said(bench, capsys, "sets", *files, "--reference", ",".join(files))
    main(["runs", "--home", str(bench.folder / "verbs"), "--json"])
    kinds = [one["kind"] for one in json.loads(capsys.readouterr().out)["runs"]]
    assert "sets" in kinds and first["forward_passes"] == 0


@pytest.mark.parametrize("arguments", [["sets", "{0}"], ["snapshots", "{0}"], ["rates", "{0}", "--run", "0.1"]])
def test_too_few_files_are_refused_in_one_line(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit):
        said(bench, capsys, *(one.format(bench.files[0].path) for one in arguments))
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
