"""`report`: one HTML file, or Markdown with PNGs; hostile names are text, what is left out is said, nothing runs
twice.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusionlib.charts.errors import WORDS
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.data.labels import spread_palette
from fusionlib.errors import FusionError
from fusionlib.recipe import data_without_folders, read_recipe
from fusionlib.report import gather as gathering
from fusionlib.report.content import LAYERS, Content, LeftOut, Mark, Network, Shown
from fusionlib.report.gather import gather, verdict
from fusionlib.report.markdown import markdown
from fusionlib.report.page import page
from fusionlib.report.page_parts import pictures
from fusionlib.report.pictures import COLOURS, bytes_of, chosen_rows, indexed, layers_of, within
from fusionlib.report.text import between, code, escaped, fenced, in_script, prose
from fusionlib.report.write import check_target, places
from fusionlib.studio.report_subject import Subject, of_checkpoint, of_recipe, recipe_within
from fusionlib.studio.reports import ReportWork
from tests.helpers import World, counted_forwards, folder_data, tiny_file, tiny_registered, tiny_world, until
from tests.page_tools import button, opened, tiny_files

PICTURES = 4
HOSTILE = "</script><img src=x onerror=alert(1)>\"'`|*_[a](javascript:alert)@you\u2028\u202e&amp;"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, count=PICTURES) as found:
        yield found


class Read(HTMLParser):
    """Elements and texts as a browser has them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def work_of(world: World, alpha: float = 0.5) -> ReportWork:
    view = world.view()
    work = world.studio.reports.of_view(view, alpha, "merge")
    assert isinstance(work, ReportWork)
    return work


def picture_of(gain: float, name: str = "p", size: int = 9) -> Shown:
    stored = io.BytesIO()
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(stored, "PNG")
    data = stored.getvalue() + b"\0" * size
    layers = dict.fromkeys(LAYERS, ("image/png", data))
    return Shown(name, "", gain, {"reference": 0.25, "merge": 0.25 + gain}, 5, 3, (3, 2), layers)


def hostile_content() -> Content:
    """A report in which every text from outside is hostile."""
    scores = {"miou": 0.5, "pixel_accuracy": 0.6, "loss": 1.0, "ece": None}
    row = {
        "name": HOSTILE,
        "pixels": 6,
        "fixed": 2,
        "broken": 1,
        "iou": {"reference": 0.2, "merge": 0.3},
        "change": 0.1,
    }
    changes = {"both_right": 1, "fixed": 2, "broken": 1, "both_wrong_same": 1, "both_wrong_different": 1}
    networks = [Network(HOSTILE, role, scores, {"file": HOSTILE, "build": ""}) for role in ("merge", "best")]
    return Content(
        title=HOSTILE,
        sentence=HOSTILE,
        level="gain",
        data=HOSTILE,
        images=1,
        networks=networks,
        reference=HOSTILE,
        figures={"gain": 0.1, "pixels": 6, "transitions": changes},
        curve=[{"alpha": alpha, "miou": 0.5, "loss": 1.0} for alpha in (0.0, 0.5, 1.0)],
        ends=(HOSTILE, HOSTILE),
        here=0.5,
        classes=[{**row, "interval": [-0.1, 0.2]}],
        legend=[(HOSTILE, (1, 2, 3))],
        pictures=[picture_of(0.1, HOSTILE)],
        marks=[Mark(HOSTILE, HOSTILE, 3, "ellipse", (0.25, 0.5, 0.5, 0.25))],
        recipe=json.dumps({"path": HOSTILE}),
        facts=[(HOSTILE, HOSTILE)],
        command=HOSTILE,
        notes=[HOSTILE],
        left_out=[LeftOut(HOSTILE, HOSTILE)],
    )


# --- text ------------------------------------------------------------------------------------------------------------


def test_hostile_texts_are_text() -> None:
    assert "<" not in escaped(HOSTILE) and '"' not in escaped(HOSTILE) and "'" not in escaped(HOSTILE)
    assert "\u2028" not in escaped(HOSTILE) and "\u202e" not in escaped(HOSTILE) and "\\u202e" in escaped(HOSTILE)
    for text in (HOSTILE, "\udcff", "<!--", "]]>"):
        packed = in_script({"name": text})
        assert json.loads(packed) == {"name": text} and packed.isascii() and not set("<>&") & set(packed)
    with pytest.raises(ValueError):
        in_script(float("nan"))
    assert code("a`b``c") == "```a`b``c```" and code("`a|b`") == "`` `a\\|b` ``" and code("") == "` `"
    assert fenced("```\nrm") == "````\n```\nrm\n````"
    assert prose("<b> [a](b) @you #1 www.evil") == "\\&lt;b"[1:] + "\\> \\[a\\](b) @<!-- -->you #<!-- -->1 www\\.evil"
    assert data_without_folders("camvid:/a/b@val") == "camvid:b@val"
    assert data_without_folders("streets:all:3") == "streets:all:3"
    assert data_without_folders("corrupt:fog:3:camvid:/a/b@val") == "corrupt:fog:3:camvid:b@val"
    assert between([-1e-7, 0.031]) == "+0 to +3.1" and between(None) == "n/a"


def test_a_page_of_hostile_names_has_no_element_of_theirs() -> None:
    text = page(hostile_content())
    found = Read(text)
    assert [about.get("id") for tag, about in found.tags if tag == "script"] == ["charts", None, None]
    assert not any(name.startswith("on") for _, about in found.tags for name in about)
    assert all((about["src"] or "").startswith("data:image/") for tag, about in found.tags if tag == "img")
    assert sum(tag == "img" for tag, _ in found.tags) == len(LAYERS)
    links = [about["href"] or "" for tag, about in found.tags if tag in ("a", "link")]
    assert links and all(link.startswith("data:") for link in links)
    assert not any("\u202e" in one or "\u2028" in one for one in found.texts)
    assert sum(escaped(HOSTILE).replace("&lt;", "<").split("<")[0] in one for one in found.texts)
    policy = next(about["content"] for tag, about in found.tags if about.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy


def test_the_data_of_a_page_is_json_and_its_library_stands_there_once() -> None:
    text = page(hostile_content())
    (data,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', text)
    charts = json.loads(data)
    assert charts.keys() == {"curve-chart", "class-chart"}
    (name,) = charts["class-chart"]["layout"]["yaxis"]["ticktext"]
    assert "<" not in name and name.startswith("&lt;/script")
    assert text.count("plotly.js v") == 1


def test_markdown_of_hostile_names_has_no_markup_of_theirs() -> None:
    text, images = markdown(hostile_content(), "a folder (1)")
    assert "](a%20folder%20%281%29/picture-01-truth.png)" in text and len(images) == len(LAYERS)
    assert all(data.startswith(b"\x89PNG") for data in images.values())
    blocks = re.sub(r"(`{3,})[^\n]*\n.*?\n\1", "", text.replace("\\`", ""), flags=re.DOTALL)
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", blocks)
    assert "<img" not in outside and "@you" not in outside and "](javascript" not in outside.replace("\\](", "")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert lines and all(line.endswith(" |") for line in lines)


# --- which pictures, and how many ------------------------------------------------------------------------------------


def test_the_farthest_pictures_of_both_sides_are_shown() -> None:
    rows = [{"gain": gain} for gain in (5, 4, 3, 1, 0, -1, -2, None)]
    assert [one["gain"] for one in chosen_rows(rows, 4)] == [5, 4, -2, -1]
    assert [one["gain"] for one in chosen_rows(rows, 6)] == [5, 4, 3, 1, -2, -1]
    assert [one["gain"] for one in chosen_rows(rows[:4], 3)] == [5, 4, 3]
    assert [one["gain"] for one in chosen_rows(rows[5:], 3)] == [-2, -1]
    assert chosen_rows(rows, 0) == []


def test_pictures_stay_within_their_bytes_from_both_sides() -> None:
    shown = [picture_of(gain) for gain in (0.3, 0.2, -0.3, -0.2)]
    size = bytes_of(shown[0])
    assert within(shown, 4 * size) == shown
    assert within(shown, 3 * size) == [shown[0], shown[1], shown[2]]
    assert within(shown, 2 * size) == [shown[0], shown[2]] and within(shown, size - 1) == [] == within([], 9)


def test_layers_keep_their_labels_and_large_ones_come_smaller() -> None:
    ids = np.arange(1700 * 40, dtype=np.uint32).reshape(40, 1700).astype(np.uint8)
    maps = SimpleNamespace(truth=ids, reference=ids, merge=ids, transition=ids % 5)
    space: Any = SimpleNamespace(lut=np.array(spread_palette(256), np.uint8))
    layers, size = layers_of(np.zeros((40, 1700, 3), np.uint8), maps, space)
    assert size == (850, 20) and tuple(layers) == LAYERS
    stored = Image.open(io.BytesIO(layers["truth"][1])).convert("RGB")
    assert np.array_equal(np.asarray(stored), space.lut[ids[::2, ::2]])
    assert indexed(ids, space.lut).startswith(b"\x89PNG")


# --- a report of a merge ---------------------------------------------------------------------------------------------


def test_a_report_says_what_errors_say_and_leaves_out_what_does_not_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_of(world)
    assert work.cost() == PICTURES * (3 + 8) and not work.complete
    work.measure()
    assert work.complete and work.cost() == 0
    said = world.studio.errors.of_view(world.view(), 0.5).snapshot()
    content = gather(work, "folder:data", "again", marks=[Mark("p0", "look")])
    assert content.figures["transitions"] == said["transitions"] and content.figures["gain"] == said["gain"]
    assert [one["alpha"] for one in content.curve] == pytest.approx(np.arange(11) / 10)
    merge, a, b = content.networks
    assert (content.curve[0]["miou"], content.curve[-1]["miou"]) == (b.scores["miou"], a.scores["miou"])
    assert content.curve[5]["miou"] == merge.scores["miou"] and merge.scores["ece"] is not None
    assert {one.role for one in (a, b)} == {"best", "other"} and a.about["fingerprint"]
    assert [one.what for one in content.left_out] in (
        [],
        [f"{PICTURES - len(content.pictures)} of {PICTURES} pictures"],
    )
    monkeypatch.setattr(gathering, "MOST_BYTES", gathering.OF_THE_PAGE + 1)
    small = gather(work, "folder:data")
    assert small.pictures == [] and "would not fit" in small.left_out[-1].why
    assert "Marked regions" in [one.what for one in small.left_out]
    assert "gains" in page(content) or "loses" in page(content) or "told" in page(content)


@pytest.mark.parametrize(
    ("gain", "interval", "level"),
    [(0.02, (0.01, 0.03), "gain"), (-0.02, (-0.03, -0.01), "loss"), (0.0, (-0.1, 0.1), "same"), (0.2, None, "unknown")],
)
def test_the_sentence_follows_the_interval(gain: float, interval: Any, level: str) -> None:
    sentence, found = verdict("m", "a", {"gain": gain, "interval": interval, "units": "30 pictures"})
    assert found == level and "30 pictures" in sentence and "m " in sentence
    assert verdict("m", "a", {"gain": None, "interval": None, "units": "1 picture"})[1] == "unknown"


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """Checkpoints, of which one has a hostile name, a folder of data with a hostile class, a recipe, a merge."""
    with tiny_registered():
        folder_data(tmp_path / "data", PICTURES)
        (tmp_path / "data" / "classes.yaml").write_text('classes: ["<b>sky</b>", road, "a|b"]\nignore: 255\n')
        tiny_file(tmp_path, "a<img src=x onerror=alert(1)>", 1)
        for name, seed in (("b", 2), ("c", 3)):
            tiny_file(tmp_path, name, seed)
        merge = ["merge", *(str(tmp_path / f"{name}.pth") for name in ("a<img src=x onerror=alert(1)>", "b"))]
        written = ["--out", str(tmp_path / "m.safetensors"), "--save-recipe", str(tmp_path / "r.yaml")]
        main([*merge, "--alpha", "0.5", *written, "--home", str(tmp_path / "home")])
        yield tmp_path


def report(folder: Path, capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, Any]:
    common = ["--data", f"folder:{folder / 'data'}", "--home", str(folder / "home"), "--device", "cpu", "--json"]
    main(["report", *arguments, *common])
    return json.loads(capsys.readouterr().out)


def test_the_verb_writes_a_page_and_runs_nothing_the_second_time(
    files: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = files / "report.html"
    capsys.readouterr()
    first = report(files, capsys, str(files / "r.yaml"), "--out", str(out), "--step", "0.5")
    assert first["forward_passes"] == PICTURES * 3 and first["bytes"] == out.stat().st_size < 30 << 20
    text = out.read_text()
    assert "<img src=x" not in text and "a&lt;img src=x onerror=alert(1)&gt;" in text and "&lt;b&gt;sky" in text
    assert f"report {files / 'r.yaml'}" in text and "left_out" in first and [one["alpha"] for one in first["curve"]]
    assert first["sentence"].startswith("a<img src=x onerror=alert(1)> + b, alpha 0.5 ")
    assert text.count("r.yaml") == 1, "the file stands in the command alone"
    seen = counted_forwards(monkeypatch)
    second = report(files, capsys, str(files / "r.yaml"), "--out", str(out), "--step", "0.5")
    assert second["forward_passes"] == 0 and seen == [] and second["forward_passes_known"] == PICTURES * 3


def test_a_json_recipe_is_a_recipe_and_the_page_offers_one(files: Path, capsys: pytest.CaptureFixture) -> None:
    out, again = files / "report.html", files / "again.json"
    report(files, capsys, str(files / "r.yaml"), "--out", str(out), "--step", "1")
    link = next(about["href"] for tag, about in Read(out.read_text()).tags if about.get("download") == "recipe.json")
    again.write_bytes(base64.b64decode((link or "").partition(",")[2]))
    assert read_recipe(again).method == "linear" and "/" not in read_recipe(again).checkpoints[0].path
    found = report(files, capsys, str(again), "--out", str(out), "--step", "1")
    assert found["forward_passes"] == 0, "the same networks"


def test_a_file_alone_leaves_out_what_needs_a_pair(files: Path, capsys: pytest.CaptureFixture) -> None:
    merged, out = str(files / "m.safetensors"), str(files / "report.html")
    found = report(files, capsys, merged, "--out", out)
    assert found["forward_passes"] == PICTURES and found["level"] == "unknown" and found["pictures"] == []
    assert {"Gain, classes and transitions", "Curve", "Pictures", "Marked regions"} == set(found["left_out"])
    assert "--against" in found["left_out"]["Curve"] and '"linear"' in "".join(
        Read((files / "report.html").read_text()).texts
    )
    one = report(files, capsys, merged, "--against", str(files / "c.pth"), "--out", out)
    assert one["reference"] == "c" and "Curve" in one["left_out"], "its members are not named"
    members = [str(files / "b.pth"), str(files / "a<img src=x onerror=alert(1)>.pth")]
    both = report(files, capsys, merged, "--against", *members, str(files / "c.pth"), "--out", out, "--step", "0.5")
    assert "Curve" not in both["left_out"] and [one["alpha"] for one in both["curve"]] == [0, 0.5, 1]


def test_markdown_lies_in_a_file_or_a_folder(files: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = str(files / "r.yaml")
    found = report(files, capsys, recipe, "--out", str(files / "note.md"), "--step", "1", "--pictures", "2")
    text = (files / "note.md").read_text()
    names = re.findall(r"\]\((note-pictures/[^)]+)\)", text)
    assert len(names) == 5 * len(found["pictures"]) and all((files / name).is_file() for name in names)
    again = report(files, capsys, recipe, "--out", str(files / "lab"), "--format", "md", "--step", "1")
    assert (files / "lab" / "report.md").is_file() and again["format"] == "md" and again["forward_passes"] == 0
    (files / "note-pictures" / "mine.png").write_text("mine")
    with pytest.raises(SystemExit):
        report(files, capsys, recipe, "--out", str(files / "note.md"))
    assert "holds mine.png" in capsys.readouterr().err and (files / "note-pictures" / "mine.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "r.yaml"], "ending in .html"),
        (["--out", "x.html", "--format", "md"], "FILE.md, or a folder"),
        (["--out", "x.html", "--pictures", "101"], "0 to 100"),
        (["--out", "x.html", "--step", "0"], "0.001 to 1"),
        (["--out", "nowhere/x.html"], "existing folder"),
        (["--out", "in.html"], "another file"),
    ],
)
def test_wrong_wishes_are_said_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.html").write_text("mine")
    with pytest.raises(SystemExit):
        main(["report", "in.html", *arguments, "--data", "folder:data", "--home", str(tmp_path / "home")])
    assert said in capsys.readouterr().err and (tmp_path / "in.html").read_text() == "mine"


def test_links_to_the_inputs_are_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("x")
    (tmp_path / "link.html").hardlink_to(tmp_path / "r.yaml")
    with pytest.raises(FusionError, match="made from"):
        check_target(tmp_path / "link.html", "html", [tmp_path / "r.yaml"])
    (tmp_path / "x-pictures").symlink_to(tmp_path)
    with pytest.raises(FusionError, match="no folder"):
        check_target(tmp_path / "x.md", "md", [])
    assert places(tmp_path / "x") == (tmp_path / "x" / "report.md", tmp_path / "x" / "pictures")


# --- whose members ---------------------------------------------------------------------------------------------------


def test_what_a_file_says_of_its_recipe_is_read_with_care() -> None:
    def said(text: str | None) -> tuple[Any, str]:
        return recipe_within(SimpleNamespace(metadata={} if text is None else {"recipe": text}))  # type: ignore[arg-type]

    assert said(None) == (None, "the file carries none")
    assert said("x" * (2 << 20))[1].endswith("too long")
    for text in ("[1]", "!!python/object/apply:os.system [x]", "checkpoints: []", "a: &a [*a]"):
        assert said(text)[0] is None and "\n" not in said(text)[1] and len(said(text)[1]) < 300


def test_further_checkpoints_stand_beside_the_members(world: World, tmp_path: Path) -> None:
    view = world.view()
    opened = [item.checkpoint for item in world.studio.workspace.usable()]
    subject = of_recipe("m", view.recipe(0.3), opened, ["a", "b"])
    assert subject.names == ("a", "b") and subject.alpha == 0.3, "members are not named twice"
    assert subject.at(1.0) == subject.others[0] and subject.at(0.0) == subject.others[1]
    alone = of_checkpoint(opened[0], [])  # type: ignore[arg-type]
    assert alone.others == () and alone.path is None and alone.why == "the file carries none"
    assert Subject("x", view.recipe(0.5)).at(0.5) is None


def test_the_best_of_three_is_the_reference(world: World) -> None:
    view = world.view()
    third = tiny_file(world.folder, "third", 7)
    opened = open_checkpoint(third)
    world.studio.sources.know([opened])
    work = world.studio.reports.open(of_recipe("m", view.recipe(0.5), [opened], ["a", "b"]), view.need_pictures(), 1.0)
    assert isinstance(work, ReportWork)
    work.measure()
    content = gather(work, "data")
    scores = {one.name: one.scores["miou"] for one in content.networks if one.role != "merge"}
    assert content.reference == max(scores, key=lambda name: scores[name] or 0) and len(scores) == 3
    assert content.figures["miou"]["reference"] == pytest.approx(scores[content.reference])


# --- the app ---------------------------------------------------------------------------------------------------------


def test_the_button_says_what_it_takes_and_then_offers_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_files(tmp_path / "files", 2)
    data = folder_data(tmp_path / "data", PICTURES)
    with opened("explore.py", tmp_path / "home", monkeypatch) as start:
        app = start("--checkpoints", str(tmp_path / "files"), "--data", f"folder:{data}")
        assert button(app, "Measure for the report") is None
        button(app, "Report (HTML)").click().run()
        wanted = button(app, "Measure for the report")
        assert wanted is not None and wanted.label.endswith(f"{PICTURES * 11} forward passes")
        wanted.click().run()

        until(lambda: app.run() and button(app, "Cancel") is None, 60)
        assert not app.exception and not app.error
        (path,) = (tmp_path / "home" / "exports").glob("report-*.html")
        text = path.read_text()
        assert "Between the two" in text and str(tmp_path) not in text, "no folder of the operator"


def test_marked_pictures_come_first_and_their_regions_are_drawn() -> None:
    rows = [{"name": f"p{number}", "number": number, "gain": 0.03 - 0.01 * number} for number in range(7)]
    names = [row["name"] for row in chosen_rows(rows, 4, {"p3", "p2", "elsewhere"})]
    assert names == ["p0", "p2", "p6", "p3"], "in the order of gains and losses, the farthest first"
    assert [row["name"] for row in chosen_rows(rows, 1, {"p4", "p1"})] == ["p1"]
    shape = Mark("p0", "the <pole>", 3, "ellipse", (0.25, 0.5, 0.5, 0.25))
    marks = [shape, Mark("p1", "", 1, "rectangle", (0, 0, 1, 1))]
    html = pictures(replace(hostile_content(), pictures=[picture_of(0.1, "p0")], marks=marks))
    assert '<ellipse cx="0.50000" cy="0.62500" rx="0.25000" ry="0.12500"/>' in html and "<rect" not in html
    assert "the &lt;pole&gt;" in html


def test_a_transition_has_one_colour_everywhere() -> None:
    for name, (_, colour) in WORDS.items():
        red, green, blue = COLOURS[name]
        assert name == "both_right" or f"#{red:02x}{green:02x}{blue:02x}" == colour
