"""The bundled demo: its manifest tells the truth, and its measured answers are taken where they are the app's own."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import MEASURES, METHODS
from fusionlib.data.spec import open_dataset
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import DataError
from fusionlib.question import Question
from fusionlib.runs import shipped
from fusionlib.runs.answers import Answer, Answers, Subject
from fusionlib.runs.shipped import Shipment, packed, shipment, take
from fusionlib.studio import Options, Selection, Studio
from fusionlib.studio.demo import ANSWERS, DEMO, manifest, merge_words, take_answers, view_words

ABOUT = manifest()
OPENING = f"{ABOUT['begin_with_data']}@val"
FEW = "streets:all:10@val"


def opened(home: Path, **options: Any) -> Studio:
    return Studio(Options(home=home, device="cpu", **options))


def merge_of(name: str) -> dict[str, Any]:
    return next(one for one in ABOUT["merges"] if one["name"] == name)


# --- the manifest -----------------------------------------------------------------------------------------------------


def test_every_file_of_the_demo_is_in_the_manifest_and_it_stays_small() -> None:
    names = [one["name"] for one in ABOUT["checkpoints"]]
    assert sorted(names) == sorted(path.stem for path in DEMO.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 16 << 20
    assert ANSWERS.stat().st_size < 300_000
    for one in ABOUT["checkpoints"]:
        assert all(command.startswith("python -m fusionlib train ") for command in one["commands"])
        assert f"--seed {one['seed']} " in one["commands"][-1] and set(one["measured"]) == set(ABOUT["measured_on"])


@pytest.mark.parametrize("merge", ABOUT["merges"], ids=lambda merge: merge["name"])
def test_a_merge_is_held_against_every_single_network_of_its_set_and_the_start(merge: dict[str, Any]) -> None:
    alone = {one["name"]: one["measured"] for one in ABOUT["checkpoints"]}
    for spec, told in merge["measured"].items():
        assert told["singles"] == {name: alone[name][spec]["miou"] for name in {*merge["checkpoints"], "start"}}
        assert told["gain"] == pytest.approx(told["miou"] - max(told["singles"].values()))


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_recommended_merge_gains_a_point_or_more_over_every_single_network(split: str) -> None:
    merge = merge_of(ABOUT["recommended"])
    assert merge["checkpoints"] == ABOUT["begin_with"]
    assert merge["measured"][f"streets:all:100@{split}"]["gain"] >= 0.01 <= merge["measured"][OPENING]["gain"]


def test_the_published_figures_are_measured_again(tmp_path: Path) -> None:
    studio, merge = opened(tmp_path, demo=False), merge_of(ABOUT["recommended"])
    files = [open_checkpoint(DEMO / f"{name}.safetensors") for name in merge["checkpoints"]]
    pictures = studio.workspace.open_pictures(FEW, None)
    recipe = write_recipe(files, merge["method"], merge["parameters"], merge["buffers"])
    found = studio.runner.measure(recipe, pictures)
    told = merge["measured"][FEW]
    assert (found["miou"], found["loss"]) == (pytest.approx(told["miou"], abs=2e-3), pytest.approx(told["loss"], 1e-2))
    assert found["miou"] > max(told["singles"].values()) + 0.01


def test_words_say_the_merge_every_single_network_and_the_start() -> None:
    merge = merge_of(ABOUT["recommended"])
    words = merge_words(ABOUT["begin_with"], OPENING)
    figures = [merge["measured"][spec] for spec in (OPENING, "streets:all:100@test")]
    assert all(f"{100 * one['miou']:.1f} % on" in words for one in figures)
    assert all(f"{name} {100 * value:.1f}" in words for one in figures for name, value in one["singles"].items())
    assert merge_words(["night", "nobody"], OPENING) == "" == merge_words(ABOUT["begin_with"], "streets:fog:24@val")


# --- measured answers -------------------------------------------------------------------------------------------------


def test_the_demo_opens_on_a_finished_curve_without_a_forward_pass(tmp_path: Path) -> None:
    studio = opened(tmp_path)
    source = studio.workspace.sources[0]
    assert source.spec == ABOUT["begin_with_data"]
    pair = studio.workspace.default_pair()
    assert pair is not None and list(pair) == ABOUT["begin_with"]
    view = studio.view(Selection(*pair, source.name, "val"))
    found, told = studio.sweep(view).snapshot(), merge_of(ABOUT["recommended"])["measured"][OPENING]
    assert (found["state"], found["done"], found["total"]) == ("done", 11, 11)
    assert found["a"] and found["b"] and found["best"]["miou"] > max(told["singles"].values()) + 0.01
    assert view_words(view, studio.workspace) and studio.runner.tally.run == 0
    assert studio.outlook(view)["level"] == "merge"
    recipes = [view.alone("a"), view.alone("b"), view.recipe(0.5)]
    assert None not in studio.runner.recall(recipes, view.need_pictures(), ("confusion", "loss", "calibration"))


def test_some_of_the_answers_are_measured_again(tmp_path: Path) -> None:
    """Other machines agree but for pixels on the edge between two classes."""
    shipping, fresh = opened(tmp_path / "a"), opened(tmp_path / "b", demo=False)
    files = [open_checkpoint(DEMO / f"{name}.safetensors") for name in ABOUT["begin_with"]]
    pictures = fresh.workspace.open_pictures("streets:all:3@val", None)
    for recipe in (recipe_alone(files[0]), write_recipe(files, "linear", {"alpha": 0.5}, "average")):
        fresh.runner.measure(recipe, pictures)
        for measure, allowed in (("confusion", 1e-3), ("loss", 1e-4)):
            question = Question((recipe,), pictures.fingerprint(), measure)
            taken, own = (one.runner.pictures(question, pictures) for one in (shipping, fresh))
            assert taken is not None and own is not None
            for one, other in zip(taken, own, strict=True):
                assert one.keys() == other.keys()
                for name in one:
                    moved, total = (one[name] - other[name]).abs().double().sum(), other[name].abs().double().sum()
                    assert moved <= allowed * total
    assert shipping.runner.tally.run == 0


def test_what_is_taken_is_written_out_again_to_the_byte(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "results.sqlite")
    assert take(answers, ANSWERS.read_bytes(), "cpu", "float32") > 30
    assert packed(shipment(answers, open_dataset(OPENING), "cpu", "float32")) == ANSWERS.read_bytes()
    assert take(answers, ANSWERS.read_bytes(), "cpu", "float32") == 0


def test_the_verb_writes_and_takes_a_file(tmp_path: Path, capsys) -> None:
    def say(*words: object) -> dict[str, Any]:
        main(["results", *map(str, words), "--json"])
        return json.loads(capsys.readouterr().out)

    taken = say("import", ANSWERS, "--home", tmp_path)["imported"]
    out = tmp_path / "again.json.gz"
    assert taken == say("export", out, "--data", OPENING, "--home", tmp_path)["exported"] > 30
    assert out.read_bytes() == ANSWERS.read_bytes()


@pytest.mark.parametrize("words", ["export", "export f", "import", "import f --data x", "list f", "import nowhere.gz"])
def test_wrong_words_after_results_end_in_one_line(tmp_path: Path, words: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["results", *words.split(), "--home", str(tmp_path)])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_it_is_taken_once_and_not_where_something_else_computes(tmp_path: Path, monkeypatch) -> None:
    answers = Answers(tmp_path / "results.sqlite")
    assert take_answers(answers, "cuda", "float32") == take_answers(answers, "cpu", "mixed") == 0
    for about in (type(MEASURES.get("confusion")), METHODS.get("linear")):
        with monkeypatch.context() as patch:
            patch.setattr(about, "version", 999)
            assert take_answers(answers, "cpu", "float32") == 0
    with monkeypatch.context() as patch:
        patch.setattr(shipped, "software", lambda: "torch 1.0")
        assert take_answers(answers, "cpu", "float32") == 0
    assert not answers.listed() and answers.database.read("SELECT * FROM builds") == []
    assert take_answers(answers, "cpu", "float32") > 30
    monkeypatch.setattr("fusionlib.studio.demo.take", None)
    assert take_answers(answers, "cpu", "float32") == 0


def test_what_was_measured_here_stays(tmp_path: Path) -> None:
    answers, content = Answers(tmp_path / "results.sqlite"), changed(lambda _: None)
    first = content["measured"][0]
    subject = Subject(tuple(first["builds"]), first["labels"], "float32", "cpu")
    version = MEASURES.get("loss").version
    recipe = recipe_alone(open_checkpoint(DEMO / "start.safetensors"))
    own = Answer({"loss": 1.0}, 30, 0)
    answers.keep(subject, "loss", version, Question((recipe,), content["data"], "loss"), OPENING, own)
    take(answers, ANSWERS.read_bytes(), "cpu", "float32")
    assert answers.find(subject, "loss", version, content["data"]) == own


def changed(change) -> dict[str, Any]:
    content = json.loads(gzip.decompress(ANSWERS.read_bytes()))
    change(content)
    return content


def _state_of(answers: list[dict[str, Any]], packed_state: bytes) -> None:
    small = next(one for one in answers if "states" in one)
    small["states"][0] = base64.b64encode(packed_state).decode()


def _figures_of(content: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in content["measured"][0]["answers"] if "figures" in one)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format=2),
        lambda c: c.update(extra=1),
        lambda c: c.update(classes="19"),
        lambda c: c.update(pictures=c["pictures"][1:]),
        lambda c: c.update(data="../" + c["data"]),
        lambda c: c.update(methods={}),
        lambda c: c["builds"][0].update(build="x"),
        lambda c: c["builds"][0].update(forwards=0),
        lambda c: c["measured"][0].update(builds=[]),
        lambda c: c["measured"][0].update(recipes=[{"method": "linear"}]),
        lambda c: c["measured"][0].update(recipes=[{**c["measured"][0]["recipes"][0], "run": "rm"}]),
        lambda c: _state_of(c["measured"][0]["answers"], b"nonsense"),
        lambda c: _state_of(c["measured"][0]["answers"], b""),
        lambda c: _figures_of(c)["figures"].update(more=1),
        lambda c: _figures_of(c)["figures"].update(ece_unweighted="<b>"),
        lambda c: _figures_of(c)["figures"].pop("ece_unweighted"),
        lambda c: _figures_of(c).pop("figures"),
    ],
)
def test_a_file_with_a_damaged_part_is_refused_as_a_whole(tmp_path: Path, change) -> None:
    answers = Answers(tmp_path / "results.sqlite")
    with pytest.raises(DataError):
        take(answers, gzip.compress(json.dumps(changed(change)).encode()), "cpu", "float32")
    assert not answers.listed() and answers.database.read("SELECT * FROM states") == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", gzip.compress(b"[1"), ANSWERS.read_bytes()[:-9], ANSWERS.read_bytes() * 2],
    ids=["empty", "not packed", "no JSON", "cut off", "twice"],
)
def test_no_file_of_answers_is_refused_and_the_demo_goes_on(tmp_path: Path, data: bytes) -> None:
    answers = Answers(tmp_path / "results.sqlite")
    with pytest.raises(DataError):
        take(answers, data, "cpu", "float32")
    (tmp_path / "answers.json.gz").write_bytes(data)
    assert take_answers(answers, "cpu", "float32", tmp_path / "answers.json.gz") == 0
    assert take_answers(answers, "cpu", "float32", tmp_path / "none") == 0


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shipped, "MOST_BYTES", 1 << 16)
    with pytest.raises(DataError, match="too large"):
        take(Answers(tmp_path / "results.sqlite"), gzip.compress(b" " * (1 << 20)), "cpu", "float32")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    content = changed(lambda c: _figures_of(c)["figures"].update(ece_unweighted=float("nan")))
    with pytest.raises(DataError):
        take(Answers(tmp_path / "results.sqlite"), gzip.compress(json.dumps(content).encode()), "cpu", "float32")


def test_a_home_folder_without_answers_about_the_data_writes_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No answers about streets:fog:3@val"):
        shipment(Answers(tmp_path / "results.sqlite"), open_dataset("streets:fog:3"), "cpu", "float32")


def test_states_travel_where_they_are_small_and_give_the_figures() -> None:
    content = Shipment.model_validate(changed(lambda _: None))
    for one in content.measured:
        by_measure = {answer.measure: answer for answer in one.answers}
        assert by_measure["confusion"].states and by_measure["loss"].states
        assert by_measure["calibration"].figures and torch.isfinite(
            torch.tensor(by_measure["calibration"].figures["ece_unweighted"])
        )
