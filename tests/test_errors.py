"""`errors`: transitions of a merge derived from kept label maps, filters without a pass, the verb's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusionlib.cli import main, parse
from fusionlib.data import files
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import CAMVID, CITYSCAPES, CITYSCAPES_VOID, class_groups
from fusionlib.diagnostics.bootstrap import RUNS, Units, class_intervals, gain_interval
from fusionlib.engine import observe
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import UsageError
from fusionlib.imaging.highlight import EDGE, outlined
from fusionlib.imaging.thumbnail import thumbnail
from fusionlib.measures.confusion import confusion_matrix, iou
from fusionlib.measures.error_stack import Pixels
from fusionlib.measures.oracle import oracle
from fusionlib.measures.states import MAP
from fusionlib.measures.strata import SIZES
from fusionlib.measures.transitions import TRANSITIONS, transitions_of
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.studies.errors import AGAINST, against_of
from fusionlib.studio.error_plans import at_alpha
from fusionlib.studio.error_table import SORTS
from fusionlib.studio.errors import DERIVING, ErrorAnalysis
from fusionlib.studio.thumbnails import Thumbnails
from tests.conftest import ROOT
from tests.helpers import World, album, folder_data, pictures, tiny_file, tiny_registered, tiny_world, until

PICTURES = 6


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with tiny_world(tmp_path, count=PICTURES) as found:
        yield found


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts pictures that pass through a network."""
    counted: list[int] = []
    inner = BoundNetwork.logits

    def logits(self: BoundNetwork, images: np.ndarray, *further: Any) -> Any:
        counted.append(len(images))
        return inner(self, images, *further)

    monkeypatch.setattr(BoundNetwork, "logits", logits)
    return counted


def analysis(world: World, against: str = "better", alpha: float = 0.75) -> ErrorAnalysis:
    view = world.view()
    return world.studio.errors.open(view.recipe(alpha), ["a", "b"], view.need_pictures(), against)


def maps_of(world: World, recipe: Recipe) -> list[np.ndarray]:
    pictures = world.view().need_pictures()
    states = world.studio.runner.look_into(Question((recipe,), pictures.fingerprint(), "labels"), pictures)
    return [state[MAP].numpy() for state in states]


def by_loop(world: World, reference: list[np.ndarray], merge: list[np.ndarray]) -> dict[str, int]:
    """Pixels by transition, with nothing but the maps."""
    pictures, total = world.view().need_pictures(), np.zeros(256, int)
    for index, (before, after) in enumerate(zip(reference, merge, strict=True)):
        truth = pictures.load(index).truth
        assert truth is not None
        total += np.bincount(transitions_of(truth, before, after).ravel(), minlength=256)
    return dict(zip(TRANSITIONS, total[:5].tolist(), strict=True))


# --- against what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("against", ["a", "b", "better", "ensemble", "oracle", "alpha=0.3"])
def test_transitions_are_those_of_the_label_maps(world: World, against: str) -> None:
    found = analysis(world, against)
    found.measure()
    view, errors = world.view(), found.errors
    singles = [maps_of(world, view.alone(place)) for place in view.ends]
    pictures = view.need_pictures()
    scores = [found.table()[name] for name in ("a", "b")]
    references = {
        "a": lambda: singles[0],
        "b": lambda: singles[1],
        "better": lambda: singles[scores[1] > scores[0]],
        "ensemble": lambda: maps_of(world, errors.ensemble),
        "oracle": lambda: [
            oracle([one, two], pictures.load(index).truth)
            for index, (one, two) in enumerate(zip(*singles, strict=True))
        ],
        "alpha=0.3": lambda: maps_of(world, view.recipe(0.3)),
    }
    said = found.snapshot()
    assert said["transitions"] == by_loop(world, references[against](), maps_of(world, view.recipe(0.75)))
    assert said["ready"] and said["state"] == "done" and sum(said["transitions"].values()) == said["pixels"] > 0
    assert found.reference is not None and found.reference.name == said["reference"]
    if against == "better":
        assert said["reference"].startswith("ab"[scores[1] > scores[0]])
    if against == "oracle":
        assert "reference" not in said["confidence"] and said["boundary_miou"].keys() == {"merge"}
        assert all(row["loss_change"] is None for row in found.rows())


def test_better_is_a_on_a_tie(world: World) -> None:
    view = world.view()
    first = view.sources[0]
    twins = Recipe(parameters={"alpha": 0.5}, checkpoints=(first, first))
    found = world.studio.errors.open(twins, ["a", "twin"], view.need_pictures())
    found.measure()
    assert found.snapshot()["reference"] == "a, the better of a and twin"
    assert {name for name, pixels in found.snapshot()["transitions"].items() if pixels} <= {
        "both_right",
        "both_wrong_same",
    }


@pytest.mark.parametrize(
    "text", ["", "c", "alpha", "alpha=", "alpha=2", "alpha=nan", "alpha=-0.1", "alpha=X", "A" * 999]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="one of a, b, better") as told:
        against_of(text)
    assert len(str(told.value)) < 400
    assert against_of("alpha=0.25").alpha == 0.25 and against_of("oracle").kind in AGAINST


def test_another_alpha_of_the_same_merge(world: World) -> None:
    merge = world.view().recipe(0.75)
    assert at_alpha(merge, 0.2).parameters == {"alpha": 0.2} and at_alpha(merge, 0.2).buffers == merge.buffers
    said = merge.model_copy(update={"parameters": {"weights": [0.5, 0.5]}})
    assert at_alpha(said, 0.2).parameters == {"alpha": 0.2}, "weights say the same and would win"
    three = merge.model_copy(update={"parameters": {}, "checkpoints": (*merge.checkpoints, merge.checkpoints[0])})
    assert at_alpha(three, 0.2).parameters == {"weights": [0.2, 0.4, 0.4]}
    with pytest.raises(UsageError, match="a method that has one"):
        at_alpha(merge.model_copy(update={"method": "isotropic", "parameters": {}}), 0.2)
    with pytest.raises(UsageError, match="two or more"):
        world.studio.errors.open(merge.alone(0), ["a"], world.view().need_pictures())


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_asked_again_nothing_runs_even_where_label_maps_had_to_go(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    assert sum(forwards) == 3 * PICTURES, "A, B and the merge, once each"
    said = found.snapshot()
    del forwards[:]
    for drop_maps in (False, True):
        if drop_maps:
            world.studio.answers.database.change("DELETE FROM maps")
        again = analysis(world.reopened())
        assert again.ready and again.state == "done"
        again.measure()
        assert again.snapshot()["transitions"] == said["transitions"] and forwards == []
        assert again.runner.tally.run == 0


def test_another_reference_takes_only_what_is_not_known(world: World, forwards: list[int]) -> None:
    analysis(world, "a").measure()
    del forwards[:]
    for against in ("b", "oracle", "better"):
        analysis(world, against).measure()
    assert forwards == []
    analysis(world, "ensemble").measure()
    assert sum(forwards) == 2 * PICTURES


def test_states_without_maps_are_derived_from_maps_that_are_measured_again(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    del forwards[:]
    world.studio.answers.database.change("DELETE FROM maps")
    gone = world.studio.answers.database.change("DELETE FROM states WHERE measure = 'transitions'")
    assert gone == 2 * PICTURES, "the reference and the merge, and A and B"
    again = analysis(world.reopened())
    assert not again.ready
    again.measure()
    assert again.snapshot()["transitions"] == found.snapshot()["transitions"]
    assert sum(forwards) == 3 * PICTURES


@pytest.mark.parametrize("damage", ["zeroblob(9)", "'text'", "substr(state, 1, length(state) - 1)", "x'545231'"])
@pytest.mark.parametrize("measure", ["transitions", "boundary"])
def test_a_damaged_state_is_derived_anew(world: World, forwards: list[int], measure: str, damage: str) -> None:
    found = analysis(world)
    found.measure()
    del forwards[:]
    table = world.studio.answers.database
    assert table.change(f"UPDATE states SET state = {damage} WHERE measure = ?", (measure,)) == 2 * PICTURES
    again = analysis(world.reopened())
    again.measure()
    for name in ("transitions", "boundary_miou"):
        assert again.snapshot()[name] == found.snapshot()[name]
    assert forwards == []


def test_pruning_keeps_what_is_derived(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    analysis(world).measure()
    world.studio.store.close()
    main(["results", "prune", "--home", str(world.studio.options.home), "--json"])
    assert json.loads(capsys.readouterr().out)["pruned"]["states"] == 0
    assert analysis(world.reopened()).ready


def test_a_cancelled_run_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = analysis(world)
    seen: list[str] = []
    inner = found.progress

    def progress(done: int, total: int) -> None:
        seen.append(found.current)
        if found.current == DERIVING and done == 2:
            found.cancel()
        inner(done, total)

    monkeypatch.setattr(found, "progress", progress)
    found.want()
    until(lambda: found.state == "cancelled")
    assert not found.ready and found.snapshot()["ready"] is False and DERIVING in seen
    with pytest.raises(UsageError, match="Measure them first"):
        found.rows()
    monkeypatch.undo()
    rows = world.studio.answers.database.read("SELECT count(*) FROM states WHERE measure = 'transitions'")
    assert rows == [(4,)], "two pictures are finished"
    found.want()
    until(lambda: found.state == "done")
    assert found.ready and found.runner.tally.run == 3 * PICTURES


# --- filters and rankings --------------------------------------------------------------------------------------------


def test_every_order_and_filter_without_a_pass(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    del forwards[:]
    for sort in SORTS:
        rows = found.rows(sort, number=1)
        values = [row["value"] for row in rows if row["value"] is not None]
        assert len(rows) == PICTURES and values == sorted(values, reverse=sort != "loss"), sort
    assert [row["gain"] for row in found.rows("gain")] == [row["value"] for row in found.rows("gain")]
    assert found.rows("gain", start=2, count=2) == found.rows("gain")[2:4]
    broken = Pixels(transitions=("broken",))
    listed = found.pictures_of(broken)
    assert [one["pixels"] for one in listed] == sorted((one["pixels"] for one in listed), reverse=True)
    assert sum(one["pixels"] for one in listed) == found.snapshot()["transitions"]["broken"]
    assert {row["name"] for row in found.rows(pixels=broken)} == {one["name"] for one in listed}
    domain = found.rows()[0]["domain"]
    assert {row["domain"] for row in found.rows(domains=(domain,))} == {domain}
    assert [row["number"] for row in found.rows("loss", among=(3, 1))] == [
        row["number"] for row in found.rows("loss") if row["number"] in (1, 3)
    ]
    inside, outside = (
        {row["number"]: row for row in found.rows(pixels=Pixels(band=inside))} for inside in (True, False)
    )
    for row in found.rows():
        parts = [side[row["number"]] for side in (inside, outside) if row["number"] in side]
        assert [sum(part[name] for part in parts) for name in TRANSITIONS] == [row[name] for name in TRANSITIONS]
    assert sum(found.confusions(Pixels(sizes=(size,)))[1].sum() for size in SIZES) == found.snapshot()["pixels"]
    assert found.flow([0]).sum() == found.class_rows()[0]["pixels"]
    assert found.rows(pixels=Pixels(truths=(2,), merges=(3,))) == []
    with pytest.raises(UsageError, match="one of gain"):
        found.rows("beauty")
    with pytest.raises(UsageError, match="Choose a class"):
        found.rows("class_gain", number=3)
    assert forwards == []


def test_figures_of_pictures_are_those_of_their_maps(world: World) -> None:
    found = analysis(world, "a")
    found.measure()
    view = world.view()
    pictures, merge = view.need_pictures(), maps_of(world, view.recipe(0.75))
    ends = [maps_of(world, view.alone(place)) for place in view.ends]
    for row in found.rows():
        number = row["number"]
        truth = pictures.load(number).truth
        assert truth is not None
        there = [one for one in range(3) if (truth == one).any()]
        means = [
            np.mean([iou(confusion_matrix(truth, said[number], 3))[one] for one in there]) for said in (ends[0], merge)
        ]
        assert row["gain"] == pytest.approx(means[1] - means[0], abs=1e-12)
        assert row["disagreement"] == pytest.approx((ends[0][number] != ends[1][number])[truth != 255].mean())
        assert 0 <= row["headroom"] <= 1 and 0 <= row["confident_error"] <= 1
    loss = [found.errors.figures(recipe, found.known) for recipe in (found.errors.merge, found.errors.members[0])]
    assert loss[0] is not None and loss[1] is not None
    weights = [row["pixels"] for row in found.rows()]
    change = np.average([row["loss_change"] for row in found.rows()], weights=weights)
    assert change == pytest.approx(loss[0]["loss"] - loss[1]["loss"], abs=1e-6)


def test_classes_have_their_change_with_an_interval(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecodedCache, "group", lambda self, index: self.name(index))  # each stands alone
    found = analysis(world)
    found.measure()
    rows, (before, after) = found.class_rows(), found.confusions()
    for number, row in enumerate(rows):
        assert row["pixels"] == sum(row[name] for name in TRANSITIONS) == after[number].sum()
        assert row["iou"] == {"reference": iou(before)[number], "merge": iou(after)[number]}
        assert row["change"] == pytest.approx(row["iou"]["merge"] - row["iou"]["reference"])
        low, high = row["interval"]
        assert low <= high and low - 0.2 < row["change"] < high + 0.2
    assert found.group_rows() == [], "three classes have no categories"
    said = found.snapshot()
    assert said["units"] == "6 pictures" and said["interval"][0] <= said["interval"][1]
    assert said["gain"] == pytest.approx(said["miou"]["merge"] - said["miou"]["reference"])
    changes = said["transitions"]["fixed"] - said["transitions"]["broken"]
    accuracies = said["pixel_accuracy"]
    assert said["gain_accuracy"] == changes / said["pixels"]
    assert said["gain_accuracy"] == pytest.approx(accuracies["merge"] - accuracies["reference"], abs=1e-12)


def test_intervals_of_classes_are_those_of_one_class_alone() -> None:
    rng = np.random.default_rng(0)
    truth, right = rng.integers(50, 90, (12, 3)), rng.integers(10, 50, (2, 12, 3))
    totals = [np.stack([part, truth, truth], axis=1).astype(float) for part in right]
    for one in totals:
        one[:, :, 2] = 0  # absent everywhere
    found = class_intervals(*totals)
    for number in (0, 1):
        alone = [one[:, :, number : number + 1] for one in totals]
        assert found[number] == pytest.approx(gain_interval(alone[:1], alone[1:]))
    assert found[2] is None
    assert class_intervals(totals[0][:4], totals[1][:4]) == [None] * 3, "too few units"
    assert class_intervals(totals[0], totals[0])[0] == (0.0, 0.0)
    assert Units((0, 0, 1), RUNS).count == 2


def test_categories_are_those_of_cityscapes_and_of_no_other_space() -> None:
    groups = class_groups(CITYSCAPES)
    assert sorted(one for members in groups.values() for one in members) == list(range(19))
    assert [CITYSCAPES.names[one] for one in groups["human"]] == ["person", "rider"]
    assert class_groups(CITYSCAPES_VOID) == groups and class_groups(CAMVID) == {}


# --- one picture -----------------------------------------------------------------------------------------------------


def test_a_bin_of_confidence_leads_to_its_pixels_by_one_pass(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    wrong, right = found.outcomes(20)  # type: ignore[misc]
    assert (wrong + right).sum() == found.snapshot()["pixels"]
    bin_ = int(np.argmax(wrong))
    chosen, held = Pixels(bin=(bin_, 20)), found.pictures_of(Pixels(bin=(bin_, 20)))
    assert sum(one["pixels"] for one in held) == wrong[bin_] + right[bin_] > 0
    assert [row["pixels"] for row in found.rows("gain", chosen)] and len(found.rows("gain", chosen)) == len(held)
    del forwards[:]
    masks = {one["number"]: found.mask_of(one["number"], chosen) for one in held}
    assert [int(masks[one["number"]].sum()) for one in held] == [one["pixels"] for one in held]
    passes = len(forwards)
    number = held[0]["number"]
    maps = found.maps(number)
    hits = masks[number] & (maps.merge == maps.strata.truth)
    assert hits.sum() <= right[bin_] and not (masks[number] & (maps.strata.truth == 255)).any()
    found.mask_of(number, Pixels(bin=(4, 15)))
    assert 0 < passes == len(forwards), "another bin of a picture that was looked at takes none"


def test_a_cell_leads_to_its_pixels(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    del forwards[:]
    _, merge = found.confusions()
    truth, label = max(((t, p) for t in range(3) for p in range(3) if t != p), key=lambda cell: merge[cell])
    cell = Pixels(truths=(truth,), merges=(label,))
    assert sum(one["pixels"] for one in found.pictures_of(cell)) == merge[truth, label] > 0
    number = found.pictures_of(cell)[0]["number"]
    mask = found.mask_of(number, cell)
    assert mask.sum() == found.pictures_of(cell)[0]["pixels"]
    pictures = world.view().need_pictures()
    image = pictures.load(number).image
    shown = np.asarray(Image.open(BytesIO(found.outlined(number, cell))))
    assert np.array_equal(shown[mask], image[mask]) and (shown == EDGE).all(-1).any()
    coloured = np.asarray(Image.open(BytesIO(found.highlighted(number, cell))))
    assert len(np.unique(coloured[mask], axis=0)) == 1, "all of them are wrong"
    numbers = np.asarray(Image.open(BytesIO(found.transition_map(number))))
    assert (numbers == 255).sum() == (pictures.load(number).truth == 255).sum() and numbers[numbers < 255].max() <= 4
    assert forwards == []
    with pytest.raises(UsageError, match="Choose another"):
        found.mask_of(PICTURES, cell)


def test_a_picture_whose_maps_had_to_go_takes_its_own_passes_alone(world: World, forwards: list[int]) -> None:
    found = analysis(world)
    found.measure()
    before = found.transition_map(2)
    world.studio.answers.database.change("DELETE FROM maps")
    del forwards[:]
    assert found.transition_map(2) == before and sum(forwards) == 2, "of the reference and of the merge"


def test_an_outline_lies_around_the_pixels() -> None:
    image = np.full((7, 9, 3), 100, np.uint8)
    chosen = np.zeros((7, 9), bool)
    chosen[3, 4] = True
    shown = outlined(image, chosen)
    assert shown[3, 4].tolist() == [100] * 3 and (shown[2:5, 3:6] == 255).all(-1).sum() == 8
    assert shown[0, 0].tolist() == [35] * 3
    with pytest.raises(UsageError, match="equal sizes"):
        outlined(image, chosen[:2])


def test_thumbnails_are_made_once_and_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, kept = album(3, size=(240, 480)), Thumbnails(tmp_path / "thumbnails", most=2)
    found = kept.of(pictures, 0)
    assert Image.open(BytesIO(found)).size == (192, 96)
    monkeypatch.setattr("fusionlib.studio.thumbnails.thumbnail", lambda image: pytest.fail("made twice"))
    assert Thumbnails(tmp_path / "thumbnails").of(album(3, size=(240, 480)), 0) == found
    monkeypatch.undo()
    (path,) = (tmp_path / "thumbnails").iterdir()
    path.write_bytes(b"<script>")
    assert kept.of(pictures, 0) == found and path.read_bytes() == found
    for index in (1, 2):
        kept.of(pictures, index)
    assert len(list((tmp_path / "thumbnails").iterdir())) <= 2
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert Thumbnails(blocked).of(pictures, 0) == found, "what cannot be kept is made again"
    assert Image.open(BytesIO(thumbnail(np.zeros((20, 30, 3), np.uint8)))).size == (30, 20)


def test_a_picture_that_is_measured_in_tiles_is_looked_into_at_full_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_data(tmp_path / "data", 2)
    Image.fromarray(pictures(1, size=(96, 128))[0]).save(folder / "images" / "p0.png")
    Image.fromarray(np.kron(np.eye(12, 16), np.ones((8, 8))).astype(np.uint8)).save(folder / "masks" / "p0.png")
    monkeypatch.setattr(observe, "TILE", 32)
    monkeypatch.setattr(observe, "MARGIN", 16)
    monkeypatch.setattr(files, "WHOLE_PIXELS", 48 * 64)
    with tiny_world(tmp_path, data=(f"folder:{folder}",), tiles=True) as world:
        found = analysis(world)
        found.measure()
        large = next(row for row in found.rows() if row["name"] == "p0")
        assert sum(large[name] for name in TRANSITIONS) == 96 * 128
        assert Image.open(BytesIO(found.outlined(large["number"], Pixels(transitions=("fixed",))))).size == (128, 96)


def test_flicker_is_over_neighbours_of_a_sequence(world: World) -> None:
    found = analysis(world, "a")
    found.measure()
    view, pictures = world.view(), world.view().need_pictures()
    assert len({pictures.group(index) for index in range(PICTURES)}) == 1, "p0, p1, ... are one sequence"
    said, still, changed = maps_of(world, view.recipe(0.75)), 0, 0
    truths = [pictures.load(index).truth for index in range(PICTURES)]
    for one in range(PICTURES - 1):
        same = (truths[one] == truths[one + 1]) & (truths[one] != 255)
        still += same.sum()
        changed += (same & (said[one] != said[one + 1])).sum()
    assert found.flicker()["merge"] == pytest.approx(changed / still)
    assert found.flicker().keys() == {"merge", "reference"}
    kept = found.flicker()
    world.studio.answers.database.change("DELETE FROM maps")
    assert found.flicker() == kept, "worked out once"
    world.studio.answers.database.change("DELETE FROM results")
    assert found.flicker() == {"reference": None, "merge": None}


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """a.pth, b.pth and town/ of three pictures as working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        tiny_file(tmp_path, name, seed)
    folder_data(tmp_path / "town", 3)
    with tiny_registered():
        yield tmp_path


def verb(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    main([*arguments, "--data", "folder:town", "--home", "home", "--device", "cpu", "--json"])
    return json.loads(capsys.readouterr().out)


def test_json(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    found = verb(capsys, "errors", "a.pth", "b.pth", "--alpha", "0.75")
    assert tuple(found["transitions"]) == TRANSITIONS and tuple(found)[:3] == ("transitions", "per_class", "images")
    assert set(found["per_class"]) == {"road", "car", "sky"}
    assert sum(found["transitions"].values()) == sum(row["pixels"] for row in found["per_class"].values())
    gains = [one["gain"] for one in found["images"]]
    assert gains == sorted(gains, reverse=True) and {one["name"] for one in found["images"]} == {"p0", "p1", "p2"}
    assert found["forward_passes"] == 9
    again = verb(capsys, "errors", "a.pth", "b.pth", "--alpha", "0.75")
    assert again["forward_passes"] == 0
    assert {**again, "forward_passes": 0, "forward_passes_known": 0, "seconds": 0} == {
        **found,
        "forward_passes": 0,
        "forward_passes_known": 0,
        "seconds": 0,
    }
    main(["merge", "a.pth", "b.pth", "--alpha", "0.75", "--out", "m.safetensors", "--save-recipe", "m.yaml"])
    capsys.readouterr()
    by_recipe = verb(capsys, "errors", "--recipe", "m.yaml")
    assert by_recipe["images"] == found["images"] and by_recipe["forward_passes"] == 0
    merged = verb(capsys, "evaluate", "m.safetensors")
    assert merged["pixel_accuracy"] == pytest.approx(found["pixel_accuracy"]["merge"])
    assert merged["miou"] == pytest.approx(found["miou"]["merge"])


def test_a_demo_pair(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = [str(ROOT / "assets" / "demo" / f"{name}.safetensors") for name in ("night", "fog")]
    main(["errors", *files, "--data", "streets:all:1", "--home", str(tmp_path), "--device", "cpu", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert len(found["per_class"]) == 19 and len(found["per_group"]) == 7 and found["forward_passes"] == 3
    totals = found["transitions"]
    assert sum(totals.values()) == found["pixels"] == sum(row["pixels"] for row in found["per_class"].values())
    (picture,) = found["images"]
    assert picture["name"] == "clear-1000000" and all(picture[name] == totals[name] for name in TRANSITIONS)


@pytest.mark.parametrize("against", ["better", "alpha=0.3"])
def test_a_run_of_a_page_can_be_gone_on_with_on_the_command_line(world: World, against: str) -> None:
    found = world.studio.errors.of_view(world.view(), 0.75, against)
    found.measure()
    (run,) = world.studio.runs.listed()
    assert run["kind"] == "errors" and run["state"] == "done"
    given = parse(run["arguments"])
    assert (given.alpha, given.against, given.buffers) == (0.75, against, "average")
    assert [path.name for path in given.checkpoints] == ["a.pth", "b.pth"] and given.data == found.pictures.spec


def test_pictures_with_chosen_pixels_come_first_by_their_count(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    everything = verb(capsys, "errors", "a.pth", "b.pth")
    found = verb(capsys, "errors", "a.pth", "b.pth", "--pixels", "transitions=broken")
    counts = [row["pixels"] for row in found["images"]]
    assert counts == sorted(counts, reverse=True) == [row["broken"] for row in found["images"]]
    assert sum(counts) == found["transitions"]["broken"] == everything["transitions"]["broken"]
    assert all("pixels" not in row for row in everything["images"])
    sums = [verb(capsys, "errors", "a.pth", "b.pth", "--pixels", f"bin={number}/20")["images"] for number in range(20)]
    assert sum(row["pixels"] for rows in sums for row in rows) == everything["pixels"]


def test_the_table_for_people(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    main(["errors", "a.pth", "b.pth", "--against", "oracle", "--data", "folder:town", "--home", "home"])
    said = capsys.readouterr().out
    assert "A merge of a, b against the oracle of a, b" in said
    for words in ("both wrong differently", "mIoU", "road", "p0", "9 forward passes"):
        assert words in said.replace("both wrong different ", "both wrong differently ")


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        (("a.pth",), "two or more, or --recipe"),
        ((), "two or more, or --recipe"),
        (("a.pth", "b.pth", "--against", "c"), "one of a, b, better"),
        (("a.pth", "b.pth", "--alpha", "1.5"), "0 to 1"),
        (("a.pth", "b.pth", "--recipe", "m.yaml"), "a recipe, which says all of it"),
        (("--recipe", "m.yaml", "--alpha", "0.5"), "a recipe, which says all of it"),
        (("a.pth", "b.pth", "--buffers", "nope"), "one of"),
        (("a.pth", "b.pth", "--pixels", "bins=2"), "a selection such as"),
        (("a.pth", "b.pth", "--pixels", "bin=2/20;band=1"), "alone"),
    ],
)
def test_a_wrong_choice_is_one_line(
    capsys: pytest.CaptureFixture[str], place: Path, arguments: tuple[str, ...], needs: str
) -> None:
    with pytest.raises(SystemExit) as left:
        verb(capsys, "errors", *arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2 and needs in said and said.count("\n") == 1
