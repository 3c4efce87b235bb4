"""Networks on several domains: means by hand, the table against a plain loop, and the verb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fusionlib.charts.domains import networks_figure
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import Cancelled, UsageError
from fusionlib.question import Question, Refused, Told
from fusionlib.recipe import Recipe, Source, checkpoint_alone
from fusionlib.runs.answers import Answers
from fusionlib.runs.desk import RunDesk
from fusionlib.runs.runner import Runner
from fusionlib.studies.domains import ClassSet, Domain, Domains, Network
from fusionlib.studies.means import arithmetic, harmonic, worst
from fusionlib.studio import Options, Studio
from fusionlib.studio.demo import DEMO
from fusionlib.studio.domains import ranked
from fusionlib.studio.domains_plan import DomainChoices, Named, named_spec, own_expert
from tests.helpers import CLASSES, counted_forwards, folder_data, pictures, tiny_file, tiny_registered

# --- means -----------------------------------------------------------------------------------------------------------


def test_harmonic_means_by_hand() -> None:
    assert harmonic([0.6, 0.3]) == pytest.approx(0.4) and harmonic([0.5, 0.5]) == 0.5
    assert harmonic([1, 0]) == 0 and harmonic([0, 0]) == 0 and harmonic([0.25]) == 0.25
    assert harmonic([0.588, 0.540]) == pytest.approx(0.563, abs=5e-4)  # "Ours" with ResNet101, table 1
    assert harmonic([0.613, 0.470, 0.421, 0.161]) == pytest.approx(0.324, abs=1e-3)  # model 1, table 3


@pytest.mark.parametrize("mean", [harmonic, arithmetic, worst])
def test_a_missing_domain_makes_every_mean_undefined(mean: Any) -> None:
    assert mean([0.5, None]) is None and mean([None, 0.0]) is None and mean([]) is None


def test_a_negative_score_is_refused() -> None:
    with pytest.raises(UsageError):
        harmonic([0.5, -0.1])


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=8))
def test_the_harmonic_mean_lies_between_the_worst_and_the_mean(scores: list[float]) -> None:
    found = harmonic(scores)
    assert found is not None
    assert min(scores) - 1e-12 <= found <= sum(scores) / len(scores) + 1e-12  # type: ignore[operator]
    if len(scores) == 2:
        assert found == pytest.approx(2 * scores[0] * scores[1] / sum(scores))


# --- the study -------------------------------------------------------------------------------------------------------


def alone(letter: str) -> Recipe:
    return checkpoint_alone(Source(path=f"{letter}.pth", fingerprint=letter * 64))


def told(recipe: Recipe, data: str, iou: list[float | None]) -> dict[Question, Told]:
    question = Question((recipe,), data, "confusion")
    present = [value for value in iou if value is not None]
    figures = {"miou": sum(present) / len(present) if present else None, "iou": iou}
    return {question: Told(question, figures, 1, 0, True, (f"{recipe.content} built",))}


DAY, NIGHT = Domain("day", "d" * 64, ("road", "car", "sky")), Domain("night", "e" * 64, ("road", "car"))
A, B = alone("a"), alone("b")


def study(*more: Network, **settings: Any) -> Domains:
    singles = (Network("single", "a", "single", (0,), (A, A)), Network("single", "b", "single", (1,), (B, B)))
    return Domains(("a", "b"), 2, (DAY, NIGHT), (*singles, *more), settings.pop("own", (None, None)), **settings)


def test_rows_are_means_of_what_is_known() -> None:
    known = told(A, DAY.data, [0.8, 0.4, None]) | told(A, NIGHT.data, [0.3, 0.3])
    found = study().table(known)
    a, b = found["rows"]
    assert a["domains"] == {"day": pytest.approx(0.6), "night": pytest.approx(0.3)} and a["state"] == "measured"
    assert a["harmonic"] == pytest.approx(0.4) and a["arithmetic"] == pytest.approx(0.45) and a["gain"] == 0
    assert a["worst"] == pytest.approx(0.3)
    assert a["classes"]["road"]["harmonic"] == pytest.approx(2 * 0.8 * 0.3 / 1.1) and "sky" not in a["classes"]
    assert b["state"] == "waiting" and b["harmonic"] is None and b["gain"] is None
    assert found["best"] == found["best_single"] == "a" and found["path"] is None


def test_a_class_that_a_domain_lacks_has_no_harmonic_mean() -> None:
    known = told(A, DAY.data, [0.8, 0.4, 0.9]) | told(A, NIGHT.data, [0.0, None])
    classes = study().table(known)["rows"][0]["classes"]
    assert classes["sky"] == {"domains": {"day": 0.9, "night": None}, "harmonic": None}
    assert classes["car"]["harmonic"] is None and classes["road"]["harmonic"] == 0


def test_class_sets_are_means_over_their_classes_where_a_domain_knows_them() -> None:
    sets = (ClassSet("two", ("road", "car")), ClassSet("sky", ("sky",)))
    known = told(A, DAY.data, [0.8, 0.4, 0.0]) | told(A, NIGHT.data, [0.3, None])
    row = study(class_sets=sets).table(known)["rows"][0]
    assert row["class_sets"]["two"]["domains"] == {"day": pytest.approx(0.6), "night": pytest.approx(0.3)}
    assert row["class_sets"]["two"]["harmonic"] == pytest.approx(0.4)
    assert row["class_sets"]["sky"]["domains"] == {"day": 0.0, "night": None}
    assert row["class_sets"]["sky"]["harmonic"] is None


def test_what_is_refused_on_one_domain_is_measured_on_the_others() -> None:
    refused = {Question((A,), NIGHT.data, "confusion"): Refused("Other classes")}
    row = study().table({**told(A, DAY.data, [0.8, 0.4, None]), **refused})["rows"][0]
    assert row["state"] == "measured" and row["reason"] == "night: Other classes"
    assert row["harmonic"] is row["arithmetic"] is row["worst"] is None and row["domains"]["day"] is not None


def test_heads_are_those_of_the_best_expert_unless_said() -> None:
    heads = (alone("c"), alone("d"))
    row = Network("heads", "own heads", "backbone", (0, 1), heads=heads)
    waiting = study(row)
    assert [step.questions[0].recipes[0] for step in waiting.steps({})] == [A, A, B, B] and waiting.later({}) == 2
    known = told(A, DAY.data, [0.9, 0.9, 0.9]) | told(B, DAY.data, [0.1, 0.1, 0.1])
    known |= told(A, NIGHT.data, [0.2, 0.2]) | told(B, NIGHT.data, [0.2, 0.3])
    asked = [step.questions[0] for step in waiting.steps(known)][4:]
    assert [(one.recipes[0], one.data) for one in asked] == [(heads[0], DAY.data), (heads[1], NIGHT.data)]
    assert waiting.later(known) == 0 and waiting.table(known)["own"] == {"day": "a", "night": "b"}
    said = study(row, own=(1, 1))
    assert [step.questions[0].recipes[0] for step in said.steps({})][4:] == [heads[1], heads[1]]


def test_an_expert_is_known_by_its_name() -> None:
    experts = ("fog", "night")
    assert [own_expert(experts, name) for name in ("fog", "streets night", "fog night", "clear")] == [0, 1, None, None]


def test_rows_of_one_network_are_one() -> None:
    known = told(A, DAY.data, [0.9, 0.9, 0.9]) | told(A, NIGHT.data, [0.9, 0.9])
    again = Network("mean", "again", "isotropic", (0, 1), (A, A))
    lost = Network("heads", "lost", "backbone", (0, 1), obstacle="No head")
    rows, left_out = ranked(study(again, lost).table(known)["rows"])
    assert [row["name"] for row in rows] == ["a = again", "b"] and len(rows[0]["same"]) == 2
    assert [(row["name"], row["reason"]) for row in left_out] == [("lost", "No head")]


# --- data ------------------------------------------------------------------------------------------------------------


def town(folder: Path, seed: int, count: int = 2) -> Path:
    """Labelled pictures that differ by the seed."""
    folder_data(folder, count)
    rng = np.random.default_rng(seed)
    for number, picture in enumerate(pictures(count, seed + 50)):
        Image.fromarray(picture).save(folder / "images" / f"p{number}.png")
        ids = np.kron(rng.integers(0, 3, (6, 8)), np.ones((8, 8))).astype(np.uint8)
        Image.fromarray(ids).save(folder / "masks" / f"p{number}.png")
    return folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        tiny_file(tmp_path, f"c{seed}", seed)
        town(tmp_path / f"town{seed}", seed)
    with tiny_registered():
        yield tmp_path


DATA = ("--data", "x=folder:town0", "--data", "y=folder:town1", "--data", "folder:town2")


def said(capsys: pytest.CaptureFixture, *words: str) -> dict[str, Any]:
    main([*words, "--home", "home", "--device", "cpu", "--json"])
    return json.loads(capsys.readouterr().out)


def score(recipe: Recipe, folder: Path, spec: str) -> dict[str, Any]:
    """Confusion of a network on data by a runner of its own."""
    studio = Studio(Options(demo=False, home=folder / "another", device="cpu"))
    try:
        return studio.runner.measure(recipe, studio.workspace.open_pictures(spec, None), measures=("confusion",))
    finally:
        studio.store.close()


def test_the_table_is_that_of_a_plain_loop(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(
        capsys,
        "domains",
        "c0.pth",
        "c1.pth",
        "c2.pth",
        *DATA,
        "--rows",
        "mean,subsets,buffers",
        "--classes",
        "road,car",
    )
    studio = Studio(Options(demo=False, home=files / "another", device="cpu"))
    opened = [open_checkpoint(files / f"c{number}.pth") for number in range(3)]
    specs = {"x": "folder:town0", "y": "folder:town1", "folder:town2": "folder:town2"}
    data = {name: studio.workspace.open_pictures(spec, None) for name, spec in specs.items()}
    studio.sources.know(opened)
    recipes = {f"c{number}": recipe_alone(opened[number]) for number in range(3)}
    for size in (2, 3):
        for members in combinations(range(3), size):
            recipe = write_recipe([opened[one] for one in members], "isotropic", {}, "average")
            recipes[" + ".join(f"c{one}" for one in members)] = recipe
    for policy, title in (("anchor", "mean, statistics of c0"), ("gaussian", "mean, pooled statistics")):
        recipes[title] = write_recipe(opened, "isotropic", {}, policy)
    rows = {row["name"]: row for row in found["rows"]}
    assert set(recipes) <= set(rows)
    best = 0.0
    for name, recipe in recipes.items():
        each = [studio.runner.measure(recipe, one, measures=("confusion",)) for one in data.values()]
        scores = [one["miou"] for one in each]
        assert list(rows[name]["domains"].values()) == scores
        expected = 0.0 if 0 in scores else len(scores) / sum(1 / value for value in scores)
        assert rows[name]["harmonic"] == pytest.approx(expected, abs=1e-12)
        assert rows[name]["arithmetic"] == pytest.approx(sum(scores) / 3) and rows[name]["worst"] == min(scores)
        two = [np.mean([one["iou"][number] for number in (0, 1)]) for one in each]
        assert list(rows[name]["class_sets"]["road, car"]["domains"].values()) == pytest.approx(two)
        for number, label in enumerate(CLASSES):
            assert list(rows[name]["classes"][label]["domains"].values()) == [one["iou"][number] for one in each]
        best = max(best, expected) if len(name) == 2 else best
    for row in rows.values():
        assert row["gain"] == pytest.approx(row["harmonic"] - best, abs=1e-12)
    studio.store.close()
    assert sum(row["group"] == "subsets" for row in found["rows"]) == 2**3 - 1 - 3
    assert found["network"] == "mean of all" and found["domains"] == rows["c0 + c1 + c2"]["domains"]
    assert found["harmonic"] == rows["mean of all"]["harmonic"]


def test_intervals_are_those_of_a_plain_loop(files: Path, capsys: pytest.CaptureFixture) -> None:
    for seed in range(2):
        town(files / f"many{seed}", seed, 42)
    data = {"x": "folder:many0", "y": "folder:many1", "z": "corrupt:noise:1:folder:many0"}
    asked = [part for name, spec in data.items() for part in ("--data", f"{name}={spec}")]
    found = said(capsys, "domains", "c0.pth", "c2.pth", *asked, "--rows", "buffers")
    opened = [open_checkpoint(files / f"c{number}.pth") for number in (0, 2)]
    mean = [write_recipe(opened, "isotropic", {}, policy) for policy in ("anchor", "average", "gaussian")]
    recipes = [*map(recipe_alone, opened), *mean]
    drawn = [np.random.default_rng(seed).multinomial(5, np.full(5, 1 / 5), 2000) for seed in (0, (0, 1))]
    scores = np.empty((3, len(recipes), 2000))
    for at, (spec, draws) in enumerate(zip(data.values(), (*drawn, drawn[0]), strict=True)):  # z is x, damaged
        for number, runs in enumerate(runs_of(files, spec, recipes)):
            for draw, total in enumerate(np.tensordot(draws, runs, 1)):
                right = np.diagonal(total)
                union = total.sum(1) + total[:, : len(total)].sum(0) - right
                scores[at, number, draw] = np.mean(right[union > 0] / union[union > 0])
    means = np.array([[harmonic(column) for column in network.T] for network in scores.swapaxes(0, 1)])
    gains, rows = means[2:] - means[:2].max(0), [row for row in found["rows"] if row["group"] == "buffers"]
    for row, mine in zip(rows, gains, strict=True):
        assert row["interval"] == pytest.approx(np.quantile(mine, [0.025, 0.975]), abs=1e-12)
        assert row["inside_noise"] is bool(row["interval"][0] <= 0 <= row["interval"][1])
    assert found["interval"] == pytest.approx(np.quantile(gains.max(0), [0.025, 0.975]), abs=1e-12)
    assert all(row["interval"] is None for row in found["rows"] if row["group"] == "single")


def runs_of(folder: Path, spec: str, recipes: list[Recipe]) -> Iterator[np.ndarray]:
    """Confusion matrices of each network, summed over each of five runs of ten pictures, the last of two."""
    studio = Studio(Options(demo=False, home=folder / "home", device="cpu"))
    pictures = studio.workspace.open_pictures(spec, None)
    for recipe in recipes:
        states = studio.runner.pictures(Question((recipe,), pictures.fingerprint(), "confusion"), pictures)
        assert states is not None
        matrices = [state["matrix"].numpy() for state in states]
        yield np.stack([sum(matrices[start : start + 10]) for start in range(0, 42, 10)])  # type: ignore[arg-type]
    studio.store.close()


def test_too_few_pictures_have_no_interval(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c0.pth", "c1.pth", *DATA, "--rows", "mean")
    assert found["interval"] is found["inside_noise"] is None and "interval" in found["rows"][2]


def test_data_combination_is_a_row_of_its_own_kind(files: Path, capsys: pytest.CaptureFixture) -> None:
    aside = ("--beside", "c1.pth", "--baseline", "c2.pth")
    main(["domains", "c0.pth", *aside, *DATA, "--rows", "mean", "--home", "home", "--device", "cpu"])
    assert "data combination: c2, data combination" in capsys.readouterr().out
    found = said(capsys, "domains", "c0.pth", *aside, *DATA, "--rows", "mean")
    groups = {row["name"]: row["group"] for row in found["rows"]}
    assert groups == {"c0": "single", "c1": "beside", "c2, data combination": "baseline"}
    assert found["baseline"] == "c2, data combination" and found["best_single"] == "c0"
    assert [row["members"] for row in found["rows"]] == [["c0"], ["c1"], ["c2"]]
    bars = networks_figure(found["rows"], list(found["domains"])).data[-1].marker.color
    assert bars[0] != bars[1] == bars[2]  # the last row is drawn first


@pytest.mark.parametrize("count", [2, 3, 4])
def test_counts_of_subsets(count: int, tmp_path: Path) -> None:
    with tiny_registered():
        for seed in range(count):
            tiny_file(tmp_path / "files", f"c{seed}", seed)
        town(tmp_path / "town", 0)
        studio = Studio(Options(checkpoints=(tmp_path / "files",), demo=False, home=tmp_path / "home", device="cpu"))
        named = [Named("x", studio.workspace.open_pictures(f"folder:{tmp_path / 'town'}", None))]
        names = [f"c{seed}" for seed in range(count)]
        work = studio.domains.open(names, named, DomainChoices(rows=("subsets",)))
        assert len(work.snapshot()["rows"]) == 2**count - 1
        assert work.cost() == 2 * (2**count - 1)  # every network sees each of two pictures
        studio.store.close()


def test_separate_heads_equal_measuring_by_hand(files: Path, capsys: pytest.CaptureFixture) -> None:
    own = ("--own", "x=1", "--own", "y=0", "--own", "folder:town2=1")
    found = said(capsys, "domains", "c0.pth", "c1.pth", *DATA, "--rows", "heads", *own)
    row = next(row for row in found["rows"] if row["group"] == "heads")
    opened = [open_checkpoint(files / f"c{number}.pth") for number in range(2)]
    for (name, spec), head in zip((("x", "town0"), ("y", "town1"), ("folder:town2", "town2")), (1, 0, 1), strict=True):
        recipe = write_recipe(opened, "backbone", {"anchor": head}, "average")
        assert row["domains"][name] == score(recipe, files, f"folder:{spec}")["miou"]
    assert found["own"] == {"x": "c1", "y": "c0", "folder:town2": "c1"}
    assert row["harmonic"] == pytest.approx(harmonic(list(row["domains"].values())))


def test_the_path_runs_from_one_expert_to_the_other(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c0.pth", "c1.pth", "c2.pth", *DATA, "--rows", "path", "--pair", "2,0")
    path, rows = found["path"], {row["name"]: row for row in found["rows"]}
    assert path["of"] == ["c2", "c0"] and [point["alpha"] for point in path["points"]] == [n / 10 for n in range(11)]
    assert path["points"][0]["domains"] == rows["c0"]["domains"]
    assert path["points"][10]["domains"] == rows["c2"]["domains"]
    best = max(path["points"], key=lambda point: point["harmonic"])
    assert path["best"]["harmonic"] == best["harmonic"] and set(rows) == {"c0", "c1", "c2"}
    assert found["forward_passes"] == (3 + 9) * 3 * 2


def test_known_networks_are_never_measured_again(
    files: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted_forwards(monkeypatch)
    words = ("domains", "c0.pth", "c1.pth", *DATA, "--rows", "all")
    first = said(capsys, *words)
    networks = 2 + 3 + 1 + 8  # alone, three policies (one is the mean, the subset and the path's middle), heads, path
    assert first["forward_passes"] == sum(seen) == networks * 3 * 2
    again = said(capsys, *words)
    assert again["forward_passes"] == 0 and again["rows"] == first["rows"] and sum(seen) == networks * 6
    assert said(capsys, *words, "--limit", "1")["forward_passes"] == 0  # pictures are known one by one
    fresh = said(capsys, *words, "--fresh")
    assert fresh["forward_passes"] == first["forward_passes"] and fresh["rows"] == first["rows"]


def test_what_stands_beside_is_merged_with_nothing(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c0.pth", "c1.pth", "--beside", "c2.pth", *DATA, "--rows", "mean")
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["c2"]["group"] == "beside" and rows["mean of all"]["members"] == ["c0", "c1"]
    assert found["best_single"] in ("c0", "c1")


def test_a_run_that_is_cut_off_goes_on(
    files: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["domains", "c0.pth", "c1.pth", *DATA, "--rows", "mean,heads", "--home", str(files / "home")]
    real, asked = Runner.ask, []

    def ask(self: Runner, *given: Any, **more: Any) -> Any:
        asked.append(1)
        if len(asked) == 4:
            raise Cancelled
        return real(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "ask", ask)
        with pytest.raises(SystemExit):
            main(words)
    capsys.readouterr()
    main(["runs", "--home", str(files / "home"), "--json"])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["kind"] == "domains" and run["state"] == "cancelled"
    assert run["arguments"] == words
    main(["runs", "resume", run["id"], "--home", str(files / "home"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["forward_passes"] == (2 + 1 + 1) * 6 - 3 * 2
    assert all(row["state"] == "measured" for row in found["resumed"]["rows"])


def test_the_app_writes_down_the_verb_that_does_the_same(files: Path, capsys: pytest.CaptureFixture) -> None:
    tiny_file(files, "c3", 3)
    studio = Studio(
        Options(checkpoints=(files,), data=("folder:town0", "folder:town1"), demo=False, home=files / "h", device="cpu")
    )
    named = [Named(f"town {n}", studio.workspace.open_pictures(f"folder:town{n}", None, 1)) for n in (0, 1)]
    choices = DomainChoices("gaussian", ("mean", "path"), ("road,car",), (("town 0", 1),), (1, 0), 1, 1)
    work = studio.domains.open(["c0", "c1", "c2", "c3"], named, choices)
    work.begin()
    work.wait(60)
    assert work.state == "done"
    (run,) = studio.runs.listed()
    studio.store.close()
    main([*run["arguments"], "--home", "h", "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["forward_passes"] == 0
    assert {name: found[name] for name in ("rows", "path", "own", "best")} == {
        name: json.loads(json.dumps(work.with_intervals(work.table())[name]))
        for name in ("rows", "path", "own", "best")
    }


def test_recalibrated_statistics_are_each_domains_own(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c0.pth", "c1.pth", *DATA, "--rows", "mean,heads", "--buffers", "recalibrate")
    rows = {row["group"]: row for row in found["rows"]}
    assert len(set(rows["mean"]["builds"])) == 3 and rows["mean"]["harmonic"] is not None
    assert rows["heads"]["state"] == "not applicable" and "another policy" in rows["heads"]["reason"]


def test_damage_wears_a_network_down(tmp_path: Path) -> None:
    """The demo's start network on scenes with more and more noise."""
    start = open_checkpoint(DEMO / "start.safetensors")
    scores = []
    studio = Studio(Options(demo=False, home=tmp_path, device="cpu"))
    studio.sources.know([start])
    for severity in range(6):
        data = studio.workspace.open_pictures(f"corrupt:noise:{severity}:streets:clear:3", None)
        scores.append(studio.runner.measure(recipe_alone(start), data, measures=("confusion",))["miou"])
    studio.store.close()
    assert scores == sorted(scores, reverse=True) and scores[0] > 2 * scores[5]


# --- the verb --------------------------------------------------------------------------------------------------------


def test_json(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c0.pth", "c1.pth", *DATA)
    assert set(found["domains"]) == {"x", "y", "folder:town2"} and 0 < found["harmonic"] < 1
    assert found["harmonic"] == pytest.approx(harmonic(list(found["domains"].values())))
    assert {"arithmetic", "worst", "gain", "classes", "rows", "best", "best_single", "own", "path"} <= set(found)
    assert {row["group"] for row in found["rows"]} == {"single", "mean", "buffers", "heads"}
    assert found["data"]["x"] == {"spec": "folder:town0", "images": 2}


def test_a_single_network_is_its_own_answer(files: Path, capsys: pytest.CaptureFixture) -> None:
    found = said(capsys, "domains", "c1.pth", "--data", "a=folder:town0", "--data", "b=corrupt:noise:5:folder:town0")
    assert found["network"] == "c1" and len(found["rows"]) == 1 and found["gain"] == 0
    assert found["domains"]["a"] != found["domains"]["b"]


def test_people_read_a_table(files: Path, capsys: pytest.CaptureFixture) -> None:
    main(["domains", "c0.pth", "c1.pth", *DATA, "--rows", "all", "--classes", "sky", "--home", "home"])
    out = capsys.readouterr().out
    assert "x: 2 pictures" in out and "mean backbone, own heads" in out and "over sky" in out
    assert "alpha c0 + (1 - alpha) c1" in out and "best expert alone: c" in out and "forward passes" in out
    assert all(len(line) < 160 for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        (("--data", "x=folder:town0", "--data", "x=folder:town1"), "a name for each"),
        (("--data", "=folder:town0"), "NAME=SPEC"),
        (("--data", "x="), "NAME=SPEC"),
        (("--data", "x=mars:1"), "camvid:DIR"),
        (("--data", "x=pictures:town0/images"), "labelled"),
        ((*DATA, "--rows", "mean,none"), "mean, buffers, heads"),
        ((*DATA, "--buffers", "best"), "average, gaussian"),
        ((*DATA, "--classes", "road,dragon"), "road, car, sky"),
        ((*DATA, "--classes", "16"), "road, car, sky"),
        ((*DATA, "--classes", ","), "road, car, sky"),
        ((*DATA, "--own", "x=2"), "0 to 1"),
        ((*DATA, "--own", "z=0"), "one of x, y"),
        ((*DATA, "--own", "x"), "NAME=N"),
        ((*DATA, "--rows", "path", "--pair", "0,0"), "two different numbers"),
        ((*DATA, "--rows", "path", "--pair", "0,2"), "two different numbers"),
        ((*DATA, "--pair", "0,²"), "two numbers"),
        ((*DATA, "--limit", "0"), "from 1"),
        ((*DATA, "--beside", "nowhere.pth"), "nowhere.pth"),
        (("--data", "a\nb=folder:town0"), "Domain name 'a\\nb'"),
        (("--data", f"{'a' * 61}=folder:town0"), "up to 60 printable"),
        (("--data", "x=corrupt:fog:3:nonsense:x"), "'nonsense:x'."),
    ],
)
def test_wrong_words_end_in_one_line(
    files: Path, capsys: pytest.CaptureFixture, words: tuple[str, ...], needs: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["domains", "c0.pth", "c1.pth", *words, "--home", "home"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and needs in error and error.count("\n") == 1


def test_a_name_is_what_stands_before_a_kind() -> None:
    assert named_spec("day=camvid:DIR@val") == ("day", "camvid:DIR@val")
    assert named_spec("camvid:a=b") == ("camvid:a=b", "camvid:a=b")
    assert named_spec("corrupt:fog:1:camvid:a=b") == ("corrupt:fog:1:camvid:a=b",) * 2


def test_runs_of_other_domains_are_other_runs(files: Path, capsys: pytest.CaptureFixture) -> None:
    said(capsys, "domains", "c0.pth", "c1.pth", "--data", "x=folder:town0", "--rows", "mean")
    said(capsys, "domains", "c0.pth", "c1.pth", "--data", "x=folder:town1", "--rows", "mean")
    said(capsys, "domains", "c0.pth", "c1.pth", "--data", "x=folder:town1", "--rows", "mean")
    assert len(RunDesk(Answers(files / "home" / "results.sqlite").database).listed()) == 2
