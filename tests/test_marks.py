"""Marked regions with notes: what is kept, what is refused, and what a report and the command line say of them."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import World, tiny_world

from fusionlib.cli import main
from fusionlib.errors import UsageError
from fusionlib.report.gather import MOST_MARKS, gather
from fusionlib.report.marks import marks_of
from fusionlib.report.page import page
from fusionlib.runs import answers, flags, history, looked, story
from fusionlib.runs import marks as module
from fusionlib.runs.looked import FILE, Looked
from fusionlib.runs.marks import NOTE, Marks, Place

HOSTILE = "<img src=x onerror=alert(1)>'\"; DROP TABLE marks; --\u202e\x1b[31m=1+1|`${x}`"
HERE = Place("data", "streets:clear", "picture", "frame_1")
BOX = [0.25, 0.5, 0.5, 0.25]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def marks(home: Path) -> Marks:
    return Looked(home).marks


def ids(marks: Marks, picture: str = "picture") -> list[str]:
    return [one.id for one in marks.of_pictures([picture])]


def test_a_file_of_an_earlier_layout_gets_the_tables_that_it_lacks(home: Path) -> None:
    home.mkdir()
    with sqlite3.connect(home / FILE) as earlier:
        earlier.executescript(history.SCHEMA + story.SCHEMA + flags.SCHEMA + "PRAGMA user_version = 1;")
    first = Looked(home)
    first.marks.add(HERE, "ellipse", BOX, "the pole is lost", "errors?a=x")
    assert first.database.notes == () and len(Looked(home).marks.of_pictures(["picture"])) == 1


@pytest.mark.parametrize(("tables", "layout", "digest"), [(looked, 2, "4e772e274a9c"), (answers, 5, "9cdbbb8e3842")])
def test_no_schema_changes_without_its_layout(tables: ModuleType, layout: int, digest: str) -> None:
    assert (tables.LAYOUT, hashlib.sha256(tables.SCHEMA.encode()).hexdigest()[:12]) == (layout, digest), (
        "a file of the present layout would be taken to have tables that it lacks: raise LAYOUT, then note both here"
    )


def test_what_is_marked_is_there_in_another_process_by_data_and_by_picture(marks: Marks, home: Path) -> None:
    link = "errors?a=x&look=lens-mask~zoom-2_0.1_0.2&profile=%7B%22"
    first = marks.add(HERE, "ellipse", BOX, "the pole is lost", link)
    second = marks.add(Place("other data", "", "picture", "same.png"), "rectangle", [0, 0, 1, 1], "all of it")
    third = marks.add(Place("data", "", "picture 2", "frame_2"), "rectangle", BOX, "here")
    again = Looked(home).marks
    assert again.of_pictures(["picture"]) == [first, second]
    assert again.of_pictures({"picture", "picture 2", "none"}) == [first, second, third] == again.listed()
    assert again.of_data("data") == [first, third]
    assert (first.shape, first.x, first.y, first.width, first.height) == ("ellipse", *BOX) and first.view == link
    assert first.share == pytest.approx(math.pi / 4 / 8) and second.share == 1


@pytest.mark.parametrize(
    "change",
    [
        {"shape": "star"},
        {"shape": None},
        {"shape": ["ellipse"]},
        {"box": None},
        {"box": [0, 0, 1]},
        {"box": [0.5, 0, 0.6, 1]},
        {"box": [0, 0.5, 1, 0.6]},
        {"box": [-0.1, 0, 0.5, 0.5]},
        {"box": [0, 0, 0, 1]},
        {"box": [0, 0, 1e-9, 1]},
        {"box": [0, 0, math.nan, 1]},
        {"box": [0, 0, math.inf, 1]},
        {"box": [0, 0, True, 1]},
        {"box": ["0", "0", "1", "1"]},
        {"box": [0, 0, 10**400, 1]},
        {"note": ""},
        {"note": " \n\t"},
        {"note": "x" * (NOTE + 1)},
        {"note": "\0"},
        {"note": None},
        {"note": {"a": 1}},
        {"view": "javascript:alert(1)"},
        {"view": "//elsewhere.example/errors"},
        {"view": "https://elsewhere.example/"},
        {"view": "../errors"},
        {"view": "errors/x?a=1"},
        {"view": "setup?a=1"},
        {"view": "errors?a=1#x"},
        {"view": 'errors?a="><script>'},
        {"view": "errors?" + "a" * module.VIEW},
        {"view": 7},
    ],
)
def test_what_is_no_mark_is_refused(marks: Marks, change: dict[str, Any]) -> None:
    given = {"shape": "rectangle", "box": BOX, "note": "a note", "view": "errors?a=1", **change}
    with pytest.raises(UsageError) as refused:
        marks.add(HERE, **given)
    assert refused.value.got and refused.value.needs and refused.value.do and len(str(refused.value)) < 600
    assert marks.listed() == []


def test_a_hostile_note_is_kept_as_it_is_in_one_line(marks: Marks) -> None:
    made = marks.add(HERE, "rectangle", BOX, f" {HOSTILE}\nsecond\tline ", "?a=1")
    assert marks.of_pictures(["picture"]) == [made] and made.note == f"{HOSTILE} second line"
    half = marks.edit(made.id, "picture", "half \ud800 of\0 one")
    assert half.note == "half ? of one" and marks.listed() == [half]
    assert marks.edit(made.id, "picture", "ä" * NOTE).note == "ä" * NOTE


def test_removed_is_brought_back_as_it_was_and_edits_are_of_what_is_there(marks: Marks) -> None:
    first, second = (marks.add(HERE, "rectangle", BOX, note) for note in ("one", "two"))
    marks.remove(first.id, "picture")
    assert ids(marks) == [second.id]
    for call in (lambda: marks.edit(first.id, "picture", "x"), lambda: marks.remove(first.id, "picture")):
        with pytest.raises(UsageError, match="not removed"):
            call()
    assert marks.restore(first.id, "picture") == first and marks.listed() == [first, second]
    for id, picture in ((first.id, "picture"), (second.id, "another"), (None, "picture"), ({}, "picture")):
        with pytest.raises(UsageError):
            marks.restore(id, picture)
    with pytest.raises(UsageError):
        marks.edit(first.id, "another", "of a picture that has no such mark")
    assert [one.note for one in marks.listed()] == ["one", "two"]


def test_a_day_later_it_is_gone(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    old = marks.add(HERE, "rectangle", BOX, "one")
    marks.remove(old.id, "picture")
    monkeypatch.setattr(module, "REMOVED_SECONDS", -1)
    marks.add(HERE, "rectangle", BOX, "two")
    with pytest.raises(UsageError, match="within a day"):
        marks.restore(old.id, "picture")


def test_marks_are_bounded_and_removed_ones_give_way(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "MOST_OF_A_PICTURE", 3)
    made = [marks.add(HERE, "rectangle", BOX, str(number)) for number in range(3)]
    with pytest.raises(UsageError, match="3 marks in this picture"):
        marks.add(HERE, "rectangle", BOX, "a fourth")
    marks.remove(made[0].id, "picture")
    other = Place("data", "", "another", "n" * 5000)
    assert len(marks.add(other, "rectangle", BOX, "3").name) == module.NAME
    marks.add(other, "rectangle", BOX, "4")  # five rows, one of them removed: it gives way
    with pytest.raises(UsageError):
        marks.restore(made[0].id, "picture")
    with pytest.raises(UsageError, match="4 marks"):
        marks.add(other, "rectangle", BOX, "5")
    assert len(marks.listed()) == 4


def test_rows_that_somebody_else_wrote_are_marks_or_none(marks: Marks, home: Path) -> None:
    made = marks.add(HERE, "rectangle", BOX, "sound")
    row = ("data", "", "picture", "name", "rectangle", *BOX, "note", "", 1.0, 0.0)
    broken = {"shape": "x", "width": 7, "note": b"\xff", "view": "javascript:1", "created": "soon", "name": 5.5}
    with sqlite3.connect(home / "views.sqlite") as file:
        names = [entry[1] for entry in file.execute("PRAGMA table_info(marks)")]
        for column, value in broken.items():
            values = [value if name == column else old for name, old in zip(names[1:], row, strict=True)]
            file.execute(f"INSERT INTO marks VALUES ({', '.join('?' * len(names))})", [column, *values])
    found = {one.id: one.view for one in marks.listed()}
    assert found == {"name": "", "view": "", made.id: ""}, "a number among texts is a text, a view that is none is none"


def test_a_home_that_cannot_be_written_keeps_them_as_long_as_the_process_lives(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    looked = Looked(tmp_path / "home")
    marks = looked.marks
    made = marks.add(HERE, "rectangle", BOX, "one")
    marks.remove(marks.add(HERE, "rectangle", BOX, "two").id, "picture")
    assert marks.listed() == [made] and looked.database.notes
    assert marks.edit(made.id, "picture", "three").note == marks.listed()[0].note == "three"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with tiny_world(tmp_path_factory.mktemp("world"), count=3) as opened:
        yield opened


def test_the_report_says_them_in_order_of_its_pictures(world: World) -> None:
    view, marks = world.view(), world.studio.looked.marks
    pictures = view.need_pictures()
    for index, shape in ((2, "rectangle"), (1, "ellipse")):
        place = Place(pictures.fingerprint(), "", pictures.picture_key(index), pictures.name(index))
        marks.add(place, shape, [0, 0, 0.5, 0.5], HOSTILE)
    found = marks_of(marks, pictures)
    height, width = pictures.size(1)
    assert [one.picture for one in found] == [pictures.name(1), pictures.name(2)]
    assert [one.pixels for one in found] == [round(height * width * math.pi / 16), height * width // 4]
    work = world.studio.reports.of_view(view, 0.5, "merge")
    work.measure()
    text = page(gather(work, "data", marks=found))
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and "<img src=x" not in text
    many = gather(work, "data", marks=found * MOST_MARKS)
    assert len(many.marks) == MOST_MARKS
    assert f"{MOST_MARKS} of {2 * MOST_MARKS} marked regions" in [one.what for one in many.left_out]


def test_the_verb_lists_them(marks: Marks, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["marks", "--home", str(home)])
    assert capsys.readouterr().out == "nothing is marked\n"
    made = marks.add(HERE, "ellipse", BOX, HOSTILE)
    main(["marks", "--home", str(home)])
    out = capsys.readouterr().out
    assert "frame_1" in out and "0.250, 0.500, 0.500, 0.250" in out and "\x1b" not in out and "\\x1b" in out
    main(["marks", "--home", str(home), "--picture", "frame_1", "--json"])
    assert json.loads(capsys.readouterr().out)["marks"] == [made.listed()]
    main(["marks", "--home", str(home), "--picture", "frame_2", "--json"])
    assert json.loads(capsys.readouterr().out) == {"marks": []}


def test_a_view_that_is_too_long_once_written_is_refused_and_costs_no_mark_that_is_there(
    marks: Marks, home: Path
) -> None:
    with pytest.raises(UsageError, match="at most 4000 characters"):
        marks.add(HERE, "rectangle", BOX, "note", "?parameters=" + "," * 1400)
    kept = marks.add(HERE, "rectangle", BOX, "important", "?a=x")
    with sqlite3.connect(home / FILE) as file:
        file.execute("UPDATE marks SET view = ?", ("?parameters=" + "%2C" * 1400,))
    (one,) = Looked(home).marks.of_pictures([HERE.picture])
    assert (one.id, one.note, one.view) == (kept.id, "important", "")


def test_a_text_that_is_none_hides_no_other(marks: Marks, home: Path) -> None:
    first, second = (marks.add(HERE, "rectangle", BOX, note, "?a=x") for note in ("one", "two"))
    with sqlite3.connect(home / FILE) as file:
        file.execute("UPDATE marks SET note = CAST(x'ff' AS TEXT) WHERE id = ?", (first.id,))
    assert {one.id: one.note for one in Looked(home).marks.of_pictures([HERE.picture])}[second.id] == "two"
