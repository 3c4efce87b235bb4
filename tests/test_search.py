"""Searches with networks and pictures: every strategy, what it costs, what is found, and what others have measured."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, counted_forwards, folder_data, tiny_checkpoints, tiny_file, tiny_registered, until
from PIL import Image

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import IGNORE, MEASURES, STRATEGIES
from fusionlib.data.cache import DecodedCache
from fusionlib.data.halves import halves
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import DataError, LayoutError, UsageError
from fusionlib.measures.confusion import mean_iou
from fusionlib.measures.observation import Observation
from fusionlib.question import Question
from fusionlib.recipe import read_recipe
from fusionlib.studies.candidates import subsets_of
from fusionlib.studio import Options, Selection, Studio
from fusionlib.studio.found import expected_passes
from fusionlib.studio.search import SearchWork
from fusionlib.studio.wanted import Wanted

SETTINGS: dict[str, dict[str, Any]] = {
    "grid": {"step": 0.25},
    "walk": {"step": 0.25},
    "star": {"step": 0.5},
    "subsets": {"step": 0.5, "draws": 2},
    "simplex": {"draws": 3, "steps": 4},
    "greedy": {"order": "random", "orders": 2},
    "evolve": {"budget": 120, "population": 6, "unit": "part"},
    "learned": {"epochs": 2},
    "learned-by-layer": {"epochs": 2},
}


class Bench:
    """Three tiny checkpoints, two sets of pictures, and studios on homes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = tiny_checkpoints(folder / "files", 3)
        folder_data(folder / "town", 6)
        for number, name in enumerate(("ant", "bee", "cat", "dog", "elk", "fox")):  # no frames of one sequence
            for kind in ("images", "masks"):
                (folder / "town" / kind / f"p{number}.png").rename(folder / "town" / kind / f"{name}.png")
        self.homes = 0

    def studio(self, home: str | None = None) -> Studio:
        self.homes += 1
        return Studio(
            Options(demo=False, home=self.folder / (home or f"home-{self.homes}"), device="cpu", checkpoints=())
        )

    def work(self, studio: Studio, name: str, members: int = 2, **settings: Any) -> SearchWork:
        wanted, town = Wanted(name, settings or SETTINGS.get(name, {})), self.data(studio, "town")
        return studio.searches.of(self.checkpoints[:members], [town], [town], wanted)

    def data(self, studio: Studio, name: str) -> DecodedCache:
        return studio.workspace.open_pictures(f"folder:{self.folder / name}", None)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tiny_registered():
        yield Bench(tmp_path_factory.mktemp("search"))


def told(work: SearchWork, **more: Any) -> dict[str, Any]:
    found = work.measure(**more)
    assert json.loads(json.dumps(found)) == found and found["state"] == "done"
    return found


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_runs_says_what_it_cost_and_is_known_from_then_on(bench: Bench, name: str) -> None:
    studio = bench.studio(f"home-{name}")
    members = min(3, STRATEGIES.get(name).most)
    found = told(bench.work(studio, name, members))
    best = found["best"]
    assert best["select"] == best["report"] and found["optimistic"] is True
    assert len(best["weights"]) == len(found["checkpoints"]) and sum(best["weights"]) == pytest.approx(1)
    assert found["forward_passes_search"] + found["forward_passes_beside"] == studio.runner.tally.run
    assert found["evaluations"] and all(one["select"]["images"] in (3, 4, 6) for one in found["evaluations"])
    assert all(-1 <= ray["cosine"] <= 1 for ray in found.get("rays", ()))
    again = bench.studio(f"home-{name}")
    work = bench.work(again, name, members)
    assert work.state == "done", "known before it is asked for"
    assert told(work)["best"] == best and again.runner.tally.run == 0
    whole = told(bench.work(bench.studio(), name, members))
    assert {key: whole[key] for key in found if key not in ("done", "total")} == {
        key: found[key] for key in found if key not in ("done", "total")
    }


@pytest.mark.parametrize("name", ["grid", "greedy", "swa", "evolve", "learned-by-layer", "simplex"])
def test_carried_out_the_recipe_is_the_network_that_was_measured(bench: Bench, name: str, tmp_path: Path) -> None:
    studio = bench.studio()
    work = bench.work(studio, name)
    found = told(work)
    assert work.best is not None
    (tmp_path / "r.yaml").write_text(work.best.to_yaml())
    recipe = studio.recipes.read(tmp_path / "r.yaml")
    merged = studio.recipes.checkpoint(recipe, tmp_path / "r.yaml")
    own = bench.studio()
    own.sources.know([merged])
    figures = own.runner.measure(recipe_alone(merged), bench.data(own, "town"))
    assert figures["miou"] == found["best"]["select"]["miou"] and figures["loss"] == found["best"]["select"]["loss"]


def test_what_a_sweep_has_measured_is_not_measured_again_and_the_other_way_round(bench: Bench, monkeypatch) -> None:
    studio = bench.studio()
    pictures = bench.data(studio, "town")
    sweep = studio.views.sweep_files(*bench.checkpoints[:2], lambda: pictures, "average")
    sweep.measure(0.25)
    seen = counted_forwards(monkeypatch)
    found = told(bench.work(studio, "grid"))
    assert seen == [] and found["best"]["select"]["miou"] == sweep.snapshot()["best"]["miou"]
    assert told(bench.work(studio, "adaptive", step=0.25))["best"] and seen == [], "parts of it, too"


def test_a_part_of_the_pictures_is_measured_once(bench: Bench, monkeypatch) -> None:
    studio = bench.studio()
    seen = counted_forwards(monkeypatch)
    found = told(bench.work(studio, "adaptive"))
    assert len(seen) == found["forward_passes_search"] == studio.runner.tally.run
    looked = {(tuple(one["weights"]), one["part"]) for one in found["evaluations"]}
    whole, half = ({weights for weights, part in looked if part == one} for one in (None, 0))
    assert len(seen) == 3 * len(half - whole) + 6 * len(whole)
    assert found["regret"] >= 0 and 0 <= found["confidence"] <= 1


def test_other_pictures_report_and_the_interval_is_theirs(bench: Bench) -> None:
    studio = bench.studio()
    work, select = bench.work(studio, "grid"), bench.data(studio, "town")
    first, second = halves(select)
    apart = studio.searches.of(bench.checkpoints[:2], [first], [second], work.wanted)
    found = told(apart)
    assert found["optimistic"] is False
    assert found["best"]["interval"] is None and found["inside_noise"] is None, "three pictures are too few"
    shared = studio.searches.of(bench.checkpoints[:2], [first], [select], work.wanted)
    assert told(shared)["optimistic"] is True
    interval = told(work)["best"]["interval"]
    assert interval is not None and interval[0] <= interval[1]
    gain = found["best"]["select"]["miou"] - max(
        one["select"]["miou"] for one in found["evaluations"] if 1.0 in one["weights"]
    )
    assert found["best"]["select"]["gain"] == pytest.approx(gain)


def test_two_sessions_that_ask_for_the_same_run_it_once(bench: Bench, monkeypatch) -> None:
    first, second = bench.studio("home-both"), bench.studio("home-both")
    seen = counted_forwards(monkeypatch)
    works = [bench.work(studio, "grid") for studio in (first, second)]
    for work in works:
        work.want()
    for work in works:
        work.wait()
    one, other = (work.snapshot() for work in works)
    assert one["state"] == other["state"] == "done" and one["best"] == other["best"]
    assert len(seen) == 5 * 6


def test_cancelled_it_goes_on_where_it_was(bench: Bench, monkeypatch) -> None:
    studio = bench.studio()
    seen = counted_forwards(monkeypatch)
    work = bench.work(studio, "grid")
    work.want()
    until(lambda: len(seen) > 3)
    work.cancel()
    work.wait()
    assert work.state == "cancelled" and work.snapshot()["best"] is None and len(seen) < 30
    work.recall()
    assert work.stage == "" and expected_passes(work) == 30 - len(seen), "pictures that are finished cost nothing"
    assert told(work)["best"] and len(seen) == 30


def test_it_says_what_it_does_before_the_first_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    work, said = bench.work(bench.studio(), "grid"), []
    load = DecodedCache.load

    def reading(pictures: DecodedCache, index: int, whole: bool = False):
        if work.done == 0 and threading.current_thread() is not threading.main_thread():
            said.append(work.stage)
            if len(said) == 3:
                work.cancel()  # heard between two pictures, before any pass
        return load(pictures, index, whole)

    seen = counted_forwards(monkeypatch)
    monkeypatch.setattr(DecodedCache, "load", reading)
    work.want()
    work.wait()
    assert said == [f"reading picture {number} of 6" for number in (1, 2, 3)]
    assert work.state == "cancelled" and work.stage == "" and seen == []


def test_fresh_measures_and_learns_again(bench: Bench) -> None:
    studio = bench.studio()
    found = told(bench.work(studio, "learned"))
    run = studio.runner.tally.run
    again = told(bench.work(studio, "learned"), fresh=True)
    assert again["best"] == found["best"] and studio.runner.tally.run == 2 * run


def test_what_was_learned_and_damaged_since_is_learned_again(bench: Bench) -> None:
    studio = bench.studio("home-damaged")
    found = told(bench.work(studio, "learned"))
    (file,) = (bench.folder / "home-damaged" / "statistics").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    other = bench.studio("home-damaged")
    assert told(bench.work(other, "learned"))["best"] == found["best"]
    assert other.runner.tally.run > 0


# --- ensembles -------------------------------------------------------------------------------------------------------


def test_all_ensembles_out_of_one_pass_are_those_of_a_pass_each(bench: Bench, monkeypatch) -> None:
    studio = bench.studio()
    pictures = bench.data(studio, "town")
    seen = counted_forwards(monkeypatch)
    work = bench.work(studio, "greedy-ensemble", 3)
    found = told(work)
    assert len(seen) == 3 * 6, "one pass of each network"
    alone = tuple(map(recipe_alone, bench.checkpoints))
    (answer,) = studio.runner.ask([Question(alone, pictures.fingerprint(), "ensembles")], pictures)
    for place, members in enumerate(subsets_of(3)):
        recipe = write_recipe([bench.checkpoints[one] for one in members], "ensemble", {}, "average")
        figures = studio.runner.measure(recipe, pictures)
        for name in ("miou", "pixel_accuracy", "loss"):
            assert answer.figures[f"ensemble_{name}"][place] == pytest.approx(figures[name], abs=1e-6)
    assert found["best"]["interval"] is not None


def test_ensembles_count_as_a_loop_over_subsets_does() -> None:
    measure, generator = MEASURES.get("ensembles"), torch.Generator().manual_seed(3)
    truth = torch.randint(0, 5, (1, 20, 30), generator=generator, dtype=torch.uint8)
    truth[0, :3] = IGNORE
    seen = [Observation(torch.randn(1, 5, 20, 30, generator=generator) * 3, truth) for _ in range(4)]
    state = measure.init(5, CPU, 4)
    measure.update(state, *seen)
    figures = measure.compute(state)
    confusion = MEASURES.get("confusion")
    for place, members in enumerate(subsets_of(4)):
        mean = torch.stack([seen[one].logits.softmax(1) for one in members]).mean(0)
        own = confusion.init(5, CPU)
        confusion.update(own, Observation(mean.log(), truth))
        assert figures["ensemble_miou"][place] == pytest.approx(mean_iou(own["matrix"]), abs=1e-6)
        matrix = own["matrix"]
        assert torch.equal(state["right"][place], matrix.diagonal())
        assert torch.equal(state["predicted"][place], matrix[:, :5].sum(0))
    with pytest.raises(UsageError, match="at most 8"):
        measure.init(5, CPU, 9)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "count", "needs"),
    [
        (Wanted("walk"), 3, "Needs: 2. "),
        (Wanted("grid"), 1, "2 to 64"),
        (Wanted("subsets"), 9, "2 to 8"),
        (Wanted("nope"), 2, "one of adaptive"),
        (Wanted("grid", {"step": 7}), 2, "from 0.001 to 1"),
        (Wanted("swa", {"step": 0.1}), 2, "no parameters"),
        (Wanted("grid", score="beauty"), 2, "one of miou"),
        (Wanted("grid", buffers="none"), 2, "one of average"),
        (Wanted("swa", count=0), 2, "one or more"),
    ],
)
def test_wrong_wishes_are_refused(wanted: Wanted, count: int, needs: str) -> None:
    with pytest.raises(UsageError) as raised:
        wanted.checked(count)
    assert needs in raised.value.one_line


def test_what_does_not_fit_is_said_before_anything_is_measured(bench: Bench, tmp_path: Path) -> None:
    studio = bench.studio()
    folder_data(tmp_path / "bare", 2, masks=False)
    bare = studio.workspace.open_pictures(f"pictures:{tmp_path / 'bare'}", None)
    town = bench.data(studio, "town")
    with pytest.raises(DataError, match="no masks"):
        studio.searches.of(bench.checkpoints[:2], [town], [bare], Wanted("grid"))
    other = open_checkpoint(tiny_file(tmp_path, "other", 1, classes=5))
    with pytest.raises(LayoutError):
        studio.searches.of([bench.checkpoints[0], other], [town], [town], Wanted("grid"))


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        tiny_file(tmp_path, name, seed)
    folder_data(tmp_path / "town", 5)
    for number, name in enumerate(("ant", "bee", "cat", "dog", "elk")):
        for kind in ("images", "masks"):
            (tmp_path / "town" / kind / f"p{number}.png").rename(tmp_path / "town" / kind / f"{name}.png")
    with tiny_registered():
        yield tmp_path


def verb(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, Any]:
    main([*arguments, "--home", "home", "--device", "cpu", "--json"])
    return json.loads(capsys.readouterr().out)


def test_the_verb_says_what_it_found_and_writes_its_recipe(capsys: pytest.CaptureFixture, place: Path) -> None:
    arguments = ("search", "a.pth", "b.pth", "--strategy", "grid", "--set", "step=0.25", "--select", "folder:town")
    found = verb(capsys, *arguments, "--out", "r.yaml")
    best = found["best"]
    assert {"weights", "select", "report", "interval"} <= set(best) and len(best["interval"]) == 2
    assert found["optimistic"] is True and found["forward_passes"] == 25 and len(found["evaluations"]) == 5
    assert found["forward_passes_full_grid"] == 21 * 5 and found["recipe"] == "r.yaml"
    assert found["inside_noise"] == (best["interval"][0] <= 0 <= best["interval"][1])
    assert read_recipe(place / "r.yaml").checkpoints
    evaluated = verb(capsys, "evaluate", "r.yaml", "--data", "folder:town")
    assert evaluated["miou"] == best["select"]["miou"] and evaluated["forward_passes"] == 0
    main(["merge", "r.yaml", "--out", "m.safetensors"])
    capsys.readouterr()
    merged = verb(capsys, "evaluate", "m.safetensors", "--data", "folder:town", "--fresh")
    assert (merged["miou"], merged["loss"]) == (best["select"]["miou"], best["select"]["loss"])
    main([*arguments, "--home", "home"])
    printed = capsys.readouterr().out
    assert "optimistic" in printed and "over the best checkpoint alone" in printed and "of the whole grid" in printed


def test_three_by_every_kind_of_answer(capsys: pytest.CaptureFixture, place: Path) -> None:
    found = verb(
        capsys, "search", "a.pth", "b.pth", "c.pth", "--strategy", "subsets", "--set", "step=0.5", "draws=2",
        "--select", "folder:town", "--limit", "2", "--score", "loss",
    )  # fmt: skip
    assert [row["members"] for row in found["subsets"]] == [[0, 1], [0, 2], [1, 2], [0, 1, 2]]
    merges = [one for one in found["evaluations"] if not one["ensemble"] and 1.0 not in one["weights"]]
    assert found["best"]["select"]["loss"] == min(one["select"]["loss"] for one in merges)
    assert found["best"]["interval"] is None


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        (("--strategy", "nope"), "one of adaptive"),
        (("--set", "stride=1"), "has step"),
        (("--out", "r.txt"), "ending in .yaml"),
        (("--select", "nowhere"), "the score harmonic"),
        (("--select", "nowhere", "--score", "harmonic"), "without a kind"),
        (("--select", "folder:town", "--score", "harmonic"), "each domain once"),
        (("--select", "folder:town", "--score", "harmonic", "--strategy", "learned"), "one set of pictures"),
        (("--count", "0"), "one or more"),
    ],
)
def test_the_verb_refuses_what_it_cannot_do(
    capsys: pytest.CaptureFixture, place: Path, more: tuple[str, ...], needs: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        verb(capsys, "search", "a.pth", "b.pth", "--select", "folder:town", *more)
    assert ended.value.code == 2 and needs in capsys.readouterr().err


def test_a_page_finds_the_search_that_another_began(place: Path) -> None:
    studio = Studio(
        Options(demo=False, home=place / "home", device="cpu", checkpoints=(place,), data=(f"folder:{place / 'town'}",))
    )
    source = studio.workspace.sources[0].name
    asked = (["a", "b"], [(source, None)], [(source, None)], Wanted("grid", {"step": 0.5}))
    work = studio.searches.open(*asked)
    assert studio.searches.open(*asked) is work and work.state == "idle"
    work.measure()
    assert studio.searches.open(*asked).snapshot()["best"]["weights"]
    view = studio.view(Selection("a", "b", source, None, "average"))
    assert 0.5 in studio.sweep(view).points, "Explore's curve has its points"


def test_what_is_found_and_not_reported_yet_has_no_figures(bench: Bench) -> None:
    studio = bench.studio()
    for path in (folder_data(bench.folder / "unseen", 3) / "images").iterdir():  # none of them is known
        with Image.open(path) as picture:
            picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    town, unseen = bench.data(studio, "town"), bench.data(studio, "unseen")
    wanted = Wanted("grid", {"step": 0.5})
    told(studio.searches.of(bench.checkpoints[:2], [town], [town], wanted))
    work = studio.searches.of(bench.checkpoints[:2], [town], [unseen], wanted)
    found = work.snapshot()
    assert found["best"]["select"]["miou"] is not None
    assert found["best"]["report"] is None and found["best"]["interval"] is None and found["inside_noise"] is None
    assert not work.settled and told(work)["best"]["report"]["images"] == 3
