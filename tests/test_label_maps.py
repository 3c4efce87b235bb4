"""Predicted label maps: those of a loop over the pictures, in bounded space, and nothing believed of the tables."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import CPU, World, counted_forwards, folder_data, pictures, tiny_world
from PIL import Image

from fusionlib.cli import main
from fusionlib.contracts import MEASURES, MapMeasure
from fusionlib.data import files
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.engine import observe
from fusionlib.errors import UsageError
from fusionlib.imaging.png import pack_labels
from fusionlib.measures import states
from fusionlib.measures.observation import Observation
from fusionlib.measures.states import MAP
from fusionlib.options import Options
from fusionlib.question import Question
from fusionlib.runs.answers import Answers
from fusionlib.runs.maps import PAGE, Maps, Owner
from fusionlib.studio import Studio

PICTURES = 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, count=PICTURES) as world:
        yield world


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted_forwards(monkeypatch)


def asked(world: World, letter: str = "a", source: str | None = None):
    """The question of a network's labels, with its pictures."""
    view = world.view(source=source)
    return Question((view.alone(letter),), view.pictures.fingerprint(), "labels"), view.pictures


def by_loop(world: World, question: Question, pictures) -> list[np.ndarray]:
    """Labels picture by picture, with nothing but the network's logits."""
    network = world.studio.runner.builder.build(question.recipes[0])
    found = []
    for index in range(len(pictures)):
        image = pictures.load(index, whole=True).image
        found.append(network.logits(image[None], image.shape[:2])[0].numpy().argmax(0).astype(np.uint8))
    return found


def same_maps(found, expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(
        np.array_equal(one[MAP].numpy(), other) for one, other in zip(found, expected, strict=True)
    )


def table(world: World) -> sqlite3.Connection:
    return sqlite3.connect(world.studio.options.home / "results.sqlite", isolation_level=None)


def limited(world: World, home_mb: int) -> World:
    """The same home with another bound."""
    world.studio.store.close()
    return World(Studio(Options(**{**vars(world.studio.options), "home_mb": home_mb})), world.folder)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_maps_are_those_of_a_loop_and_are_looked_up_from_then_on(world: World, forwards: list[int]) -> None:
    question, pictures = asked(world)
    runner = world.studio.runner
    assert runner.pictures(question, pictures) is None and runner.known([question], pictures) == [None]
    (told,) = runner.ask([question], pictures)
    expected, looked = by_loop(world, question, pictures), PICTURES
    assert same_maps(runner.pictures(question, pictures), expected) and not told.known
    assert told.figures["predicted_pixels"] == np.bincount(np.concatenate(expected, None), minlength=3).tolist()
    assert sum(told.figures["predicted_share"]) == pytest.approx(1) and told.figures["predicted_outside"] == 0
    del forwards[:]
    again = world.reopened().studio.runner
    assert again.ask([question], pictures)[0].known and again.tally.known == looked
    assert same_maps(again.pictures(question, pictures), expected)
    assert same_maps(again.look_into(question, pictures), expected) and forwards == [] and again.tally.run == 0
    assert same_maps(again.pictures(question, pictures, [2, 0]), [expected[2], expected[0]])
    assert same_maps(again.pictures(question, pictures)[1:3], expected[1:3])


def test_no_other_measure_feeds_it_and_it_comes_with_one_pass_of_others(world: World, forwards: list[int]) -> None:
    question, pictures = asked(world)
    runner = world.studio.runner
    runner.measure(question.recipes[0], pictures)
    assert runner.pictures(question, pictures) is None and sum(forwards) == PICTURES
    other, _ = asked(world, "b")
    loss = Question(other.recipes, other.data, "loss")
    runner.ask([other, loss, question], pictures)
    assert sum(forwards) == 3 * PICTURES and runner.pictures(other, pictures) is not None


def test_pictures_without_masks_have_the_network_s_own_classes(tmp_path: Path) -> None:
    plain = folder_data(tmp_path / "plain", 2, masks=False)
    with tiny_world(tmp_path, data=(f"pictures:{plain}",), classes=20) as world:
        question, pictures = asked(world)
        assert not pictures.labelled
        assert same_maps(world.studio.runner.look_into(question, pictures), by_loop(world, question, pictures))


def test_labels_count_as_the_annotation_s_classes() -> None:
    logits = torch.randn(1, 20, 6, 7, generator=torch.Generator().manual_seed(0))
    logits[0, 3, 0, 0] = torch.nan
    targets = mapping(CITYSCAPES_VOID, CAMVID)
    measure = MEASURES.get("labels")
    assert isinstance(measure, MapMeasure)
    seen = Observation(logits, None, torch.from_numpy(targets), CAMVID.count)
    expected = np.where(targets < 0, CAMVID.count, targets)[logits[0].numpy().argmax(0)]
    expected[0, 0] = CAMVID.count
    assert np.array_equal(measure.map(seen)[0].numpy(), expected)
    state = measure.init(CAMVID.count, CPU)
    measure.update(state, seen)
    assert state["pixels"].tolist() == np.bincount(expected.ravel(), minlength=12).tolist()


@pytest.mark.parametrize("size", [(96, 128), (64, 64)])
def test_tiles_of_a_picture_make_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    folder = folder_data(tmp_path / "data", 2)
    Image.fromarray(pictures(1, size=size)[0]).save(folder / "images" / "p0.png")
    Image.fromarray(np.zeros(size, np.uint8)).save(folder / "masks" / "p0.png")
    monkeypatch.setattr(observe, "TILE", 32)
    monkeypatch.setattr(observe, "MARGIN", 16)
    monkeypatch.setattr(files, "WHOLE_PIXELS", 48 * 64)
    with tiny_world(tmp_path, data=(f"folder:{folder}",), tiles=True) as world:
        question, shown = asked(world)
        (told,) = world.studio.runner.ask([question], shown)
        expected = by_loop(world, question, shown)
        assert told.tiled == 1 and expected[0].shape == size
        assert same_maps(world.reopened().studio.runner.pictures(*asked(world)), expected)


def test_states_with_maps_add_to_the_figures(world: World) -> None:
    question, pictures = asked(world)
    found = world.studio.runner.look_into(question, pictures)
    total = states.add(found)
    assert total.keys() == {"pixels"}
    assert MEASURES.get("labels").compute(total) == world.studio.runner.ask([question], pictures)[0].figures


# --- what somebody has damaged ---------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A map of the right size by its header, with a thousand times the rows."""
    whole = pack_labels(np.zeros((48, 64), np.uint8))
    body = zlib.compress(bytes(65 * 48 * 1000))
    chunk = len(body).to_bytes(4, "big") + b"IDAT" + body + zlib.crc32(b"IDAT" + body).to_bytes(4, "big")
    return whole[:33] + chunk + whole[-12:]


DAMAGE = {
    "bytes changed": lambda png: png[:60] + bytes([png[60] ^ 1]) + png[61:],
    "cut": lambda png: png[:-20],
    "text": lambda png: "text",
    "a number": lambda png: 7,
    "nothing": lambda png: b"",
    "another size": lambda png: pack_labels(np.zeros((4800, 6400), np.uint8)),
    "ids that no class has": lambda png: pack_labels(np.full((48, 64), 9, np.uint8)),
    "another map": lambda png: pack_labels(np.ones((48, 64), np.uint8)),
    "a bomb": lambda png: bomb(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_map_is_measured_again(world: World, forwards: list[int], damage) -> None:
    question, pictures = asked(world)
    good = world.studio.runner.look_into(question, pictures)
    expected = [one[MAP].numpy() for one in good]
    with closing(table(world)) as file:
        ((row, png),) = file.execute("SELECT rowid, map FROM maps LIMIT 1 OFFSET 2").fetchall()
        file.execute("UPDATE maps SET map = ? WHERE rowid = ?", (damage(png), row))
    del forwards[:]
    runner = world.studio.runner
    assert runner.pictures(question, pictures) is None
    assert runner.known([question], pictures)[0] is not None, "figures stay"
    assert same_maps(runner.look_into(question, pictures), expected) and sum(forwards) == 1, "that picture alone"
    assert same_maps(runner.pictures(question, pictures), expected) and sum(forwards) == 1
    taken = runner.answers.maps.taken()
    assert [(one.count, one.bytes) for one in taken.values()] == [(PICTURES, PICTURES * PAGE)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE maps_used SET bytes = 'many', used = 'never', count = x'00'",
        "UPDATE maps_used SET bytes = 1 << 62",
        "UPDATE maps_used SET bytes = -(1 << 62)",
        "DELETE FROM maps_used",
        "DELETE FROM states WHERE measure = 'labels'",
        "UPDATE states SET state = 'text' WHERE measure = 'labels'",
        "DROP TABLE maps",
    ],
)
def test_whatever_the_tables_say_maps_are_right(world: World, statement: str) -> None:
    question, pictures = asked(world)
    expected = [one[MAP].numpy() for one in world.studio.runner.look_into(question, pictures)]
    with closing(table(world)) as file:
        file.execute(statement)
    other, _ = asked(world, "b")
    runner = world.reopened().studio.runner
    assert same_maps(runner.look_into(other, pictures), by_loop(world, other, pictures))
    assert same_maps(runner.look_into(question, pictures), expected)


def test_a_damaged_map_of_a_file_that_cannot_be_written_is_measured_again(
    world: World, forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    question, pictures = asked(world)
    runner = world.studio.runner
    expected = [one[MAP].numpy() for one in runner.look_into(question, pictures)]
    with closing(table(world)) as file:
        file.execute("UPDATE maps SET map = zeroblob(9)")
    real = runner.answers.database._opened

    def read_only() -> sqlite3.Connection:
        file = real()
        file.execute("PRAGMA query_only = 1")
        return file

    monkeypatch.setattr(runner.answers.database, "_opened", read_only)
    for _ in range(2):
        assert same_maps(runner.look_into(question, pictures), expected)
        assert same_maps(runner.pictures(question, pictures), expected)
        assert sum(forwards) == 2 * PICTURES, "held by this process"


# --- in bounded space ------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(1)
    monkeypatch.setattr("fusionlib.runs.maps.time", SimpleNamespace(time=lambda: float(next(ticks))))


def owner(letter: str) -> Owner:
    return Owner(letter.encode() * 16, "labels", 1)


def filled(maps: Maps, letter: str, numbers: range, size: int = PAGE - 5) -> None:
    for number in numbers:
        maps.keep([(owner(letter), bytes([number]) * 16, bytes(size))])


def there(maps: Maps) -> dict[str, list[int]]:
    """Numbers of the pictures that have maps, by whose."""
    listed = {letter: sorted(picture[0] for picture in maps.pictures(owner(letter))) for letter in "abc"}
    return {letter: numbers for letter, numbers in listed.items() if numbers}


def test_maps_used_longest_ago_go_first_by_whole_pictures(tmp_path: Path, clock: None) -> None:
    maps = Answers(tmp_path / "results.sqlite", 10 * PAGE).maps
    filled(maps, "a", range(4))
    filled(maps, "b", range(4))
    assert maps.find(owner("a"), [bytes([1]) * 16]).keys() == {bytes([1]) * 16}
    filled(maps, "c", range(3))
    assert there(maps) == {"a": [0, 1, 2, 3], "b": [1, 2, 3], "c": [0, 1, 2]}, "a was looked at after b"
    filled(maps, "c", range(3, 8))
    assert there(maps) == {"a": [2, 3], "c": list(range(8))}
    filled(maps, "c", range(12))
    assert there(maps) == {"c": list(range(2, 12))}, "its own, where it is alone"
    maps.keep([(owner("a"), b"0" * 16, bytes(11 * PAGE))])
    assert there(maps) == {}, "one that is larger than the space"
    assert maps.taken() == {}


def test_what_maps_take_is_known_whoever_writes(tmp_path: Path) -> None:
    one, other = (Answers(tmp_path / "results.sqlite", 6 * PAGE).maps for _ in range(2))
    for _ in range(2):
        filled(one, "a", range(3))
        filled(other, "b", range(3), 1)
    assert one.taken() == other.taken() == {owner("a"): (3, 3 * PAGE), owner("b"): (3, 3 * PAGE)}
    filled(other, "b", range(1), PAGE + 1)
    assert other.taken()[owner("b")] == (3, 4 * PAGE) and sum(size for _, size in one.taken().values()) <= 6 * PAGE
    one.drop(owner("b"), [bytes(16)])
    assert one.taken()[owner("b")] == (2, 2 * PAGE)


def test_the_file_grows_by_little_more_than_the_bound(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "results.sqlite", 40 * PAGE)
    rng = np.random.default_rng(0)
    for number in range(400):
        answers.maps.keep([(owner("a"), number.to_bytes(16, "big"), rng.bytes(int(rng.integers(500, 12_000))))])
        assert sum(one.bytes for one in answers.maps.taken().values()) <= 40 * PAGE
    (unused,) = answers.database.read("PRAGMA freelist_count")[0]
    answers.database.close()
    tables = 40 * PAGE  # of no rows, and the index of the maps
    assert (tmp_path / "results.sqlite").stat().st_size - unused * PAGE < 1.25 * 40 * PAGE + tables
    assert unused < 20


def test_where_there_is_no_room_all_maps_are_given_and_figures_stay(world: World, forwards: list[int]) -> None:
    small = limited(world, 0)
    question, pictures = asked(small)
    runner = small.studio.runner
    for number in (1, 2):
        found = runner.look_into(question, pictures)
        assert sum(forwards) == number * PICTURES and runner.answers.maps.taken() == {}
        assert same_maps(found, by_loop(small, question, pictures))
        forwards[:] = [number * PICTURES]
        assert runner.known([question], pictures)[0] is not None and runner.pictures(question, pictures) is None
    large = limited(small, 1)
    large.studio.runner.ask([question], pictures)
    assert large.studio.runner.pictures(question, pictures) is not None, "what was dropped is measured when asked"


def test_a_file_of_the_layout_before_keeps_all_it_has(world: World, forwards: list[int]) -> None:
    question, pictures = asked(world)
    good = world.studio.runner.measure(question.recipes[0], pictures)
    with closing(table(world)) as file:
        file.execute("DROP TABLE maps")
        file.execute("DROP TABLE maps_used")
        file.execute("PRAGMA user_version = 3")
    runner = world.reopened().studio.runner
    assert runner.measure(question.recipes[0], pictures) == good and sum(forwards) == PICTURES
    assert len(runner.look_into(question, pictures)) == PICTURES and runner.answers.database.notes == ()
    assert runner.pictures(question, pictures) is not None


# --- the command line ------------------------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(list(arguments))
    return capsys.readouterr().out


def test_the_command_line_measures_lists_and_drops_maps(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", str(world.folder / "cli"))
    data = ("--data", f"folder:{world.folder / 'data'}")
    evaluate = ("evaluate", str(world.folder / "files" / "a.pth"), *data, "--device", "cpu", *home)
    plain = json.loads(printed(capsys, *evaluate, "--json"))
    found = json.loads(printed(capsys, *evaluate, "--measure", "labels", "--measure", "loss", "--json"))
    assert found["measures"] == ["labels", "loss"] and "measures" not in plain and found["loss"] == plain["loss"]
    assert found["predicted_pixels"].keys() == plain["iou"].keys() == found["predicted_share"].keys()
    assert sum(found["predicted_pixels"].values()) == PICTURES * 48 * 64
    assert (
        plain.items() <= {**found, **{key: plain[key] for key in plain if "forward" in key or key == "seconds"}}.items()
    )
    words = printed(capsys, *evaluate, "--measure", "labels", "--measure", "calibration")
    assert "Predicted labels\n" in words and "Predicted share" in words and "\nCalibration\n" in words
    listed = json.loads(printed(capsys, "results", "list", "--json", *home))
    assert listed["maps"] == {"count": PICTURES, "bytes": PICTURES * PAGE}
    assert [one["maps"] for one in listed["results"] if one["measure"] == "labels"] == [PICTURES]
    assert "4 label maps take 0.0 MB" in printed(capsys, "results", "list", *home)
    assert "4 maps" not in printed(capsys, "results", "prune", *home)
    assert "0 states, 4 maps" in printed(capsys, "results", "prune", "--maps", *home)
    listed = json.loads(printed(capsys, "results", "list", "--json", *home))
    assert listed["maps"] == {"count": 0, "bytes": 0}
    assert "labels" in {one["measure"] for one in listed["results"]}, "figures stay"


def test_what_needs_no_masks_is_measured_without_them(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    plain = folder_data(world.folder / "plain", PICTURES, masks=False)
    common = ("--device", "cpu", "--home", str(world.folder / "cli"))
    evaluate = ("evaluate", str(world.folder / "files" / "a.pth"), *common)
    bare = (*evaluate, "--data", f"pictures:{plain}")
    found = json.loads(printed(capsys, *bare, "--measure", "labels", "--json"))
    masked = (*evaluate, "--data", f"folder:{world.folder / 'data'}", "--measure", "labels", "--json")
    with_masks = json.loads(printed(capsys, *masked))
    assert list(found["predicted_pixels"].values()) == list(with_masks["predicted_pixels"].values())
    assert "miou" not in found and "guesses" not in found and found["forward_passes"] == PICTURES
    words = printed(capsys, *bare, "--measure", "labels")
    assert "Predicted share" in words and "mIoU" not in words
    for more in ((), ("--measure", "labels", "--measure", "temperature"), ("--measure", "labels", "--calibration")):
        with pytest.raises(SystemExit):
            main([*bare, *more])
        error = capsys.readouterr().err
        assert "has no masks" in error and ("which temperature needs" in error) == ("temperature" in more)
    together = (*bare, "--with", str(world.folder / "files" / "b.pth"), "--measure", "labels", "--json")
    assert json.loads(printed(capsys, *together))["forwards"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--measure", "agreement"], "of several networks"),
        (["--measure", "beauty"], "one of"),
        (["--home-mb", "-1"], "--home-mb -1"),
        (["--home-mb", "much"], "--home-mb"),
    ],
)
def test_what_cannot_be_measured_or_kept_is_refused(
    world: World, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(
            ["evaluate", str(world.folder / "files" / "a.pth"), "--data", f"folder:{world.folder / 'data'}", *arguments]
        )
    error = capsys.readouterr().err
    assert ended.value.code == 2 and said in error and error.count("\n") == 1


def test_results_remove_maps_with_prune_alone(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["results", "list", "--maps", "--home", str(tmp_path)])
    with pytest.raises(UsageError, match="0 or more"):
        Options(home_mb=-1)
