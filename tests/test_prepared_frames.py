"""Prepared frames: made once, bounded, never taken for another; and films of them."""

from __future__ import annotations

import json
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionlib.errors import UsageError
from fusionlib.imaging.animation import MOST_PICTURES, animated, unpacked
from fusionlib.imaging.png import encode_rgb
from fusionlib.options import Options
from fusionlib.runs.frames import PreparedFrames
from fusionlib.runs.story import Step
from fusionlib.studio import Studio
from fusionlib.studio.frame_wish import FrameWish
from fusionlib.studio.prepare import DOUBTS, STEPS_OF_ALPHA

LINK = "?a=night&b=fog&data=streets%20all&split=val&mix=alpha&alpha={}&picture={}"


def studio(home: Path, **options: object) -> Studio:
    return Studio(Options(home=home, device="cpu", **options))  # type: ignore[arg-type]


def prepare(one: Studio, *links: str) -> None:
    one.preparation.begin([Step(link, f"step {number}") for number, link in enumerate(links, 1)])
    one.preparation.wait(120)
    assert one.preparation.state == "done", one.preparation.message


def stop(one: Studio) -> None:
    """From now on nothing runs on the device."""

    def stopped(*_: object, **__: object) -> None:
        raise RuntimeError("the worker is stopped")

    one.worker.submit = one.worker.run = stopped  # type: ignore[method-assign]


def opened(one: Studio, link: str):
    found = one.preparation.shown(Step(link, "x"))
    assert found is not None
    return found.view


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, Path]:
    home = tmp_path_factory.mktemp("prepared")
    one = studio(home)
    prepare(one, LINK.format(0.37, 24), "compare?a=night&b=fog", LINK.replace("night", "nobody").format(0.5, 1))
    return one, home


def test_a_step_takes_its_own_frame_the_ends_and_alphas_by_005(prepared: tuple[Studio, Path]) -> None:
    work = prepared[0].preparation
    assert (work.total, work.made, work.missing) == (1 + 2 + STEPS_OF_ALPHA + 1, 24, 0)
    (problem,) = work.problems
    assert problem.startswith("Step 3") and "nobody" in problem
    prepare(prepared[0], LINK.format(0.37, 24))
    assert work.made == 0 and work.missing == 0, "what is there is not made again"


def test_prepared_frames_come_without_the_worker_and_are_the_same(prepared: tuple[Studio, Path]) -> None:
    first, home = prepared
    other = studio(home)
    there, here = opened(first, LINK.format(0.37, 24)), opened(other, LINK.format(0.37, 24))
    assert there is not here
    stop(other)
    for alpha, pane in [(0.37, "m"), (0.0, "m"), (0.05, "m"), (0.95, "m"), (0.37, "a"), (0.6, "b")]:
        mine, theirs = here.frame(23, alpha, pane), there.frame(23, alpha, pane)
        assert mine.png == theirs.png and mine.about["miou"] == theirs.about["miou"]
        assert pane != "m" or mine.about["alpha"] == alpha
    assert here.frame(23, 0.05).png != here.frame(23, 0.95).png
    for alpha, index in [(0.06, 23), (0.051, 23), (0.05, 22)]:
        with pytest.raises(RuntimeError, match="stopped"):
            here.frame(index, alpha)


def test_a_frame_of_another_policy_or_rounding_is_another(prepared: tuple[Studio, Path]) -> None:
    other = studio(prepared[1])
    views = [opened(other, f"{LINK.format(0.37, 24)}&{more}") for more in ("buffers=gaussian", "dtype=float16")]
    stop(other)
    for view in views:
        with pytest.raises(RuntimeError, match="stopped"):
            view.frame(23, 0.05)


def test_what_is_damaged_or_says_it_is_another_is_made_again(prepared: tuple[Studio, Path]) -> None:
    one = studio(prepared[1])
    view = opened(one, LINK.format(0.37, 24))
    frames = view.prepared
    assert isinstance(frames, PreparedFrames)
    key = FrameWish(23, 0.5).key(view.id)
    good = frames.find(key)
    assert good is not None
    name = frames._name(key)
    png, about = good
    strange = json.dumps({"key": frames._name(FrameWish(23, 0.55).key(view.id)), "about": about}).encode() + b"\n" + png
    for packed in (
        b"",
        b"no zlib",
        zlib.compress(strange),
        zlib.compress(json.dumps({"key": name, "about": 3}).encode() + b"\n" + png),
        zlib.compress(json.dumps({"key": name, "about": about}).encode() + b"\nGIF89a"),
        zlib.compress(b"[" * 100_000),
        zlib.compress(json.dumps({"key": name, "about": about}).encode() + b"\n" + png)[:-9],
    ):
        frames.keep(key, png, about)
        one.answers.database.change("UPDATE maps SET map = ? WHERE picture = ?", (packed, _short(name)))
        assert frames.find(key) is None and not frames.has(key)
    assert view.frame(23, 0.5).png == png, "the network is asked"
    frames.keep(key, png, about)
    assert frames.find(key) == good


@pytest.mark.parametrize("lens", DOUBTS)
def test_a_step_that_shows_doubt_is_prepared_with_it(tmp_path: Path, lens: str) -> None:
    one = studio(tmp_path)
    link = LINK.format(0.5, 3) + f"&look=lens-{lens}~zoom-1_0_0"
    prepare(one, link)
    view = opened(one, link)
    stop(one)
    frame = view.frame(2, 0.5, doubt=True)
    width, height = Image.open(BytesIO(frame.png)).size
    image = view.need_pictures().load(2).image
    assert (height, width) == (2 * len(image), len(image[0]))
    with pytest.raises(RuntimeError, match="stopped"):
        view.frame(2, 0.5)


def test_lenses_that_need_doubt_are_those_of_the_browser() -> None:
    text = (Path(__file__).parents[1] / "assets/viewer/lenses-doubt.js").read_text()
    assert tuple(re.findall(r'id: "(\w+)".*needs: \["doubt"\]', text)) == DOUBTS


def _short(name: str) -> bytes:
    from fusionlib.runs.answers import short

    return short(name)


def test_frames_that_find_no_room_are_said_and_those_of_a_prune_stay(tmp_path: Path) -> None:
    from fusionlib.cli import main

    one = studio(tmp_path, home_mb=1)
    prepare(one, LINK.format(0.5, 1))
    taken = one.answers.maps.taken()
    assert sum(found.bytes for found in taken.values()) <= 1 << 20
    kept = sum(found.count for found in taken.values())
    assert one.preparation.missing == one.preparation.total - kept > 0
    main(["results", "prune", "--home", str(tmp_path), "--json"])
    assert sum(found.count for found in one.answers.maps.taken().values()) == kept
    main(["results", "prune", "--maps", "--home", str(tmp_path), "--json"])
    assert one.answers.maps.taken() == {}


def test_preparing_is_cancelled_and_keeps_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = studio(tmp_path)
    work = one.preparation
    view = opened(one, LINK.format(0.5, 1))
    whole = type(view).prepare
    monkeypatch.setattr(type(view), "prepare", lambda *given: (work.cancel(), whole(*given))[1])
    work.begin([Step(LINK.format(0.5, 1), "x")])
    work.wait(60)
    assert work.state == "cancelled" and work.made == 1
    assert sum(found.count for found in one.answers.maps.taken().values()) == 1


def test_methods_profiles_and_sets_of_three_are_prepared_as_links_say(prepared: tuple[Studio, Path]) -> None:
    one = prepared[0]
    base = "?a=night&b=fog&data=streets%20all&split=val&picture=2"
    shown = one.preparation.shown
    slerp = shown(Step(f"{base}&mix=slerp&parameters=%7B%22alpha%22%3A0.25%7D", "x"))
    assert slerp is not None and slerp.wish.mixture.alpha == 0.25 and slerp.wish.index == 1  # type: ignore[union-attr]
    three = shown(Step(f"{base}&more=rain&mix=alpha&parameters=%7B%22weights%22%3A%5B0.5%2C0.25%2C0.25%5D%7D", "x"))
    assert three is not None and three.wish.mixture.weights == (0.5, 0.25, 0.25)  # type: ignore[union-attr]
    layers = shown(Step(f"{base}&mix=layers", "x"))
    assert layers is not None and layers.wish.mixture.granularity == "block"  # type: ignore[union-attr]
    assert shown(Step("diagnostics?a=night&b=fog", "x")) is None and shown(Step("?alpha=0.5", "x")) is None
    for wrong in ("mix=none", "mix=slerp&parameters=3", "mix=layers&profile=[", "alpha=2", "alpha=x", "buffers=none"):
        with pytest.raises(UsageError):
            shown(Step(f"{base}&{wrong}", "x"))
    for picture in ("0", "31", "x", "9999999999", "-1"):
        with pytest.raises(UsageError, match="1 to 30"):
            shown(Step(LINK.format(0.5, picture), "x"))


# --- films -----------------------------------------------------------------------------------------------------------


def picture(value: int, size: tuple[int, int] = (4, 6)) -> bytes:
    return encode_rgb(*(np.full(size, value, np.uint8) for _ in range(3)))


def test_a_film_goes_forth_and_back_without_loss() -> None:
    film = Image.open(BytesIO(animated([picture(value) for value in (10, 100, 200)])))
    assert (film.format, film.n_frames, film.size) == ("WEBP", 4, (6, 4))  # type: ignore[attr-defined]
    seen = []
    for number in range(4):
        film.seek(number)
        seen.append(film.convert("RGB").getpixel((0, 0)))
    assert seen == [(value,) * 3 for value in (10, 100, 200, 100)]


def framed(*pictures: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in pictures)


def test_pictures_come_out_as_they_went_in() -> None:
    assert unpacked(framed(b"abc", b"d")) == [b"abc", b"d"] and unpacked(b"") == []


@pytest.mark.parametrize(
    "body", [b"x", framed(b"abc")[:-1], struct.pack("<I", 2**32 - 1) + b"x", struct.pack("<I", 0), framed(*[b"a"] * 33)]
)
def test_a_body_that_is_no_row_of_pictures_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match="PNGs"):
        unpacked(body)


def noise() -> bytes:
    return encode_rgb(*np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8))


def _gif() -> bytes:
    out = BytesIO()
    Image.new("RGB", (6, 4)).save(out, "GIF")
    return out.getvalue()


@pytest.mark.parametrize(
    "pictures",
    [
        [],
        [picture(1)],
        [picture(1)] * (MOST_PICTURES + 1),
        [picture(1), picture(1, (4, 7))],
        [picture(1), b"no picture"],
        [picture(1), _gif()],
        [picture(1, (64, 64)), noise()[: len(noise()) // 2]],
        [picture(1, (1025, 1024))] * 2,
        [picture(1), picture(1)[:16] + struct.pack(">II", 1 << 30, 1 << 30) + picture(1)[24:]],
    ],
    ids=["none", "one", "many", "sizes", "text", "gif", "cut", "large", "bomb"],
)
def test_what_is_no_film_is_refused(pictures: list[bytes]) -> None:
    with pytest.raises(UsageError, match="PNGs of one size"):
        animated(pictures)
