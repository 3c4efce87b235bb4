"""History and story: what was looked at is kept, found and had back; what somebody else wrote is refused in words."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from fusionlib.cli import main
from fusionlib.errors import FusionError, UsageError, WriteError
from fusionlib.runs import history as history_module
from fusionlib.runs.history import History
from fusionlib.runs.links import LONGEST, checked, parsed
from fusionlib.runs.looked import FILE, Looked
from fusionlib.runs.story import FILE_BYTES, STEPS, Step, Story, exported, imported


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    return Looked(tmp_path)


@pytest.fixture
def history(looked: Looked) -> History:
    return looked.history


@pytest.fixture
def story(looked: Looked) -> Story:
    return looked.story


# --- links -----------------------------------------------------------------------------------------------------------


def test_a_link_is_a_page_and_its_state() -> None:
    assert parsed("compare?a=x+y&rows=methods&rows=buffers") == (
        "compare",
        {"a": ["x y"], "rows": ["methods", "buffers"]},
    )
    assert checked("?a=x+y&b=%C3%BC") == "?a=x%20y&b=%C3%BC"
    assert checked(checked("?parameters=%7B%22alpha%22%3A0.5%7D")) == checked("?parameters={%22alpha%22:0.5}")
    assert checked("errors?") == "errors?"


@pytest.mark.parametrize(
    "link",
    [
        None,
        3,
        "",
        "compare",
        "https://example.org/?a=1",
        "//example.org?a=1",
        "javascript:alert(1)?a=1",
        "/compare?a=1",
        "../compare?a=1",
        "workspace?a=1",
        "Compare?a=1",
        "?a=1#x\n",
        "?a=%00",
        "?a=%1b[31m",
        "?a=%E2%80%AEx",
        "?A=1",
        "?a",
        "?__proto__=1",
        "?" + "&".join(f"a={number}" for number in range(65)),
        "?a=" + "x" * LONGEST,
    ],
)
def test_what_is_no_link_of_a_view_is_refused(link: object) -> None:
    with pytest.raises(UsageError, match="Copy it from this app"):
        checked(link)


# --- history ---------------------------------------------------------------------------------------------------------


def test_one_row_a_link_newest_first_with_the_figure_that_was_known_last(history: History) -> None:
    history.seen("?a=1", "first", "mIoU 20.0 %")
    history.seen("?a=2", "second")
    history.seen("?a=1", "first again")
    found = history.listed()
    assert [(one.link, one.name, one.figure) for one in found] == [
        ("?a=1", "first again", "mIoU 20.0 %"),
        ("?a=2", "second", ""),
    ]
    assert found[0].seen > found[1].seen


def test_star_note_and_search(history: History) -> None:
    for number, name in enumerate(("night + fog", "night + rain", "Straße")):
        history.seen(f"?a={number}", name)
    history.star("?a=1", True)
    history.annotate("?a=0", "loses bicycles\nleft\x1b[31m")
    history.seen("?a=1", "night + rain")
    assert [one.link for one in history.listed("NIGHT")] == ["?a=1", "?a=0"]
    assert [one.link for one in history.listed("bicycles night")] == ["?a=0"]
    assert [one.link for one in history.listed("strasse")] == ["?a=2"]
    assert [one.link for one in history.listed(starred=True)] == ["?a=1"]
    assert history.listed("bicycles")[0].note == "loses bicycles\nleft\\x1b[31m"
    history.star("?a=1", False)
    assert history.listed(starred=True) == []


def test_deleted_views_come_back_in_turn_with_star_and_note(history: History) -> None:
    for number in range(3):
        history.seen(f"?a={number}", f"view {number}")
    history.star("?a=1", True)
    history.annotate("?a=1", "keep")
    assert history.last_deleted() is None
    history.delete("?a=0")
    history.delete("?a=1")
    assert [one.link for one in history.listed()] == ["?a=2"] and history.last_deleted() == "view 1"
    history.undo()
    assert [(one.link, one.star, one.note) for one in history.listed()] == [("?a=2", False, ""), ("?a=1", True, "keep")]
    history.undo()
    assert len(history.listed()) == 3 and history.last_deleted() is None
    history.delete("?a=0")
    history.seen("?a=0", "again")
    assert len(history.listed()) == 3 and history.last_deleted() is None, "seen again it is back"


def test_history_is_bounded_and_stars_go_last(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "DELETED", 2)
    history = History(looked.database, most=4)
    history.seen("?a=0", "starred")
    history.star("?a=0", True)
    for number in range(1, 8):
        history.seen(f"?a={number}", str(number))
    assert [one.link for one in history.listed()] == ["?a=7", "?a=6", "?a=5", "?a=0"]
    for number in (7, 6, 5):
        history.delete(f"?a={number}")
    ((rows,),) = looked.database.read("SELECT count(*) FROM history")
    assert rows == 3, "one on the list and two to have back"


def test_names_are_one_short_line_and_a_hostile_link_is_not_kept(history: History) -> None:
    history.seen("?a=1", "x\ny\x1b[31m" + "z" * 500, "f" * 500)
    (one,) = history.listed()
    assert "\n" not in one.name and "\x1b" not in one.name and len(one.name) <= 200 and len(one.figure) <= 80
    with pytest.raises(UsageError):
        history.seen("https://example.org?a=1", "elsewhere")
    assert len(history.listed()) == 1


def test_another_process_sees_it_and_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    Looked(tmp_path).history.seen("?a=1", "one")
    assert [one.name for one in Looked(tmp_path).history.listed()] == ["one"]
    for name in ("views.sqlite", "views.sqlite-wal", "views.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "views.sqlite").write_bytes(b"no database at all" * 100)
    looked = Looked(tmp_path)
    assert looked.history.listed() == []
    looked.history.seen("?a=2", "two")
    assert [one.name for one in looked.history.listed()] == ["two"] and "damaged" in " ".join(looked.database.notes)


def test_where_nothing_can_be_written_views_stay_for_the_process_and_changes_say_so(tmp_path: Path) -> None:
    looked = Looked(Path(os.devnull) / "home")
    looked.history.seen("?a=1", "one")
    assert [one.name for one in looked.history.listed()] == ["one"]
    with pytest.raises(WriteError, match="cannot be written"):
        looked.history.star("?a=1", True)
    with pytest.raises(WriteError, match="cannot be written"):
        looked.story.add(Step("?a=1", "one"))


def test_the_command_line_lists_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looked = Looked(tmp_path)
    looked.history.seen("?a=1", "night + fog", "mIoU 26.6 %")
    looked.history.seen("compare?a=2", "Compare")
    looked.history.annotate("?a=1", "best so far")
    main(["history", "night", "--home", str(tmp_path), "--json"])
    (one,) = json.loads(capsys.readouterr().out)["history"]
    assert one["link"] == "?a=1" and one["note"] == "best so far" and one["star"] is False
    main(["history", "--home", str(tmp_path)])
    out = capsys.readouterr().out
    assert "night + fog  mIoU 26.6 %" in out and "| best so far" in out and out.index("Compare") < out.index("night")
    main(["history", "--starred", "--home", str(tmp_path)])
    assert capsys.readouterr().out == "no views\n"


# --- story -----------------------------------------------------------------------------------------------------------


def titles(story: Story) -> list[str]:
    return [step.title for step in story.read().steps]


def three(story: Story) -> int:
    """A story of three steps; its version."""
    for number in range(3):
        story.add(Step(f"?a={number}", f"step {number}", f"note {number}"))
    return story.read().version


def test_steps_are_added_moved_edited_and_removed_and_each_is_undone(story: Story) -> None:
    three(story)
    story.move(story.read().version, 0, 1)
    assert titles(story) == ["step 1", "step 0", "step 2"]
    story.move(story.read().version, 2, 5)
    assert titles(story) == ["step 1", "step 0", "step 2"], "the last stays the last"
    story.edit(story.read().version, 0, "other\nwords", "n\x1b")
    assert story.read().steps[0] == Step("?a=1", "other words", "n\\x1b")
    story.remove(story.read().version, 1)
    assert titles(story) == ["other words", "step 2"] and story.read().what == "removed step 0"
    for left in (["other words", "step 0", "step 2"], ["step 1", "step 0", "step 2"]):
        story.undo(story.read().version)
        assert titles(story) == left
    for _ in range(9):
        story.undo(story.read().version)
    assert story.read() == (0, (), "")


def test_a_change_on_an_older_version_leaves_the_newer_one(story: Story) -> None:
    version = three(story)
    story.add(Step("?a=9", "of somebody else"))
    for change in (
        lambda: story.remove(version, 0),
        lambda: story.move(version, 0, 1),
        lambda: story.edit(version, 0, "x", ""),
        lambda: story.take(version, exported([]).encode()),
    ):
        with pytest.raises(UsageError, match="changed elsewhere"):
            change()
    story.undo(version)
    assert titles(story) == ["step 0", "step 1", "step 2", "of somebody else"]
    with pytest.raises(UsageError, match="one of 4"):
        story.remove(story.read().version, 4)


def test_a_story_is_bounded(story: Story, looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    story.take(0, exported([Step("?a=1", "x")] * STEPS).encode())
    with pytest.raises(UsageError, match=f"at most {STEPS}"):
        story.add(Step("?a=1", "one more"))
    monkeypatch.setattr("fusionlib.runs.story.VERSIONS", 3)
    for _ in range(6):
        story.edit(story.read().version, 0, "y", "")
    assert looked.database.read("SELECT count(*) FROM story") == [(3,)] and len(titles(story)) == STEPS


def test_an_exported_story_comes_back_as_it_was(story: Story) -> None:
    three(story)
    steps = story.read().steps
    assert imported(exported(steps).encode()) == steps
    story.take(story.read().version, exported(steps[:1]).encode())
    assert titles(story) == ["step 0"]
    story.undo(story.read().version)
    assert titles(story) == ["step 0", "step 1", "step 2"]


def one_step(**changes: object) -> bytes:
    step = {"link": "?a=1", "title": "t", "note": "", **changes}
    return json.dumps({"format": "merge-explorer-story", "version": 1, "steps": [step]}).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no story"),
        (b'{"format": "other", "version": 1, "steps": []}', "no story"),
        (b'{"format": "merge-explorer-story", "version": 2, "steps": []}', "no story"),
        (b'{"format": "merge-explorer-story", "version": 1}', "at most 100 steps"),
        (b'{"format": "merge-explorer-story", "version": 1, "steps": {"0": 1}}', "at most 100 steps"),
        (b'{"format": "merge-explorer-story", "version": 1, "steps": [7]}', "Step 1: 7"),
        (b" " * (FILE_BYTES + 1), "bytes"),
        (one_step(link="https://example.org/?a=1"), "Step 1: Link"),
        (one_step(link="javascript:alert(1)"), "Step 1: Link"),
        (one_step(link=["?a=1"]), "Step 1: Link"),
        (one_step(title=7), "Step 1: title 7"),
        (one_step(title="x" * 121), "Step 1: title"),
        (one_step(note="x" * 2001), "Step 1: note"),
        (one_step(note=None), "Step 1: note None"),
        (one_step(more=1), "Step 1"),
        (json.dumps({"format": "merge-explorer-story", "version": 1, "steps": [{"link": "?a=1"}]}).encode(), "Step 1"),
    ],
)
def test_a_hostile_file_is_refused_in_words_and_changes_nothing(story: Story, data: bytes, said: str) -> None:
    version = three(story)
    with pytest.raises(FusionError, match=said) as caught:
        story.take(version, data)
    assert caught.value.needs and caught.value.do and len(str(caught.value)) < 500
    assert story.read().version == version


def test_a_row_that_somebody_else_wrote_is_no_story(story: Story, looked: Looked) -> None:
    for text in ("nonsense", "[1]", '[{"link": "https://x?a=1", "title": "t", "note": ""}]', "[" * 9999):
        looked.database.write("INSERT INTO story (steps, what, created) VALUES (?, 'x', 0)", [(text,)])
        assert story.read().steps == ()
    story.add(Step("?a=1", "goes on"))
    assert titles(story) == ["goes on"]


def test_what_was_dismissed_stays_so(looked: Looked, tmp_path: Path) -> None:
    assert not looked.flags.raised("tour")
    looked.flags.put("tour")
    assert looked.flags.raised("tour") and Looked(tmp_path).flags.raised("tour") and not looked.flags.raised("other")


def test_a_link_that_grows_too_long_is_refused_and_takes_no_step_along(tmp_path: Path) -> None:
    long = {"link": "?a=" + "\u00e9" * 3000, "title": "t"}
    looked = Looked(tmp_path)
    looked.story.add(Step("?a=x&b=y", "good"))
    with pytest.raises(UsageError, match="8000 characters"):
        imported(exported([Step("?a=x", "s")]).replace("?a=x", long["link"]).encode())
    with sqlite3.connect(tmp_path / FILE) as file:
        steps = json.loads(file.execute("SELECT steps FROM story").fetchone()[0])
        file.execute("UPDATE story SET steps = ?", (json.dumps([*steps, long, 3]),))
    assert [step.title for step in Looked(tmp_path).story.read().steps] == ["good"]
