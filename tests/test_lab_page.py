"""The Lab: runs in processes of their own, what they cost and leave, and the family of the workspace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from fusionlib.charts.family import family_figure, places
from fusionlib.charts.training import run_figure, schedule_figure
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.contracts import REGIMES
from fusionlib.data.spec import open_dataset
from fusionlib.engine.recipes import write_recipe
from fusionlib.errors import UsageError, WriteError
from fusionlib.lab.folder import held
from fusionlib.lab.loop import Trainer
from fusionlib.lab.manifest import FILE, Origin, RunRecord, SavedPoint, Validated, read_run
from fusionlib.lab.plan import TrainingPlan, build_regime
from fusionlib.runs.answers import Answers
from fusionlib.runs.desk import RunDesk
from fusionlib.studio import Options, Studio, training
from fusionlib.studio.family import Relative, family, relations
from fusionlib.studio.trained import BatchTime, LeftWork, Pace, outlay
from fusionlib.studio.training import TrainingDesk, Wish
from pages.widgets import server
from tests.helpers import folder_data, tiny_file, tiny_registered, until
from tests.page_tools import button, opened, text, tiny_files

STAND_IN = """
import json, os, pathlib, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
if "--fail" in sys.argv[-1] or (out / "fail").exists():
    sys.exit("fusionlib train: Got this. Needs: that. Do something.")
record = json.loads((out.parent.parent / "record.json").read_text())
begun = time.monotonic()
resumed = "--resume" in sys.argv
for done in range(1, 200):
    record["done"] = done
    record["finished"] = resumed
    (out / "new.json").write_text(json.dumps(record))
    os.replace(out / "new.json", out / "run.json")
    if resumed:
        break
    time.sleep(0.05)
"""
"""What a run's process does in tests of how it is watched: it tells of steps, and is done once it is gone on with."""


def trained(folder: Path, data: str, name: str = "run", **more) -> RunRecord:
    """A real run of the tiny network."""
    plan = TrainingPlan(architecture="tiny", classes=3, epochs=2, batch=2, crop=(8, 8))
    regime = build_regime("sse", {"lr": more.pop("lr", 0.2)})
    trainer = Trainer(plan, open_dataset(data, None), regime, folder / name, device=torch.device("cpu"), **more)
    trainer.run()
    return read_run(folder / name)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    with tiny_registered():
        folder = tmp_path_factory.mktemp("lab")
        yield trained(folder, f"folder:{folder_data(folder / 'data', 4)}")


@pytest.fixture
def desk(tmp_path: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingDesk]:
    """Runs whose process is the stand-in."""
    record.write(tmp_path)
    (tmp_path / FILE).rename(tmp_path / "record.json")
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(training, "PROGRAM", (sys.executable, str(script)))
    answers = Answers(tmp_path / "results.sqlite")
    yield TrainingDesk(tmp_path / "lab", RunDesk(answers.database))
    answers.database.close()


WISH = Wish("sse", ("folder:somewhere",), {"momentum": 0.5}, architecture="enet", select=("town",), crop=(8, 16))


def test_a_wish_is_a_command_line_that_names_all_of_it() -> None:
    words = WISH.arguments(Path("out"), ("--device=cpu",))
    assert words[:5] == ("train", "--regime", "sse", "--set", "momentum=0.5")
    for pair in (
        "--data folder:somewhere",
        "--arch enet",
        "--crop 8x16",
        "--epochs 3",
        "--batch 8",
        "--seed 0",
        "--select town",
    ):
        assert pair in " ".join(words)
    assert words[-3:] == ("--device=cpu", "--out", "out") and "--resume" not in words
    assert WISH.arguments(Path("out"), resume=True)[-1] == "--resume"


def test_a_run_is_watched_stopped_and_gone_on_with(desk: TrainingDesk) -> None:
    run = desk.new("first", WISH)
    assert run.state == "idle" and run.record is None
    run.want()
    until(lambda: run.done > 2)
    assert run.total == run.record.steps  # type: ignore[union-attr]
    run.cancel()
    run.wait(20)
    assert run.state == "cancelled" and not run.record.finished  # type: ignore[union-attr]
    again = TrainingDesk(desk.folder, desk._desk).get("first")  # another process
    assert again.state == "cancelled" and again.wish == WISH
    again.want()
    again.wait(20)
    assert again.state == "done" and again.record.finished  # type: ignore[union-attr]


def test_what_a_failing_run_says_is_said(desk: TrainingDesk) -> None:
    run = desk.new("broken", WISH)
    (run.folder / "fail").touch()
    run.want()
    run.wait(20)
    assert run.state == "failed" and "Got this. Needs: that" in str(run.message)


def test_a_run_whose_record_is_damaged_is_gone_on_with(desk: TrainingDesk) -> None:
    run = desk.new("cut", WISH)
    whole = (desk.folder.parent / "record.json").read_text()
    (run.folder / FILE).write_text(whole[: len(whole) // 2])
    again = TrainingDesk(desk.folder, desk._desk).get("cut")  # another process
    assert again.state == "cancelled" and again.record is None and "run.json" in again.problem.got  # type: ignore[union-attr]
    again.want()
    again.wait(20)
    assert again.state == "done" and again.problem is None, "told to resume"


def test_a_home_that_takes_no_run_says_so(tmp_path: Path, desk: TrainingDesk) -> None:
    desk.folder.write_text("in the way")
    with pytest.raises(WriteError, match="'lab'"):
        desk.new("a", WISH)
    assert desk.runs() == []


def test_names_of_runs_and_folders_that_are_none(desk: TrainingDesk) -> None:
    desk.new("a", WISH)
    assert desk.free_name("a") == "a-2" and desk.free_name("b") == "b"
    for wrong in ("a", "../x", "", ".hidden", "x" * 41, "a/b"):
        with pytest.raises(UsageError):
            desk.new(wrong, WISH)
    with pytest.raises(UsageError, match="one of a"):
        desk.get("zebra")
    wishes = ["", "[]", "{}", "[" * 9999, json.dumps({"regime": "sse"})]
    good = json.loads((desk.folder / "a" / training.WISH).read_text())
    wishes += [json.dumps({**good, "data": ["--model=evil.py"]}), json.dumps({**good, "start": "--model"})]
    for number, wish in enumerate(wishes):
        (desk.folder / f"bad-{number}").mkdir()
        (desk.folder / f"bad-{number}" / training.WISH).write_text(wish)
    assert [run.name for run in desk.runs()] == ["a"]


def test_what_a_run_takes_is_told_before_it_begins() -> None:
    found = outlay(Wish("sse", (), {}, epochs=6, batch=4), 16)
    assert found.steps == 24 and found.batches >= 24 and len(found.rates.values) == 24
    assert outlay(Wish("kfac", (), {}, epochs=6, batch=4), 16, 5).batches == 24 + 4 + 7 * 2
    assert max(found.rates.values) == 0.2 and found.saved == (8, 16, 24) and found.validation == 0
    begun = outlay(Wish("sse", (), {}, start="a.pth", epochs=6, batch=4), 16, 0, 100)
    assert max(begun.rates.values) == 0.02, "that of random weights would ruin a trained start"
    assert begun.networks == 1 + 3 + 3 and begun.validation == 8 * 7
    with pytest.raises(UsageError):
        outlay(Wish("sse", (), {"momentum": 7.0}), 16)
    line, marks = schedule_figure(found.rates, found.saved).data
    assert line.y[:-1] == tuple(found.rates.values) and list(marks.x) == [8, 16, 24] and marks.y[0] == line.y[7]


def test_figures_show_every_file_and_every_loss(record: RunRecord) -> None:
    figure = run_figure(record, {record.points[0].name: 0.5})
    files, scores = figure.data[1], figure.data[-1]
    assert list(files.x) == [one.step for one in record.points] and scores.y == (50.0,)
    assert list(figure.data[2].y) == list(record.losses.values)
    told = run_figure(replace(record, figures=(Validated(0, None, 0.25), Validated(2, "snapshot-1", None))))
    assert list(told.data[-1].y) == [25.0] and list(told.data[-1].marker.symbol) == ["circle-open"]


def test_what_a_run_left_joins_the_workspace_and_is_measured(tmp_path: Path) -> None:
    with tiny_registered():
        data = f"folder:{folder_data(tmp_path / 'data', 4)}"
        given = Options(demo=False, home=tmp_path / "home", device="cpu", data=(data,))
        studio = Studio(given)
        found = trained(tmp_path / "home" / "lab", data, validate=open_dataset(data, None))
        studio.workspace.refresh_checkpoints()
        items = [item for item in studio.workspace.usable() if item.given == "lab"]
        assert [item.name for item in items] == [f"run/{point.name}" for point in found.points]
        pictures = studio.workspace.open_pictures(data, None)
        work = LeftWork("run", [item.checkpoint for item in items], pictures, studio.runner)  # type: ignore[misc]
        assert work.cost() == len(items) * len(pictures) and work.scores == {}
        work.run()
        alone = {point.sha256: studio.evaluate(item.checkpoint, pictures)["miou"]  # type: ignore[arg-type]
                 for point, item in zip(found.points, items, strict=True)}  # fmt: skip
        assert work.scores == alone and work.cost() == 0
        live = {one.name: one.miou for one in found.figures if one.name}
        assert live == {point.name: alone[point.sha256] for point in found.points}, "measured while it was trained"
        (tmp_path / "home" / "lab" / "link").symlink_to(tmp_path)
        studio.workspace.refresh_checkpoints()
        assert len([item for item in studio.workspace.usable() if item.given == "lab"]) == len(items)


def test_the_family_knows_runs_merges_and_what_is_not_loaded(tmp_path: Path) -> None:
    with tiny_registered():
        data = f"folder:{folder_data(tmp_path / 'data', 4)}"
        studio = Studio(Options(demo=False, home=tmp_path / "home", device="cpu", checkpoints=(tmp_path / "files",)))
        found = trained(tmp_path / "home" / "lab", data)
        files = [open_checkpoint(tiny_file(tmp_path / "files", name, seed)) for seed, name in enumerate("ab")]
        out = tmp_path / "files" / "merged.safetensors"
        studio.merge(write_recipe(files, "linear", {"alpha": 0.5}, "average"), files, out)
        files[1].path.unlink()
        studio.workspace.refresh_checkpoints()
        tree = family(studio.workspace.usable(), {"run": found})
        named = {one.title: one for one in tree}
        merged = named["merged"]
        assert merged.merged and merged.how == "merged by linear" and merged.generation == 1
        assert {named[title].key for title in ("a", "b")} == set(merged.parents)
        assert named["a"].name == "a" and named["b"].name == ""
        last = named[f"run/{found.points[-1].name}"]
        assert last.how.startswith("trained by sse") and last.generation == len(found.points) - 1
        assert [(p.title, c.title) for p, c in relations(tree) if c.merged] == [("a", "merged"), ("b", "merged")]
        figure = family_figure(tree, {merged.key: 0.5})
        assert len(figure.data[1].x) == len(tree) and "merged  50.0 %" in figure.data[1].text


def test_a_circle_that_a_file_claims_ends(record: RunRecord) -> None:
    one, two = (SavedPoint(name, f"{name}.x", name, "epoch", 1, 0.1, (Origin(other, other),))
                for name, other in (("one", "two"), ("two", "one")))  # fmt: skip
    assert family([], {"run": replace(record, points=(one, two))}) == []
    circle = [Relative("one", "one", parents=("two",)), Relative("two", "two", parents=("one",))]
    assert set(places(circle)) == {"one", "two"}


def test_the_page_begins_a_run_shows_it_and_leads_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: RunRecord
) -> None:
    with opened("lab.py", tmp_path / "home", monkeypatch) as start:
        app = start()
        assert "No data is chosen" in text(app) and "No run yet" in text(app)
        script = tmp_path / "stand_in.py"
        script.write_text(STAND_IN)
        record.write(tmp_path / "home")
        (tmp_path / "home" / FILE).rename(tmp_path / "home" / "record.json")
        monkeypatch.setattr(training, "PROGRAM", (sys.executable, str(script)))
        files, data = tiny_files(tmp_path / "files"), folder_data(tmp_path / "data", 8)
        app = start("--checkpoints", str(files), "--data", f"folder:{data}")
        for name in REGIMES.names():
            app.selectbox(key="regime").set_value(name).run()
            assert not app.exception and REGIMES.get(name).summary in text(app)
        app.selectbox(key="regime").set_value("kfac").run()
        assert "name some under Parameters" in text(app)
        app.multiselect(key="lab-select").set_value(app.multiselect(key="lab-select").options[:1]).run()
        assert not app.exception and "Train: 11 batches" in button(app, "Train:").label, "3, 1 and 7 that choose tau"
        app.selectbox(key="regime").set_value("sse").run()
        assert "Train: 3 batches" in button(app, "Train:").label
        assert "lr is 0.02 by default from a trained start (0.2 from random weights)" in text(app)
        app.selectbox(key="start").set_value("random weights").run()
        assert "lr is 0.2 by default from random weights" in text(app)
        app.selectbox(key="start").set_value("c0").run()
        button(app, "Train:").click().run()
        assert not app.exception
        (run,) = server.studio().training.runs()
        assert run.wish.regime == "sse" and Path(str(run.wish.start)).parent == files
        until(lambda: run.done > 0)
        run.cancel()
        run.wait(20)
        app.run()
        assert not app.exception and "stopped: it can be resumed" in text(app)
        button(app, "Resume").click().run()
        run.wait(20)
        app.run()
        assert not app.exception and "finished" in text(app)


def test_a_run_of_another_process_is_followed_and_its_settings_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "home" / "lab"
    files, data = tiny_files(tmp_path / "files", 1), f"folder:{folder_data(tmp_path / 'data', 4)}"
    wish = Wish("sse", (data,), {"lr": 0.05}, str(files / "c0.pth"), epochs=2, batch=2, seed=7, class_weights=False)
    with opened("lab.py", tmp_path / "home", monkeypatch) as start:
        trained(lab, data, "theirs", start=files / "c0.pth")
        (lab / "theirs" / training.WISH).write_text(json.dumps(asdict(replace(wish, epochs=5000))))
        done = (lab / "theirs" / FILE).read_text()
        (lab / "theirs" / FILE).write_text(json.dumps({**json.loads(done), "finished": False}))
        app = start("--checkpoints", str(files), "--data", data)
        assert "stopped: it can be resumed" in text(app) and button(app, "Resume") is not None
        with held(lab / "theirs"):
            app.run()
            assert not app.exception and "another process trains it" in text(app) and button(app, "Resume") is None
            (lab / "theirs" / FILE).write_text(done)
        app.run()
        assert not app.exception and "**finished**" in text(app) and button(app, "Resume") is None
        button(app, "New run with these settings").click().run()
        assert not app.exception
        said = (app.selectbox(key="regime"), app.selectbox(key="start"), app.number_input(key="lab-seed"))
        assert [one.value for one in said] == ["sse", "c0", 7] and not app.toggle(key="lab-weights").value
        assert app.number_input(key="lab-epochs").value == 1000, "as far as the form goes"
        assert "Not taken over from theirs: no crop, epochs 5,000." in text(app).replace("\\", "")
        app.number_input(key="lab-epochs").set_value(2).run()
        button(app, "Train:").click().run()
        assert not app.exception
        runs = {run.name: run for run in server.studio().training.runs()}
        again = runs["sse"]
        again.cancel()
        again.wait(20)
        assert again.wish == replace(wish, crop=again.wish.crop)
        assert "Not taken over" not in text(app)


def test_a_wish_that_fits_no_form_fills_in_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = tmp_path / "home" / "lab"
    files, data = tiny_files(tmp_path / "files", 1), f"folder:{folder_data(tmp_path / 'data', 4)}"
    settings = {"lr": 1e9, "algorithm": "none", "momentum": "much", "cycles": None, "nonsense": 1}
    odd = Wish("finetune", ("folder:gone", data), settings, "gone.pth", "none:such", epochs=0, crop=(8, 8))
    with opened("lab.py", tmp_path / "home", monkeypatch) as start:
        for name, wish in (("infinite", asdict(odd) | {"epochs": float("inf")}), ("odd", asdict(odd))):
            (lab / name).mkdir(parents=True)
            (lab / name / training.WISH).write_text(json.dumps(wish))
        app = start("--checkpoints", str(files), "--data", data)
        button(app, "New run with these settings").click().run()
        assert not app.exception and app.selectbox(key="start").value == "c0"
        said = text(app).replace("\\", "")
        for lost in ("start gone.pth", "folder:gone", "crop 8 x 8", "network none:such", "epochs 0", *settings):
            assert lost in said, lost
        app.number_input(key="lab-seed").set_value(5).run()
        app.switch_page("workspace.py").run()
        app.switch_page("lab.py").run()
        assert not app.exception and app.number_input(key="lab-seed").value == 5, "over a look at another page"


def test_rates_of_runs_are_compared_after_their_cost_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = tmp_path / "home" / "lab"
    files, data = tiny_files(tmp_path / "files", 1), f"folder:{folder_data(tmp_path / 'data', 2)}"
    with opened("lab.py", tmp_path / "home", monkeypatch) as start:
        assert "How far may a fine-tuning go?" in text(start("--checkpoints", str(files), "--data", data))
        for lr in (0.05, 0.01):
            trained(lab, data, f"at-{lr}", lr=lr, start=files / "c0.pth")
            (lab / f"at-{lr}" / training.WISH).write_text(json.dumps(asdict(Wish("sse", (data,), {"lr": lr}))))
        app = start("--checkpoints", str(files), "--data", data)
        runs = app.multiselect(key="rates-runs/c0")
        assert runs.value == ["0.01 (at-0.01)", "0.05 (at-0.05)"], "by their rate"
        asked = app.button(key="rates-run")
        left = len(read_run(lab / "at-0.01").points)
        assert asked.label == f"Measure: {2 * (1 + 2 * left * 10 + 2):,} forward passes"
        asked.click().run()
        (work,) = server.studio().rates._works._works.values()
        until(lambda: work.state == "done")
        app.run()
        assert not app.exception and "Best merge: **" in text(app)
        table = next(item.value for item in app.dataframe if "gain (points)" in item.value)
        assert list(table["run"]) == runs.value and list(table["gain (points)"]) == [
            pytest.approx(100 * run["gain"]) for run in work.snapshot()["runs"]
        ]


def test_two_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with tiny_registered():
        data = open_dataset(f"folder:{folder_data(tmp_path / 'data', 4)}", None)
        plan = TrainingPlan(architecture="tiny", classes=3, epochs=1, batch=2, crop=(8, 8))
        one, other = (Trainer(plan, data, build_regime("scratch", {}), tmp_path / "run") for _ in range(2))

        def meanwhile(done: int, total: int) -> None:
            with pytest.raises(UsageError, match="by another process"):
                other.run()

        one.run(meanwhile)
        assert read_run(tmp_path / "run").finished


def test_the_time_of_a_batch_is_kept(tmp_path: Path) -> None:
    studio = Studio(Options(demo=False, home=tmp_path / "home", device="cpu"))
    wish = Wish("scratch", ("nothing:there",), architecture="enet")
    time = BatchTime(wish, "enet", studio.store, (), "cpu")
    assert time.pace is None
    studio.store.put(time.key, {"batch": 0.25, "picture": 0.5})
    again = BatchTime(replace(wish, epochs=2, batch=2), "enet", studio.store, (), "cpu")
    assert again.key != time.key and BatchTime(wish, "enet", studio.store, (), "cpu").pace == Pace(0.25, 0.5)
    assert Pace(0.25, 0.5).of(outlay(Wish("scratch", (), epochs=2, batch=2), 4, validate=9)) == 0.25 * 4 + 0.5 * 2 * 8
