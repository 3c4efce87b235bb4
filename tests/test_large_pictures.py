"""Very large pictures: looked at reduced, which is said; measured in tiles where that is asked for, refused in words
where not.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import TinyArchitecture, World, folder_data, pictures, tiny_file, tiny_registered, tiny_world, until
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fusionlib.cli import main
from fusionlib.data import files
from fusionlib.data.files import WHOLE_PIXELS, read_picture, reduced_mask, reduction
from fusionlib.data.orientation import shown_size, turned
from fusionlib.data.spec import open_dataset
from fusionlib.engine import maps
from fusionlib.engine import observe as measure
from fusionlib.engine.observe import MARGIN, TILE, batches
from fusionlib.engine.statistics import find
from fusionlib.errors import DataError, UsageError

ROOT = Path(__file__).parents[1]
SMALL = 48 * 64 // 4
"""A bound under which pictures of 48 x 64 are large: half their sides fit."""


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, measure):
        monkeypatch.setattr(module, "WHOLE_PIXELS", SMALL)


# --- reading ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 70_000), st.integers(1, 70_000))
def test_the_reduction_is_the_smallest_that_fits(height: int, width: int) -> None:
    def left(scale: int) -> int:
        return -(-height // scale) * -(-width // scale)

    scale = reduction(height, width)
    assert left(scale) <= WHOLE_PIXELS and (scale == 1 or left(scale - 1) > WHOLE_PIXELS)


def test_a_frame_of_cityscapes_is_looked_at_as_it_is() -> None:
    assert (reduction(1024, 2048), reduction(1025, 2048), reduction(8000, 8000), reduction(1, 64_000_000)) == (
        1,
        2,
        6,
        31,
    )


def _means(image: np.ndarray, scale: int) -> np.ndarray:
    """Means of squares, those at the right and lower edge of what is left of them."""
    rows, columns = (range(0, side, scale) for side in image.shape[:2])
    return np.array([[image[y : y + scale, x : x + scale].reshape(-1, 3).mean(0) for x in columns] for y in rows])


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("kind", ["RGB", "L", "P", "RGBA", "I;16", "1"])
def test_a_reduced_picture_has_the_means_of_squares(tmp_path: Path, kind: str, scale: int) -> None:
    image = Image.fromarray(pictures(1, size=(45, 62))[0])
    image = (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        if kind == "I;16"
        else image.convert(kind)
    )
    image.save(tmp_path / "p.png")
    whole, reduced = read_picture(tmp_path / "p.png"), read_picture(tmp_path / "p.png", scale=scale)
    assert reduced.shape == (-(-45 // scale), -(-62 // scale), 3) and reduced.dtype == np.uint8
    assert np.abs(reduced - _means(whole, scale)).max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4, 6, 8])
def test_a_jpeg_is_decoded_at_a_part_of_its_size(tmp_path: Path, scale: int) -> None:
    Image.fromarray(pictures(1, size=(97, 130))[0]).save(tmp_path / "p.jpg", quality=95)
    reduced = read_picture(tmp_path / "p.jpg", scale=scale)
    assert reduced.shape == (-(-97 // scale), -(-130 // scale), 3)
    assert np.abs(reduced - _means(read_picture(tmp_path / "p.jpg"), scale)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_reduced_and_its_mask_at_the_same_places(
    tmp_path: Path, bound: None, orientation: int
) -> None:
    """Sides that the scale does not divide, and a mask drawn on what viewers show."""
    ids = np.random.default_rng(orientation).integers(0, 3, (49, 67), np.uint8)
    shades = np.repeat((ids * 100)[..., None], 3, axis=2)
    folder = tmp_path / "data"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.yaml").write_text("classes: [a, b, c]\nignore: 255\n")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(shades).save(folder / "images" / "p.png", exif=exif)
    Image.fromarray(turned(ids, orientation)).save(folder / "masks" / "p.png")
    dataset = open_dataset(f"folder:{folder}")
    sample, whole = dataset.load(0), dataset.load(0, whole=True)
    assert whole.truth is not None and sample.truth is not None and sample.scale == 3
    assert (whole.image[..., 0] == whole.truth * 100).all()
    assert sample.image.shape[:2] == sample.truth.shape == shown_size((17, 23), orientation)
    centres = np.ix_(*(np.minimum(np.arange(0, side, 3) + 1, side - 1) for side in ids.shape))
    assert (sample.truth == turned(ids[centres], orientation)).all()
    assert np.abs(sample.image - turned(_means(shades, 3), orientation)).max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_a_reduced_mask_has_ids_of_the_mask_one_for_each_pixel(height: int, width: int, scale: int) -> None:
    ids = np.arange(height * width).reshape(height, width)
    reduced = reduced_mask(ids, scale)
    assert reduced.shape == (-(-height // scale), -(-width // scale))
    rows, columns = np.divmod(reduced, width)
    assert (rows // scale == np.arange(reduced.shape[0])[:, None]).all() and (
        columns // scale == np.arange(reduced.shape[1])
    ).all()


def test_an_unknown_id_is_found_wherever_it_is(tmp_path: Path, bound: None) -> None:
    folder = folder_data(tmp_path / "data", 1)
    dataset = open_dataset(f"folder:{folder}")
    sample = dataset.load(0)
    assert (sample.scale, sample.image.shape, sample.truth.shape) == (2, (24, 32, 3), (24, 32))
    assert dataset.load(0, whole=True).image.shape == (48, 64, 3)
    path = folder / "masks" / "p0.png"
    ids = np.array(Image.open(path))
    ids[0, 0] = 77  # no pixel of the reduced mask
    Image.fromarray(ids).save(path)
    with pytest.raises(DataError, match="unknown ids 77"):
        dataset.load(0)


# --- looking ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path, bound: None):
    with tiny_world(tmp_path, count=2) as opened:
        yield opened


@pytest.fixture
def tiled_world(tmp_path: Path, bound: None):
    with tiny_world(tmp_path, count=2, tiles=True) as opened:
        yield opened


def test_a_large_picture_is_shown_and_scored_reduced_and_says_so(world: World) -> None:
    view = world.view()
    frame = view.frame(0, 0.3)
    shown = np.asarray(Image.open(io.BytesIO(frame.png)))
    truth = np.asarray(Image.open(io.BytesIO(view.truth(0))))
    assert frame.about["scale"] == 2 and shown.shape == (24, 32, 3) and truth.shape == (24, 32)
    assert Image.open(io.BytesIO(view.picture(0))).size == (32, 24)
    assert frame.about["pixel_accuracy"] == pytest.approx((shown[..., 0] == truth)[truth != 255].mean())


def test_bands_show_what_the_picture_shows_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_world(tmp_path, count=1) as world:
        whole = world.view().frame(0, 0.4)
        monkeypatch.setattr(maps, "BAND_PIXELS", 7 * 64)
        banded = world.view("gaussian").frame(0, 1.0), world.view("anchor").frame(0, 0.4, "a")
        world.studio.recent.limit = 0
        again = world.view().frame(0, 0.41), world.view().frame(0, 0.4)
    assert whole.about["scale"] == 1 and again[1].png == whole.png
    assert {key: again[1].about[key] for key in ("miou", "iou", "pixel_accuracy")} == {
        key: whole.about[key] for key in ("miou", "iou", "pixel_accuracy")
    }
    assert banded[0].png == banded[1].png, "A, both times"


# --- measuring --------------------------------------------------------------------------------------------------------


def test_without_tiles_nothing_is_measured_and_the_way_is_named(world: World) -> None:
    view = world.view()
    sweep = world.studio.sweep(view)
    sweep.want(0.5)
    until(lambda: sweep.state != "running")
    assert sweep.state == "failed" and "--tiles" in sweep.message
    pictures = view.pictures
    with pytest.raises(UsageError, match="--tiles"):
        world.studio.diagnosis(["a", "b"], world.source, None).measure(None)
    with pytest.raises(DataError, match="--tiles"):
        world.studio.runner.measure(view.alone("a"), pictures, measures=["temperature"])
    with pytest.raises(DataError, match="--tiles"):
        world.studio.evaluate(world.studio.workspace.get("a").checkpoint, pictures)


def test_what_must_see_a_picture_as_a_whole_refuses_large_ones(tiled_world: World) -> None:
    with pytest.raises(DataError, match="as a whole"):
        tiled_world.view("recalibrate").frame(0, 0.5)
    view, studio = tiled_world.view(), tiled_world.studio
    from fusionlib.merging.fisher import Fisher

    with pytest.raises(DataError, match="as a whole"):
        find(Fisher(), view.arena, (TinyArchitecture(), 3), view.pictures, worker=studio.worker)


@pytest.mark.parametrize("size", [(96, 128), (90, 100), (33, 200), (64, 64)])
def test_tiles_give_what_the_whole_gives_to_a_network_that_sees_no_farther_than_the_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    folder = folder_data(tmp_path / "data", 1)
    rng = np.random.default_rng(0)
    Image.fromarray(pictures(1, size=size)[0]).save(folder / "images" / "p0.png")
    Image.fromarray(rng.choice([0, 1, 2, 255], size).astype(np.uint8)).save(folder / "masks" / "p0.png")
    monkeypatch.setattr(measure, "TILE", 32)
    monkeypatch.setattr(measure, "MARGIN", 16)
    with tiny_world(tmp_path, data=(f"folder:{folder}",), tiles=True) as world:
        checkpoint = world.studio.workspace.get("a").checkpoint
        workspace = world.studio.workspace
        whole = world.studio.evaluate(checkpoint, workspace.pictures(world.source, None), fresh=True)
        monkeypatch.setattr(files, "WHOLE_PIXELS", SMALL)
        workspace.refresh()
        tiled = world.studio.evaluate(checkpoint, workspace.pictures(world.source, None), fresh=True)
    assert (whole["tiled"], tiled["tiled"], tiled["images"]) == (0, 1, 1)
    # TinyNet halves the picture: an odd side is resized by another factor in a tile than in the whole, by less than a
    # pixel.
    within = 1e-6 if all(side % 2 == 0 for side in size) else 0.01
    for name in ("miou", "pixel_accuracy", "loss"):
        assert tiled[name] == pytest.approx(whole[name], abs=within), name


def test_tiles_cover_every_pixel_once_and_count_one_picture(
    tiled_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "TILE", 20)
    monkeypatch.setattr(measure, "MARGIN", 6)
    dataset = tiled_world.view().pictures
    parts = list(batches(dataset, 8))
    assert sum(part.finished for part in parts) == len(dataset) == 2
    whole = dataset.load(0, whole=True)
    seen = sum(np.bincount(part.truths.reshape(-1), minlength=256) for part in parts[: len(parts) // 2])
    assert (seen == np.bincount(whole.truth.reshape(-1), minlength=256)).all()
    for part in parts:
        (top, left), (height, width) = part.at, part.truths.shape[1:]
        assert top in (0, 6) and left in (0, 6) and height <= 20 and width <= 20
        assert part.images.shape[1] <= top + height + 6 and part.images.shape[2] <= left + width + 6


def test_a_sweep_a_joint_measurement_and_a_temperature_go_by_tiles(tiled_world: World) -> None:
    view = tiled_world.view()
    progress: list[tuple[int, int]] = []
    points = tiled_world.studio.sweep(view).measure(0.5, lambda *call: progress.append(call))["points"]
    assert [point["tiled"] for point in points] == [2, 2, 2] and progress[-1][0] <= progress[-1][1]
    diagnosis = tiled_world.studio.diagnosis(["a", "b"], tiled_world.source, None)
    diagnosis.measure(None, fresh=True)
    report = diagnosis.report()
    assert report["singles"][0]["miou"] == pytest.approx(points[-1]["miou"])
    assert report["pairs"][0]["oracle_miou"] is not None
    found = tiled_world.studio.runner.measure(view.alone("a"), view.pictures, measures=["temperature"])
    assert found["nll_before"] == pytest.approx(points[-1]["loss"])


def test_the_command_line_refuses_names_the_option_and_says_what_tiles_are(
    tmp_path: Path, bound: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = tiny_file(tmp_path, "a", 1), folder_data(tmp_path / "data", 2)
    arguments = ["evaluate", str(path), "--data", f"folder:{data}", "--home", str(tmp_path / "home"), "--device", "cpu"]
    with tiny_registered():
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == 2 and said.err.count("\n") == 1 and "--tiles" in said.err and said.out == ""
        main([*arguments, "--tiles"])
    assert f"2 of 2 pictures in tiles of {TILE} with {MARGIN} pixels around each" in capsys.readouterr().out


# --- what it costs ----------------------------------------------------------------------------------------------------

_LOOK = """
import sys
from pathlib import Path
from fusionlib.studio import Options, Selection, Studio
studio = Studio(Options(data=("pictures:" + sys.argv[1],), home=Path(sys.argv[1]) / "home", device="cpu"))
pair = studio.workspace.demo_pair()
view = studio.view(Selection(*pair, studio.workspace.sources[0].name, None))
assert view.frame(0, 0.5).about["scale"] == 6
view.picture(0)
# Not `ru_maxrss`, which begins at that of the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def test_a_picture_of_64_megapixels_is_looked_at_in_less_than_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    Image.effect_noise((50, 50), 80).convert("RGB").resize((8000, 8000), Image.Resampling.NEAREST).save(
        tmp_path / "big.png"
    )
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1500
