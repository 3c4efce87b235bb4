"""Answers: the same to the last bit in whatever order they are asked for, and no picture is looked at twice."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    CPU,
    counted_forwards,
    folder_data,
    threefold_registered,
    tiny_checkpoints,
    tiny_registered,
    worker,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import MEASURES
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.engine import build
from fusionlib.engine.build import Builder
from fusionlib.engine.merge import Merger
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import Cancelled, DataError, UsageError
from fusionlib.measures import states
from fusionlib.question import Question, Told
from fusionlib.recipe import Recipe
from fusionlib.runs.answers import SCHEMA, Answers
from fusionlib.runs.runner import BASIC, Runner
from fusionlib.runs.statistics import StatisticsStore

PICTURES = 5
ALWAYS = tuple(name for name, measure in MEASURES.items() if measure.always)


@dataclass
class Bench:
    """A home folder that runners come and go in, with three checkpoints and a folder of pictures."""

    home: Path
    files: list[Checkpoint]
    town: Path

    def pictures(self, limit: int | None = None) -> DecodedCache:
        return DecodedCache(open_dataset(f"folder:{self.town}", None, limit), 1 << 24)

    def runner(self) -> Runner:
        """That of the next process."""
        merger = Merger(worker(), CPU, None, StatisticsStore(self.home / "statistics"))
        merger.sources.know(self.files, self.pictures())
        return Runner(Builder(merger), Answers(self.home / "results.sqlite"))

    def merge(self, method: str, count: int = 2, buffers: str = "average", **parameters: Any) -> Recipe:
        return write_recipe(self.files[:count], method, parameters, buffers, self.pictures(), 3)

    def table(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "results.sqlite", isolation_level=None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with tiny_registered(), threefold_registered():
        place = tmp_path_factory.mktemp("runner")
        yield Bench(place / "home", tiny_checkpoints(place / "files", 3), folder_data(place / "town", PICTURES))


@pytest.fixture
def bench(shared: Bench, tmp_path: Path) -> Bench:
    """One with a home of its own."""
    return Bench(tmp_path / "home", shared.files, shared.town)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted_forwards(monkeypatch)


def figures(told: Sequence[Told]) -> list[tuple[dict[str, Any], int, int]]:
    return [(dict(one.figures), one.images, one.tiled) for one in told]


def after(calls: int) -> Callable[[int, int], None]:
    """Progress that is cancelled at its next call after so many."""
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        assert 0 <= done <= total
        seen.append(done)
        if len(seen) > calls:
            raise Cancelled

    return progress


def asked_for(bench: Bench) -> list[Question]:
    """One question of every kind: one network by every measure, merges, several networks, pairs and a set."""
    a, b, c = map(recipe_alone, bench.files)
    half, three = bench.merge("linear", alpha=0.5), bench.merge("threefold")
    anew, both = bench.merge("isotropic", 3, "recalibrate"), bench.merge("ensemble")
    data = bench.pictures().fingerprint()
    ones = [(recipe, name) for recipe in (a, half, three, anew, both) for name in BASIC]
    ones += [(a, "calibration"), (three, "calibration"), (b, "calibration_fine")]
    several = [((a, b), "agreement"), ((a, b, c), "agreement"), ((a, b), "oracle"), ((b, c), "cka"), ((c, half), "cka")]
    return [Question((recipe,), data, name) for recipe, name in ones] + [
        Question(recipes, data, name) for recipes, name in several
    ]


@pytest.fixture(scope="module")
def wanted(shared: Bench) -> dict[Question, tuple[dict[str, Any], int, int]]:
    """What each question is answered with when all are asked at once."""
    questions = asked_for(shared)
    told = shared.runner().ask(questions, shared.pictures())
    assert [one.question for one in told] == questions and not any(one.known for one in told)
    return dict(zip(questions, figures(told), strict=True))


# --- equal, whatever the way -----------------------------------------------------------------------------------------


def cut(data: st.DataObject, order: Sequence[Question]) -> list[Sequence[Question]]:
    """The same questions in order, some at a time."""
    places = sorted({0, len(order), *data.draw(st.lists(st.integers(1, len(order) - 1), max_size=3))})
    return [order[start:end] for start, end in pairwise(places)]


@settings(deadline=None, max_examples=4)
@given(st.data())
def test_neither_order_nor_split_changes_a_bit(
    shared: Bench, wanted, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bench = Bench(tmp_path_factory.mktemp("home"), shared.files, shared.town)
    order, pictures = data.draw(st.permutations(list(wanted))), shared.pictures()
    runner = bench.runner()
    for part in cut(data, order):
        assert figures(runner.ask(part, pictures)) == [wanted[question] for question in part]
    again = bench.runner().ask(order, pictures)
    assert all(one.known for one in again) and figures(again) == [wanted[question] for question in order]


@settings(deadline=None, max_examples=5)
@given(st.data())
def test_neither_a_cancel_nor_another_process_changes_a_bit_or_repeats_a_pass(
    shared: Bench, wanted, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bench = Bench(tmp_path_factory.mktemp("home"), shared.files, shared.town)
    single = [question for question in wanted if len(question.recipes) == 1 and question.measure != "calibration_fine"]
    order, pictures, run = data.draw(st.permutations(single)), shared.pictures(), 0
    cancels = data.draw(st.lists(st.integers(0, 40), max_size=4))
    with pytest.MonkeyPatch.context() as patch:
        looked = counted_forwards(patch)
        for part in cut(data, order):
            told = None
            while told is None:
                runner = bench.runner()
                with suppress(Cancelled):
                    told = runner.ask(part, pictures, after(cancels.pop()) if cancels else None)
                run += runner.tally.run
            assert figures(told) == [wanted[question] for question in part]
    networks = 1 + 1 + 3 + 1 + 2
    assert len(looked) == networks * PICTURES, "a picture that is finished is never looked at again"
    assert run >= len(looked), "and what a merge looks at before counts too"


def test_a_cancelled_pass_goes_on_with_the_next_picture(bench: Bench, forwards: list[int]) -> None:
    recipe, pictures = bench.merge("linear", alpha=0.3), bench.pictures()
    for calls in (1, 2):
        with pytest.raises(Cancelled):
            bench.runner().measure(recipe, pictures, after(calls))
    assert 0 < sum(forwards) < PICTURES
    runner = bench.runner()
    runner.measure(recipe, pictures)
    assert sum(forwards) == PICTURES
    assert runner.tally.run + runner.tally.known == PICTURES and runner.tally.known > 0


def test_one_pass_feeds_all_that_is_asked_at_once(bench: Bench, forwards: list[int]) -> None:
    """Pairs and sets look at what the single networks are looked at for."""
    a, b, c = map(recipe_alone, bench.files)
    pictures, runner = bench.pictures(), bench.runner()
    data = pictures.fingerprint()
    pairs = [Question(pair, data, name) for pair in ((a, b), (b, c)) for name in ("oracle", "agreement", "cka")]
    told = runner.ask([*pairs, *(Question((one,), data, "loss") for one in (a, b, c))], pictures)
    assert sum(forwards) == 3 * PICTURES == runner.tally.run and len({one.builds for one in told}) == 5


def test_what_every_pass_over_masks_feeds_comes_for_nothing(bench: Bench, forwards: list[int]) -> None:
    assert set(ALWAYS) >= {"confusion", "loss", "calibration"}
    recipe, pictures = bench.merge("isotropic", 3), bench.pictures()
    bench.runner().measure(recipe, pictures, measures=ALWAYS[:1])
    looked, runner = len(forwards), bench.runner()
    for name in ALWAYS:
        (told,) = runner.ask([Question((recipe,), pictures.fingerprint(), name)], pictures)
        assert told.known and told.images == PICTURES
    assert len(forwards) == looked == PICTURES
    assert (runner.tally.run, runner.tally.known) == (0, len(ALWAYS) * PICTURES)


def test_equal_networks_are_looked_at_once_whatever_they_are_called(bench: Bench, forwards: list[int]) -> None:
    a, pictures, runner = recipe_alone(bench.files[0]), bench.pictures(), bench.runner()
    first = runner.measure(a, pictures)
    assert runner.measure(bench.merge("linear", alpha=1.0), pictures) == first
    assert runner.measure(bench.merge("slerp", alpha=1.0), pictures) == first
    assert len(forwards) == PICTURES


# --- more pictures ---------------------------------------------------------------------------------------------------


def test_of_a_larger_limit_only_the_new_pictures_are_looked_at(bench: Bench, wanted, forwards: list[int]) -> None:
    recipe = bench.merge("threefold")
    for limit, new in ((2, 2), (4, 2), (3, 0), (None, 1)):
        before, runner = len(forwards), bench.runner()
        found = runner.measure(recipe, bench.pictures(limit))
        assert (len(forwards) - before, runner.tally.run) == (3 * new, 3 * new), "three networks"
        assert runner.tally.known == 3 * (found["images"] - new)
    question = Question((recipe,), bench.pictures().fingerprint(), "confusion")
    assert wanted[question][0].items() <= found.items()


def test_of_a_folder_that_has_grown_only_the_new_pictures_are_looked_at(bench: Bench, forwards: list[int]) -> None:
    whole, town = bench.town, bench.home.parent / "growing"
    shutil.copytree(whole, town)
    for part, name in (("images", "p1.png"), ("masks", "p1.png")):
        (town / part / name).rename(bench.home.parent / f"{part}-{name}")
    bench.town, recipe = town, recipe_alone(bench.files[1])
    fewer = bench.runner().measure(recipe, bench.pictures())
    for part, name in (("images", "p1.png"), ("masks", "p1.png")):
        shutil.copy(whole / part / name, town / part / name)
    more = bench.runner().measure(recipe, bench.pictures())
    assert len(forwards) == PICTURES and (fewer["images"], more["images"]) == (PICTURES - 1, PICTURES)
    bench.town = whole  # the same pictures elsewhere
    assert bench.runner().measure(recipe, bench.pictures()) == more and len(forwards) == PICTURES


def test_a_split_that_is_measured_as_a_whole_is_measured_again(bench: Bench, forwards: list[int]) -> None:
    recipe, runner = recipe_alone(bench.files[0]), bench.runner()
    for limit in (3, None, None):
        runner.measure(recipe, bench.pictures(limit), measures=("calibration_fine",))
    assert len(forwards) == 3 + PICTURES


# --- several networks that answer together ---------------------------------------------------------------------------


def test_a_merge_that_is_three_networks_has_the_memory_of_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, forwards: list[int]
) -> None:
    made: list[object] = []

    class Counted(build.BoundNetwork):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            made.append(self)
            super().__init__(*arguments, **more)

    monkeypatch.setattr(build, "BoundNetwork", Counted)
    runner, pictures = bench.runner(), bench.pictures()
    found = runner.measure(bench.merge("threefold", spread=0.3), pictures, measures=(*BASIC, "calibration"))
    assert len(made) == 1 and runner.tally.run == 3 * PICTURES == len(forwards)
    assert found["images"] == PICTURES and found["calibration"]["pixels"] > 0
    runner.measure(bench.merge("threefold", spread=0.1), pictures)
    runner.measure(bench.merge("ensemble", 3), pictures)
    assert len(made) == 1, "all of one architecture share it"
    same = runner.measure(bench.merge("threefold", spread=0.0), pictures)
    half = runner.measure(bench.merge("linear", alpha=0.5), pictures)
    assert same["iou"] == half["iou"] and same["loss"] == pytest.approx(half["loss"], abs=1e-6)


def test_every_network_of_a_merge_is_recalibrated(bench: Bench, forwards: list[int]) -> None:
    runner, pictures = bench.runner(), bench.pictures()
    runner.measure(bench.merge("threefold", buffers="recalibrate"), pictures)
    assert runner.tally.run == 3 * 3 + 3 * PICTURES and len(forwards) == 3 * PICTURES
    again = bench.runner()
    again.measure(bench.merge("threefold", buffers="recalibrate"), pictures)
    assert (again.tally.run, again.tally.known) == (0, runner.tally.run)


# --- forward passes --------------------------------------------------------------------------------------------------


def test_what_a_merge_must_find_out_is_counted_too(bench: Bench) -> None:
    pictures, first = bench.pictures(), bench.runner()
    first.measure(bench.merge("fisher"), pictures)
    assert (first.tally.run, first.tally.known) == (2 * 3 + PICTURES, 0), "two checkpoints on three pictures"
    second = bench.runner()
    second.measure(bench.merge("fisher", normalise=False), pictures)
    assert (second.tally.run, second.tally.known) == (PICTURES, 2 * 3), "their information is stored"
    third = bench.runner()
    third.measure(bench.merge("fisher"), pictures)
    assert (third.tally.run, third.tally.known) == (0, 2 * 3 + PICTURES)
    fourth = bench.runner()
    fourth.measure(bench.merge("fisher"), pictures, fresh=True)
    assert fourth.tally.run == PICTURES, "measured again, and not found out again"


def test_progress_ends_at_its_total_and_passes_before_a_cancel_count(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    runner, pictures = bench.runner(), bench.pictures()
    runner.measure(bench.merge("isotropic", 3, "recalibrate"), pictures, lambda *how: told.append(how))
    assert told[0][0] == 0 and told[-1] == (3 + PICTURES, 3 + PICTURES)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1, "known from the beginning"
    with pytest.raises(Cancelled):
        runner.measure(bench.merge("linear", 2, "recalibrate", alpha=0.1), pictures, after(1))
    assert runner.tally.run == 3 + PICTURES + 1


# --- what somebody has damaged ---------------------------------------------------------------------------------------

DAMAGE = {
    "bytes changed": "UPDATE states SET state = CAST(substr(state, 1, 20) AS BLOB)",
    "text": "UPDATE states SET state = 'text'",
    "null bytes": "UPDATE states SET state = zeroblob(40)",
    "tiles": "UPDATE states SET tiles = 'many'",
    "of another measure": "UPDATE states SET state = (SELECT state FROM states WHERE measure = 'loss')",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_measured_again(bench: Bench, statement: str, forwards: list[int]) -> None:
    recipe, pictures = recipe_alone(bench.files[0]), bench.pictures()
    good = bench.runner().measure(recipe, pictures, measures=ALWAYS)
    place = "(SELECT picture FROM states LIMIT 1 OFFSET 2)"
    with closing(bench.table()) as table:
        changed = table.execute(f"{statement} WHERE measure = 'confusion' AND picture = {place}").rowcount
        table.execute("DELETE FROM answers WHERE measure != 'loss'")
    assert changed == 1 and len(forwards) == PICTURES
    assert bench.runner().measure(recipe, pictures, measures=ALWAYS) == good
    assert len(forwards) == PICTURES + 1, "that picture alone"
    assert bench.runner().measure(recipe, pictures, measures=ALWAYS) == good and len(forwards) == PICTURES + 1


def test_whoever_needs_a_damaged_state_has_it_measured_though_the_figures_are_known(
    bench: Bench, forwards: list[int]
) -> None:
    recipe, pictures = recipe_alone(bench.files[0]), bench.pictures()
    good = bench.runner().measure(recipe, pictures)
    with closing(bench.table()) as table:
        table.execute("UPDATE states SET state = 'text' WHERE picture = (SELECT picture FROM states LIMIT 1)")
    runner = bench.runner()
    assert runner.measure(recipe, pictures) == good and len(forwards) == PICTURES, "figures need no states"
    question = Question((recipe,), pictures.fingerprint(), "confusion")
    assert runner.pictures(question, pictures) is None
    assert runner.measure(recipe, pictures) == good and len(forwards) == PICTURES + 1
    assert len(runner.pictures(question, pictures) or ()) == PICTURES


def test_a_damaged_state_of_a_file_that_cannot_be_written_is_measured_again(
    bench: Bench, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, pictures = recipe_alone(bench.files[0]), bench.pictures()
    good = bench.runner().measure(recipe, pictures)
    with closing(bench.table()) as table:
        table.execute("UPDATE states SET state = zeroblob(9)")
        table.execute("DELETE FROM answers")
    runner = bench.runner()
    real = runner.answers.database._opened

    def read_only() -> sqlite3.Connection:
        file = real()
        file.execute("PRAGMA query_only = 1")
        return file

    monkeypatch.setattr(runner.answers.database, "_opened", read_only)
    for _ in range(2):
        assert runner.measure(recipe, pictures) == good
        assert len(forwards) == 2 * PICTURES, "held by this process"
    assert any("could not be kept" in note for note in runner.answers.database.notes)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET figures = '[1]'",
        "UPDATE answers SET figures = 'no json'",
        "UPDATE answers SET images = 'many'",
        "UPDATE builds SET notes = '{'",
        "UPDATE builds SET seconds = 'long'",
        "UPDATE builds SET build = x'00'",
        "UPDATE subjects SET recipes = '{'",
    ],
)
def test_damaged_figures_follow_from_the_states_again(bench: Bench, statement: str, forwards: list[int]) -> None:
    recipe, pictures = recipe_alone(bench.files[0]), bench.pictures()
    good = bench.runner().measure(recipe, pictures)
    with closing(bench.table()) as table:
        assert table.execute(statement).rowcount > 0
    runner = bench.runner()
    assert isinstance(runner.answers.listed(), list)
    assert runner.measure(recipe, pictures) == good and len(forwards) == PICTURES


def test_states_are_of_the_size_that_their_measure_says(bench: Bench) -> None:
    """A measure whose states grew from picture to picture could not be told from a damaged one."""
    bench.runner().ask(asked_for(bench), bench.pictures())
    with closing(bench.table()) as table:
        rows = table.execute("SELECT DISTINCT measure, state FROM states").fetchall()
    found = {name: set() for name, _ in rows}
    for name, state in rows:
        found[name].add(tuple((key, tuple(value.shape)) for key, value in states.unpack(state).items()))
    assert {name for name, shapes in found.items() if len(shapes) == 1} >= {"confusion", "calibration", "loss"}
    assert all(MEASURES.get(name).grain == "picture" for name in found)


# --- files of earlier versions ---------------------------------------------------------------------------------------


def test_an_old_file_says_what_it_drops_and_is_used(bench: Bench) -> None:
    bench.home.mkdir()
    with closing(bench.table()) as table:
        table.execute("CREATE TABLE results (key TEXT PRIMARY KEY, value TEXT NOT NULL, created REAL NOT NULL)")
        table.executemany("INSERT INTO results VALUES (?, '{}', 0)", [(str(number),) for number in range(7)])
    runner = bench.runner()
    runner.measure(recipe_alone(bench.files[0]), bench.pictures())
    (note,) = runner.answers.database.notes
    assert note == "7 results of an earlier version were dropped: they are measured anew when they are asked for"
    again = bench.runner()
    again.measure(recipe_alone(bench.files[0]), bench.pictures())
    assert again.tally.run == 0 and again.answers.database.notes == ()


def test_a_file_of_the_layout_before_keeps_its_figures(bench: Bench, forwards: list[int]) -> None:
    recipe, pictures = bench.merge("linear", alpha=0.5), bench.pictures()
    good = bench.runner().measure(recipe, pictures)
    with closing(bench.table()) as table:
        table.execute("ALTER TABLE builds DROP COLUMN forwards")
        table.execute("ALTER TABLE builds DROP COLUMN passes")
        table.execute("PRAGMA user_version = 2")
    runner = bench.runner()
    assert runner.measure(recipe, pictures) == good and len(forwards) == PICTURES
    assert runner.answers.database.notes == () and "forwards" in SCHEMA


# --- what cannot be answered -----------------------------------------------------------------------------------------


def test_what_cannot_be_measured_is_said_before_any_pass(bench: Bench, tmp_path: Path, forwards: list[int]) -> None:
    plain = DecodedCache(open_dataset(f"pictures:{folder_data(tmp_path / 'plain', 2, masks=False)}"), 1 << 24)
    a, b = map(recipe_alone, bench.files[:2])
    with pytest.raises(DataError, match="no masks"):
        bench.runner().measure(a, plain)
    with pytest.raises(UsageError, match="one of"):
        bench.runner().measure(a, bench.pictures(), measures=("beauty",))
    with pytest.raises(UsageError, match="sum to 1"):
        bench.runner().measure(bench.merge("linear", weights=[0.9, 0.9]), bench.pictures())
    assert forwards == []
    (told,) = bench.runner().ask([Question((a, b), plain.fingerprint(), "agreement")], plain)
    assert told.images == 2 and len(forwards) == 4, "what needs no masks does without"


def test_nothing_is_built_for_what_is_known_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, pictures = bench.merge("isotropic", 3), bench.pictures()
    question = Question((recipe,), pictures.fingerprint(), "loss")
    assert bench.runner().known([question], pictures) == [None]
    (told,) = bench.runner().ask([question], pictures)
    runner = bench.runner()
    monkeypatch.setattr(runner.builder, "build", lambda *_: pytest.fail("nothing is to be built"))
    (known,) = runner.known([question], pictures)
    assert known is not None and known.known and figures([known]) == figures([told])
    assert runner.recall([recipe, bench.merge("linear", alpha=0.9)], pictures)[1] is None
    assert runner.tally.run == runner.tally.known == 0
    begun = time.perf_counter()
    runner.ask([question] * 50, pictures)
    assert time.perf_counter() - begun < 2
