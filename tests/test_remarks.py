"""What a result says of its data, from the counts that it has: void, classes that never occur, files skipped, photos
turned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CLASSES, folder_data, tiny_registered
from page_tools import opened, text, tiny_files
from PIL import Image

from fusionlib.cli import main
from fusionlib.contracts import IGNORE, MEASURES
from fusionlib.data.spec import open_dataset
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.measures.observation import Observation
from fusionlib.studio import Choices, Options, Workspace
from pages.widgets import server
from pages.widgets.problems import plain


def said(support: list[int], void: int, names: tuple[str, ...] = CLASSES) -> list[str]:
    return annotation_warnings({"support": support, "void": void}, names)


def test_nothing_is_said_of_masks_that_are_as_they_should_be() -> None:
    assert said([1, 2, 3], 6) == said([1, 2, 3], 0) == []
    assert annotation_warnings(None, CLASSES) == annotation_warnings({"miou": 0.5}, CLASSES) == said([0, 0, 0], 0) == []


def test_void_above_half_is_said_with_its_share() -> None:
    assert said([1, 2, 3], 7)[0].startswith("53.8% of the pixels are void")
    assert said([0, 0, 0], 5)[0].startswith("Every pixel of the masks is void")


def test_classes_that_never_occur_are_named() -> None:
    assert said([1, 0, 3], 0)[0].startswith("Never in the masks: car (1 of 3 classes)")
    many = tuple(f"c{number}" for number in range(20))
    assert "c2, c3, c4, c5, c6, c7, c8, c9 and 10 more (18 of 20 classes)" in said([1, 1] + [0] * 18, 0, many)[0]


def test_one_class_alone_says_next_to_nothing() -> None:
    assert said([0, 9, 0], 0) == ["Every labelled pixel is car, so that a score says next to nothing"]
    assert len(found := said([9, 0, 0], 10)) == 2 and "declare their id, often 255" in found[1]


def test_the_meter_counts_void_and_support_of_batches_that_add() -> None:
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.choice([0, 2, IGNORE], (4, 5, 6)).astype(np.uint8))
    meter = MEASURES.get("confusion")
    whole, halves = (meter.init(3, torch.device("cpu")) for _ in range(2))
    for state, parts in ((whole, [truth]), (halves, truth.split(2))):
        for part in parts:
            meter.update(state, Observation(torch.zeros(len(part), 3, 5, 6), part))
    figures = meter.compute(whole)
    assert figures == meter.compute(halves)
    assert figures["support"] == [int((truth == label).sum()) for label in range(3)] and figures["support"][1] == 0
    assert figures["void"] == int((truth == IGNORE).sum()) and figures["pixels"] + figures["void"] == truth.numel()


# --- where it is said -------------------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Masks of 0 and 255, mostly the latter; one photo stored turned by 180 degrees; a file of another kind."""
    folder = folder_data(tmp_path / "odd", 2)
    for path in (folder / "masks").iterdir():
        with Image.open(path) as mask:
            ids = np.where(np.asarray(mask) == 0, 0, 255).astype(np.uint8)
        Image.fromarray(ids).save(path)
    with Image.open(folder / "images" / "p0.png") as photo:
        exif = Image.Exif()
        exif[0x0112] = 3
        photo.save(folder / "images" / "p0.png", exif=exif)
    (folder / "images" / "Thumbs.db").write_bytes(b"")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[str]]:
    with tiny_registered():
        yield [str(path) for path in sorted(tiny_files(tmp_path / "files", 2).iterdir())]


@pytest.mark.parametrize(
    ("verb", "count", "options"),
    [
        ("evaluate", 1, ()),
        ("sweep", 2, ("--step", "0.5")),
        ("compare", 2, ("--methods", "isotropic")),
        ("diagnose", 2, ("--no-path",)),
        ("layers", 2, ("--granularity", "part", "--preset", "ramp")),
    ],
)
def test_every_verb_that_measures_says_it(
    capsys, odd: Path, files: list[str], tmp_path: Path, verb: str, count: int, options
) -> None:
    arguments = [verb, *files[:count], "--data", f"folder:{odd}", *options, "--home", str(tmp_path / "home")]
    main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (
        len(found["warnings"]) == 2
        and "void" in found["warnings"][0]
        and "Every labelled pixel is road" in found["warnings"][1]
    )
    assert "Thumbs.db" in found["notes"][0] and "EXIF orientation in 1 of 2 pictures" in found["notes"][1]
    main(arguments)
    printed = capsys.readouterr().out
    assert all(f"warning: {warning}\n" in printed for warning in found["warnings"])
    assert all(f"note: {note}\n" in printed for note in found["notes"])


def test_nothing_is_said_of_ordinary_data(capsys, files: list[str], tmp_path: Path) -> None:
    arguments = [
        "evaluate",
        files[0],
        "--data",
        f"folder:{folder_data(tmp_path / 'town', 2)}",
        "--home",
        str(tmp_path / "home"),
    ]
    main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["warnings"] == found["notes"] == [] and sum(found["support"].values()) == found["pixels"]


def test_a_photo_turned_measures_what_it_measures_upright(capsys, files: list[str], tmp_path: Path) -> None:
    def figures(folder: Path) -> dict[str, Any]:
        main(["evaluate", files[0], "--data", f"folder:{folder}", "--home", str(tmp_path / "home"), "--json"])
        return {
            name: value
            for name, value in json.loads(capsys.readouterr().out).items()
            if name not in ("data", "notes", "seconds")
        }

    folder = folder_data(tmp_path / "town", 1)
    upright = figures(folder)
    with Image.open(folder / "images" / "p0.png") as photo:
        exif = Image.Exif()
        exif[0x0112] = 3
        photo.transpose(Image.Transpose.ROTATE_180).save(folder / "images" / "p0.png", exif=exif)
    assert figures(folder) == upright


def test_merge_says_how_the_pictures_that_it_looked_at_were_taken(
    capsys, odd: Path, files: list[str], tmp_path: Path
) -> None:
    main(
        [
            "merge",
            *files,
            "--buffers",
            "recalibrate",
            "--data",
            f"folder:{odd}",
            "--out",
            str(tmp_path / "m.safetensors"),
            "--json",
            "--home",
            str(tmp_path / "home"),
        ]
    )
    assert any("EXIF orientation" in note for note in json.loads(capsys.readouterr().out)["notes"])


def test_a_check_of_data_says_it(odd: Path, tmp_path: Path) -> None:
    workspace = Workspace(Options(data=(f"folder:{odd}",), demo=False, home=tmp_path / "home"))
    found = workspace.check_data(workspace.sources[0].name, None)
    assert found.pictures == 2 and len(found.notes) == 2 and len(found.warnings) == 2
    assert found.notes == open_dataset(f"folder:{odd}").notes


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("workspace.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


def test_the_pages_say_it(start, odd: Path, files: list[str]) -> None:
    app = start("--checkpoints", str(Path(files[0]).parent), "--data", f"folder:{odd}")
    assert plain("Thumbs.db") in text(app) and "Every labelled pixel" not in text(app)
    next(item for item in app.button if item.key == "check-run").click().run()
    assert not app.exception and "Every labelled pixel is road" in text(app)
    app.switch_page("explore.py").run()
    assert "EXIF orientation in 1 of 2 pictures" in text(app) and "Every labelled pixel" not in text(app)
    studio = server.studio()
    source = studio.workspace.sources[0].name
    studio.sweep(next(iter(studio.views.opened.values()))).measure(0.5)
    assert "Every labelled pixel is road" in text(app.run())
    for page in ("layers.py", "calibration.py", "diagnostics.py", "compare.py"):
        if page == "diagnostics.py":
            studio.diagnosis(["c0", "c1"], source, None).measure(None)
        elif page == "calibration.py":
            studio.calibration.sweep(next(iter(studio.views.opened.values()))).measure(1)
        elif page == "compare.py":
            studio.comparisons.open(["c0", "c1"], source, None, Choices()).measure()
        shown = text(app.switch_page(page).run())
        assert not app.exception and plain("Thumbs.db") in shown and "Every labelled pixel is road" in shown, page
