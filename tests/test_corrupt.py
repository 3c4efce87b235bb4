"""Damaged pictures: the same bytes at severity 0 and at every call, more damage step by step, and masks untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusionlib.contracts import IGNORE
from fusionlib.data.attributes import attributes_of
from fusionlib.data.cache import DecodedCache
from fusionlib.data.corrupt import KINDS, WORST, corrupted
from fusionlib.data.spec import open_dataset, splits_of
from fusionlib.data.streets import render_scene
from fusionlib.errors import FusionError, UsageError
from fusionlib.studio.sources import short_name
from tests.helpers import folder_data, tiny_world

PICTURES = [render_scene(seed).image for seed in (2, 3)]


@pytest.mark.parametrize("kind", KINDS)
def test_more_severe_is_farther_from_the_picture(kind: str) -> None:
    for picture in PICTURES:
        before = picture.copy()
        assert corrupted(picture, kind, 0) is picture
        steps = [corrupted(picture, kind, severity) for severity in range(WORST + 1)]
        assert np.array_equal(picture, before) and {step.shape for step in steps} == {picture.shape}
        assert {step.dtype for step in steps} == {np.dtype(np.uint8)}
        away = [np.abs(step.astype(int) - picture).mean() for step in steps]
        assert away == sorted(away) and away[1] > 1 and len(set(away)) == len(away)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_follows_from_the_picture_alone(kind: str) -> None:
    picture = PICTURES[0]
    again = corrupted(np.asfortranarray(picture), kind, 3)
    assert corrupted(picture, kind, 3).tobytes() == again.tobytes()


def test_noise_of_another_picture_or_severity_is_another() -> None:
    flat = np.full((64, 64, 3), 120, np.uint8)
    moved = flat.copy()
    moved[0, 0] = 119
    one, other = (corrupted(image, "noise", 3).astype(int) - image for image in (flat, moved))
    assert (one != other).mean() > 0.9
    weaker = corrupted(flat, "noise", 2).astype(int) - flat
    assert abs(np.corrcoef(one.ravel(), weaker.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (97, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_size(kind: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert all(corrupted(image, kind, severity).shape == image.shape for severity in range(WORST + 1))


def test_masks_names_groups_and_classes_are_the_other_datas(tmp_path: Path) -> None:
    folder = folder_data(tmp_path / "data", 3)
    (folder / "attributes.csv").write_text("name,weather\np0,dry\np1,wet\np2,dry\n")
    spec = f"folder:{folder}"
    plain, damaged = open_dataset(spec), open_dataset(f"corrupt:blur:4:{spec}")
    assert damaged.spec == f"corrupt:blur:4:{spec}" and damaged.labelled and damaged.label_space == plain.label_space
    for index in range(3):
        one, other = plain.load(index), damaged.load(index)
        assert one.name == other.name == damaged.name(index) and plain.group(index) == damaged.group(index)
        assert np.array_equal(one.truth, other.truth) and (one.truth == IGNORE).any()  # type: ignore[arg-type, union-attr]
        assert not np.array_equal(one.image, other.image)
    assert attributes_of(DecodedCache(damaged, 1 << 20)) == {"weather": ("dry", "wet", "dry")}


def test_keys_are_of_content_and_damage() -> None:
    def keys(spec: str) -> tuple[str, ...]:
        found = open_dataset(spec)
        return (found.fingerprint(), *(found.picture_key(index) for index in range(len(found))))

    inner = "streets:clear:2@val"
    told = {spec: keys(spec) for spec in (inner, *(f"corrupt:{kind}:{n}:{inner}" for kind in KINDS for n in (1, 2)))}
    for place in range(3):
        assert len({one[place] for one in told.values()}) == len(told)
    assert keys(f"corrupt:fog:0:{inner}") == told[inner]
    assert keys("corrupt:fog:1:streets:clear:2@val") != keys("corrupt:fog:1:streets:clear:2@test")


def test_splits_and_limits_are_the_other_datas(tmp_path: Path) -> None:
    assert splits_of("corrupt:fog:3:streets:clear") == ("train", "val", "test")
    found = open_dataset("corrupt:fog:3:streets:clear:9", "test", 2)
    assert len(found) == 2 and found.spec == "corrupt:fog:3:streets:clear:9@test"
    again = open_dataset(found.spec, None, 2)
    assert again.fingerprint() == found.fingerprint()
    twice = open_dataset("corrupt:jpeg:1:corrupt:fog:2:streets:clear:1")
    assert twice.title == "Streets clear, val, fog 2, jpeg 1"
    odd = folder_data(tmp_path / "a@b", 1)
    assert len(open_dataset(f"corrupt:fog:3:folder:{odd}/")) == 1


@pytest.mark.parametrize(
    ("argument", "needs"),
    [
        ("", "corrupt:KIND:SEVERITY:SPEC"),
        ("mud:1:streets:clear", "one of blur, noise"),
        ("fog:6:streets:clear", "0 to 5"),
        ("fog:-1:streets:clear", "0 to 5"),
        ("fog:1.5:streets:clear", "0 to 5"),
        ("fog::streets:clear", "0 to 5"),
        ("fog:²:streets:clear", "0 to 5"),
        ("fog:3", "the spec of other data"),
        ("fog:3:", "the spec of other data"),
        ("fog:3:nothing", "camvid:DIR"),
        ("fog:3:none:x", "camvid:DIR"),
        ("fog:3:streets:mars", "clear"),
        ("fog:1:corrupt:" * 2000 + "streets:clear", "at most 3"),
        ("\x1b[31m:1:streets:clear", "one of blur"),
    ],
)
def test_what_is_no_damage_is_refused_in_words(argument: str, needs: str) -> None:
    with pytest.raises(FusionError) as refused:
        open_dataset(f"corrupt:{argument}")
    assert needs in refused.value.one_line and refused.value.do and len(refused.value.one_line) < 5000
    with pytest.raises(FusionError):
        splits_of(f"corrupt:{argument}")


def test_it_is_data_of_the_app(tmp_path: Path) -> None:
    inner = f"folder:{folder_data(tmp_path / 'data', 2)}"
    assert short_name("corrupt:fog:3:camvid:/secret/town@val", "folder") == "camvid town, fog 3"
    assert short_name("corrupt:mud:3:camvid:/secret/town@val", "folder") == "corrupt"
    with tiny_world(tmp_path, data=(f"corrupt:noise:2:{inner}", "corrupt:mud:2:streets:clear")) as world:
        good, bad = world.studio.workspace.sources
        assert good.problem is None and isinstance(bad.problem, UsageError)
        pictures = world.studio.workspace.pictures(good.name, None)
        assert pictures.labelled and len(pictures) == 2
