"""`studies`: every registered study is listed, and one that needs no more than networks and pictures runs by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helpers import folder_data, tiny_file, tiny_registered

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import STUDIES, Study
from fusionlib.engine.recipes import recipe_alone
from fusionlib.parameters import parameter
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe
from fusionlib.runs.executor import HereExecutor, Task
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.curve import Curve
from fusionlib.studio import Options, Studio


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """a.pth, b.pth and town/ of three pictures as working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        tiny_file(tmp_path, name, seed)
    folder_data(tmp_path / "town", 3)
    with tiny_registered():
        yield tmp_path


def verb(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, Any]:
    main([*arguments, "--home", "home", "--device", "cpu", "--json"])
    return json.loads(capsys.readouterr().out)


def studied(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, Any]:
    return verb(capsys, "studies", *arguments, "--data", "folder:town")


def test_all_are_listed_with_their_version_and_source(capsys: pytest.CaptureFixture, place: Path) -> None:
    found = verb(capsys, "studies")["studies"]
    assert {"sweep", "curve", "compare", "barriers", "temperature"} <= {one["name"] for one in found}
    assert [one["name"] for one in found] == sorted(STUDIES.names())
    assert all(one["title"] and one["summary"] and one["citation"] and one["version"] > 0 for one in found)


def test_a_curve_of_networks_is_what_evaluate_says(capsys: pytest.CaptureFixture, place: Path) -> None:
    found = studied(capsys, "curve", "a.pth", "b.pth")
    assert [point["point"] for point in found["points"]] == [0, 1] and found["forward_passes"] == 6
    again = verb(capsys, "evaluate", "b.pth", "--data", "folder:town")
    assert again["forward_passes"] == 0 and again["miou"] == found["points"][1]["miou"]


def test_a_temperature_is_fitted_and_reported(capsys: pytest.CaptureFixture, place: Path) -> None:
    found = studied(capsys, "temperature", "a.pth")
    assert found["fit"]["nll_after"] <= found["fit"]["nll_before"]
    assert found["after"]["miou"] == found["before"]["miou"]


def test_a_temperature_is_reported_on_pictures_that_it_was_not_fitted_on(
    capsys: pytest.CaptureFixture, place: Path
) -> None:
    """Pictures 1 and 3 fit it, picture 2 reports: the same figures as of two folders that hold these."""
    found = studied(capsys, "temperature", "a.pth")
    assert (found["fit"]["images"], found["before"]["images"], found["after"]["images"]) == (2, 1, 1)
    assert "from number 1" in found["fitted_on"] and "from number 2" in found["reported_on"]
    for name, kept in (("fit", (0, 2)), ("report", (1,))):
        folder_data(place / name, 3)
        for number in {0, 1, 2} - set(kept):
            for kind in ("images", "masks"):
                (place / name / kind / f"p{number}.png").unlink()
    report = verb(capsys, "evaluate", "a.pth", "--data", "folder:report")
    assert report["loss"] == found["before"]["loss"]
    assert verb(capsys, "evaluate", "a.pth", "--data", "folder:fit")["loss"] == pytest.approx(
        found["fit"]["nll_before"]
    )


def test_one_picture_cannot_be_halved(capsys: pytest.CaptureFixture, place: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        studied(capsys, "temperature", "a.pth", "--limit", "1")
    assert ended.value.code == 2 and "Needs: two or more to halve" in capsys.readouterr().err


def test_people_get_a_short_table(capsys: pytest.CaptureFixture, place: Path) -> None:
    found = {name: studied(capsys, name, "a.pth") for name in ("curve", "temperature")}
    for name in found:
        main(["studies", name, "a.pth", "--data", "folder:town", "--home", "home", "--device", "cpu"])
        said = capsys.readouterr().out
        assert len(said.splitlines()) < 45 and "{" not in said and "--json" in said, name
        of = found[name]["points"][0] if name == "curve" else found[name]["before"]
        assert f"{100 * of['miou']:.2f} %" in said and f"{of['loss']:.4f}" in said
    assert "every other picture from number 2" in said


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (("nope", "a.pth"), "one of barriers"),
        (("temperature",), "--data SPEC"),
        (("temperature", "a.pth", "b.pth"), "one whose temperature"),
        (("compare", "a.pth", "b.pth"), "its own verb"),
        (("curve", "a.pth", "--set", "x=1"), "no parameters"),
    ],
)
def test_what_cannot_run_is_said(
    capsys: pytest.CaptureFixture, place: Path, arguments: Sequence[str], needs: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        studied(capsys, *arguments)
    assert ended.value.code == 2 and needs in capsys.readouterr().err


def test_a_new_study_is_one_class_and_one_line(
    capsys: pytest.CaptureFixture, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the command line, worked off as a run, kept, and told from others by what it says of itself."""
    monkeypatch.setattr(STUDIES, "_items", dict(STUDIES._items))

    @STUDIES.register("better")
    @dataclass(frozen=True)
    class Better(Study):
        """Which of several networks is above a score."""

        members: tuple[Recipe, ...]
        data: str
        score: float = parameter(0.5, "mIoU to be above", min=0.0, max=1.0)
        title: ClassVar[str] = "Better"
        summary: ClassVar[str] = "Which networks are above a score"
        source: ClassVar[str] = "a test"
        version: ClassVar[int] = 1

        @classmethod
        def planned(cls, members: Sequence[Recipe], data: str, **settings: Any) -> Better:
            return cls(tuple(members), data, **settings)

        def steps(self, known: Known) -> Sequence[Step]:
            return [Step((self.question(one),)) for one in self.members]

        def question(self, recipe: Recipe) -> Question:
            return Question((recipe,), self.data, "confusion")

        def table(self, known: Known) -> dict[str, Any]:
            told = [told_of((self.question(one),), known) for one in self.members]
            return {"above": [bool(one) and figures_of(one)["miou"] > self.score for one in told]}

    assert "better" in [one["name"] for one in verb(capsys, "studies")["studies"]]
    found = studied(capsys, "better", "a.pth", "b.pth", "--set", "score=0")
    assert found["above"] == [True, True] and found["forward_passes"] == 6
    assert studied(capsys, "better", "a.pth", "b.pth", "--set", "score=1")["above"] == [False, False]
    assert studied(capsys, "better", "a.pth")["forward_passes"] == 0
    main(["runs", "--home", "home", "--json"])
    assert {run["kind"] for run in json.loads(capsys.readouterr().out)["runs"]} == {"studies"}


def test_tasks_of_an_executor_are_plain_values(place: Path) -> None:
    """Whoever runs them may be in another process: they travel as bytes, and the answers are those of the runner."""
    answered: list[Task] = []

    class Elsewhere:
        def __init__(self, runner: Runner, pictures: dict) -> None:
            self.here = HereExecutor(runner, pictures)

        def run(self, task: Task, progress) -> list:
            answered.append(pickle.loads(pickle.dumps(task)))
            return self.here.run(answered[-1], progress)

    studio = Studio(Options((), (), demo=False, home=place / "home", device="cpu"))
    files = [open_checkpoint(place / f"{name}.pth") for name in "ab"]
    pictures = studio.workspace.open_pictures("folder:town", None)
    studio.sources.know(files, pictures)
    data = pictures.fingerprint()
    work = Work("curve", Curve.planned([recipe_alone(one) for one in files], data), studio.runner, {data: pictures})
    work.executor = Elsewhere(studio.runner, {data: pictures})
    work.run()
    assert [len(task.questions) for task in answered] == [2, 2] and len(work.table()["points"]) == 2
