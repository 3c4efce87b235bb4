"""Transitions of pixels: small maps by hand, identities over random ones, packed states, filters."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from scipy import ndimage

from fusionlib.errors import DataError, UsageError
from fusionlib.measures.confusion import confusion_matrix, iou, mean_iou, pixel_accuracy
from fusionlib.measures.error_stack import EVERYTHING, ErrorStack, Pixels, mean_iou_of
from fusionlib.measures.oracle import oracle
from fusionlib.measures.strata import SIZES, band_width, edge_band, object_sizes
from fusionlib.measures.transitions import (
    MAGIC,
    TRANSITIONS,
    Joint,
    joint_of,
    pack_joint,
    strata_of,
    transitions_of,
    unpack_joint,
)

TRUTH = np.array([[0, 0, 1, 1], [2, 2, 255, 0]], np.uint8)
REFERENCE = np.array([[0, 1, 1, 0], [1, 1, 0, 3]], np.uint8)
MERGE = np.array([[0, 0, 2, 1], [1, 0, 0, 3]], np.uint8)
"""By hand: right, fixed, broken, fixed / wrong the same, wrong differently, void, wrong the same (outside)."""

State = tuple[np.ndarray, np.ndarray, np.ndarray]


def stack_of(*maps: State, classes: int = 3) -> ErrorStack:
    return ErrorStack.of([joint_of(strata_of(truth), before, after, classes) for truth, before, after in maps], classes)


def blocks(rng: np.random.Generator, classes: int, shape: tuple[int, int] = (12, 16), block: int = 3) -> np.ndarray:
    return np.kron(rng.integers(0, classes, shape), np.ones((block, block))).astype(np.uint8)


def plausible(seed: int, classes: int, shape: tuple[int, int] = (36, 48)) -> State:
    """A truth of regions with void between them, and two networks that err at edges, in regions and in patches."""
    rng = np.random.default_rng(seed)
    truth = ndimage.zoom(rng.integers(0, classes, (7, 9)), (shape[0] / 7, shape[1] / 9), order=0).astype(np.uint8)
    said = []
    for shift in (1, 2):
        labels = np.roll(truth, shift, axis=shift % 2)
        for _ in range(max(2, classes // 4)):
            y, x = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 6)
            labels[y : y + 4, x : x + 6] = rng.integers(0, classes + 1)
        said.append(labels)
    truth[rng.random(shape) < 0.05] = 255
    return truth, said[0], said[1]


def test_all_five_by_hand() -> None:
    names = [*TRANSITIONS, "void"]
    found = transitions_of(TRUTH, REFERENCE, MERGE)
    assert [[names[min(one, 5)] for one in row] for row in found] == [
        ["both_right", "fixed", "broken", "fixed"],
        ["both_wrong_same", "both_wrong_different", "void", "both_wrong_same"],
    ]
    stack = stack_of((TRUTH, REFERENCE, MERGE))
    assert stack.totals() == {
        "both_right": 1,
        "fixed": 2,
        "broken": 1,
        "both_wrong_same": 2,
        "both_wrong_different": 1,
    }
    assert stack.by_class().tolist() == [[1, 1, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]
    assert stack.labelled == 7


def test_axes_of_the_confusions_and_of_the_flow_by_hand() -> None:
    stack = stack_of((TRUTH, REFERENCE, MERGE))
    reference, merge = stack.confusions()
    assert reference.tolist() == [[1, 1, 0, 1], [1, 1, 0, 0], [0, 2, 0, 0]], "[truth][prediction]"
    assert merge.tolist() == [[2, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]]
    # from the reference's label, by row, to the merge's
    assert stack.flow().tolist() == [[1, 1, 0, 0], [2, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert stack.flow([2]).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_identities_hold_on_random_maps(seed: int) -> None:
    maps = [plausible(10 * seed + number, 4) for number in range(3)]
    stack = stack_of(*maps, classes=4)
    totals, labelled = stack.totals(), sum(int((truth != 255).sum()) for truth, _, _ in maps)
    assert sum(totals.values()) == stack.labelled == labelled > 0
    before, after = (sum(confusion_matrix(one[0], one[place], 4) for one in maps) for place in (1, 2))
    first, second = stack.confusions()
    assert first.tolist() == before.tolist() and second.tolist() == after.tolist()
    gain = (totals["fixed"] - totals["broken"]) / labelled
    accuracies = [pixel_accuracy(one) or 0.0 for one in (before, after)]
    assert gain == pytest.approx(accuracies[1] - accuracies[0], abs=1e-12)
    assert [mean_iou_of(part) for part in stack.parts] == pytest.approx([mean_iou(before), mean_iou(after)])
    for number, (truth, reference, merge) in enumerate(maps):
        alone = [confusion_matrix(truth, said, 4) for said in (reference, merge)]
        there = [one for one in range(4) if (truth == one).any()]
        means = [np.mean([iou(one)[place] for place in there]) for one in alone]
        assert stack.gains()[number] == pytest.approx(means[1] - means[0], abs=1e-12)
        accuracy = [pixel_accuracy(one) or 0.0 for one in alone]
        assert stack.accuracy_gains()[number] == pytest.approx(accuracy[1] - accuracy[0], abs=1e-12)
        assert stack.class_gains(1)[number] == pytest.approx((iou(alone[1])[1] or 0) - (iou(alone[0])[1] or 0))
        apart = (reference != merge)[truth != 255].mean()
        assert stack.disagreement()[number] == pytest.approx(apart)
        best = [iou(confusion_matrix(truth, oracle([reference, merge], truth), 4))[place] for place in there]
        assert stack.headroom()[number] == pytest.approx(np.mean(best) - max(means))


def test_a_class_that_only_one_network_predicts_counts_for_neither_in_a_picture() -> None:
    truth = np.zeros((2, 4), np.uint8)
    reference, merge = truth.copy(), truth.copy()
    merge[0, 0] = 2  # no pixel of the truth is of class 2
    stack = stack_of((truth, reference, merge))
    assert stack.gains().tolist() == [pytest.approx(7 / 8 - 1)]
    assert np.isnan(stack.class_gains(2)[0])


def test_a_picture_without_labels_has_no_gain() -> None:
    void = np.full((2, 4), 255, np.uint8)
    stack = stack_of((TRUTH, REFERENCE, MERGE), (void, REFERENCE, MERGE))
    for values in (stack.gains(), stack.accuracy_gains(), stack.disagreement(), stack.headroom()):
        assert np.isnan(values).tolist() == [False, True]


def test_pixels_are_chosen_alike_in_the_stack_and_in_the_picture() -> None:
    maps = [plausible(seed, 5) for seed in range(4)]
    stack = stack_of(*maps, classes=5)
    wanted = [
        EVERYTHING,
        Pixels(truths=(1,), merges=(2,)),
        Pixels(truths=(1, 3), references=(2, 5)),
        Pixels(references=(0,), merges=(1,)),
        Pixels(transitions=("fixed", "broken"), band=True),
        Pixels(sizes=("small",), band=False),
        Pixels(truths=(99,)),
    ]
    for pixels in wanted:
        masks = [pixels.mask(strata_of(truth), before, after) for truth, before, after in maps]
        assert stack.holding(pixels).tolist() == [int(mask.sum()) for mask in masks]
    assert stack.holding(wanted[1]).sum() == stack.confusions()[1][1, 2]
    assert stack.only(Pixels(band=True)).labelled + stack.only(Pixels(band=False)).labelled == stack.labelled
    with pytest.raises(UsageError, match="one of both_right"):
        Pixels(transitions=("improved",))


def test_a_bin_of_confidence_is_no_matter_of_transitions() -> None:
    with pytest.raises(UsageError, match="bin alone"):
        stack_of((TRUTH, REFERENCE, MERGE)).holding(Pixels(bin=(3, 20)))
    with pytest.raises(UsageError, match="alone"):
        Pixels(bin=(3, 20), band=True)
    assert Pixels(bin=(1, 20)).mask_of_bin(np.array([[2, 3, 5, 6, 60]], np.uint8)).tolist() == [
        [False, True, True, False, False]
    ]
    assert not Pixels(bin=(19, 20)).mask_of_bin(np.array([60], np.uint8)).any(), "void"


def test_twice_the_same_is_once() -> None:
    assert Pixels.from_text("sizes=small,small,small") == Pixels(sizes=("small",)) == Pixels(sizes=("small", "small"))
    stack = stack_of((TRUTH, REFERENCE, MERGE))
    once, twice = (stack.changes(Pixels(sizes=sizes)) for sizes in (("small",), ("small", "small")))
    assert (once == twice).all() and Pixels(truths=(1, 0, 1)).text == "truths=1,0"


def test_pixels_travel_in_a_link() -> None:
    for pixels in (
        EVERYTHING,
        Pixels((1, 3), (), (11,), ("fixed", "broken"), ("small",), False),
        Pixels(band=True),
        Pixels(bin=(19, 20)),
    ):
        assert Pixels.from_text(pixels.text) == pixels
    assert EVERYTHING.text == "" and Pixels((1,), band=True).text == "truths=1;band=1"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "truths=",
        "truths=-1",
        "truths=1;truths=2",
        "band=2",
        "sizes=huge",
        "any=1",
        "bin=20/20",
        "bin=-1/20",
        "bin=1/20;truths=1",
        "bin=1/7",
        "bin=1/0",
        "bin=1",
        "truths=" + "9" * 9999,
        ";",
    ],
)
def test_other_links_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as told:
        Pixels.from_text(text)
    assert len(str(told.value)) < 400


def test_groups_are_coarser_classes_within_which_errors_count_as_right() -> None:
    stack = stack_of((TRUTH, REFERENCE, MERGE)).grouped([(0, 1), (2,)])
    assert stack.classes == 2 and stack.labelled == 7
    assert stack.by_class().tolist() == [[3, 0, 1, 1, 0], [0, 0, 0, 2, 0]]
    assert stack_of((TRUTH, REFERENCE, MERGE)).grouped([(2,)]).labelled == 2, "a truth of no group is left out"


# --- strata ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 5), (20, 15)])
def test_the_band_is_that_of_each_class_s_distance_transform(shape: tuple[int, int], distance: int) -> None:
    rng = np.random.default_rng(sum(shape) + distance)
    ids = np.kron(rng.choice([0, 1, 2, 255], shape), np.ones((2, 3))).astype(np.uint8)
    naive = np.zeros(ids.shape, bool)
    for label in np.unique(ids):
        own = ids == label
        if not own.all():
            naive |= own & (ndimage.distance_transform_edt(own) <= distance)
    assert np.array_equal(edge_band(ids, distance), naive)


def test_the_border_of_a_picture_is_no_edge_and_a_neighbour_is_at_distance_one() -> None:
    assert not edge_band(np.zeros((8, 8), np.uint8), 3).any()
    halves = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], np.uint8), 4, axis=0)
    assert edge_band(halves, 1)[0].tolist() == [False, False, True, True, False, False]
    assert [band_width(3, 4), band_width(300, 400), band_width(360, 480)] == [1, 10, 12]


def test_sizes_by_hand() -> None:
    truth = np.zeros((120, 200), np.uint8)
    truth[:, 100:] = 255
    truth[0:32, 110:142] = 1  # 1,024 pixels: medium
    truth[40:71, 110:143] = 1  # 1,023: small
    truth[80:90, 110:120] = truth[90:100, 120:130] = 2  # they touch at a corner: one object
    truth[100:, 110:120] = 2
    truth[100:, 115] = 255  # void splits it
    sizes = object_sizes(truth)
    assert [SIZES[sizes[place]] for place in ((0, 0), (5, 120), (50, 120), (85, 115))] == [
        "large",
        "medium",
        "small",
        "small",
    ]
    assert not sizes[truth == 255].any()
    corner = np.zeros((64, 64), np.uint8)
    corner[:32, :32] = corner[32:, 32:] = 1
    assert SIZES[object_sizes(corner)[0, 0]] == "medium", "diagonal neighbours are one object of 2,048"
    exact = np.zeros((96, 96), np.uint8)
    assert SIZES[object_sizes(exact)[0, 0]] == "large" and SIZES[object_sizes(exact[:, 1:])[0, 0]] == "medium"


# --- packed states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "regions"), [(19, 60), (150, 120)])
def test_a_packed_state_is_exact_and_takes_16_kb_at_most(classes: int, regions: int) -> None:
    """Pictures of 480 x 640 with as many regions as crowded scenes have, networks that err at edges and in patches."""
    rng = np.random.default_rng(classes)
    seeds = np.stack([rng.integers(0, 480, regions), rng.integers(0, 640, regions)])
    places = np.full((480, 640), True)
    places[tuple(seeds)] = False
    nearest = ndimage.distance_transform_edt(places, return_distances=False, return_indices=True)
    ids = np.zeros((480, 640), np.uint8)
    ids[tuple(seeds)] = rng.integers(0, classes, regions)
    truth = ids[tuple(nearest)]  # type: ignore[index]
    said = []
    for shift in (2, 3):
        labels = np.roll(truth, (shift, -shift), (0, 1))
        for _ in range(regions):
            y, x = rng.integers(0, 460), rng.integers(0, 600)
            labels[y : y + rng.integers(4, 60), x : x + rng.integers(4, 80)] = rng.integers(0, classes)
        said.append(labels)
    joint = joint_of(strata_of(truth), *said, classes)
    packed = pack_joint(joint)
    assert len(joint.keys) > 500 and len(packed) <= 16 << 10
    again = unpack_joint(packed, classes)
    assert np.array_equal(again.keys, joint.keys) and np.array_equal(again.counts, joint.counts)
    assert again.pixels == truth.size


def test_a_picture_without_labels_packs_too() -> None:
    void = np.full((3, 4), 255, np.uint8)
    again = unpack_joint(pack_joint(joint_of(strata_of(void), void, void, 3)), 3)
    assert len(again.keys) == 0 and again.pixels == 0


def bodies() -> list[object]:
    good = joint_of(strata_of(TRUTH), REFERENCE, MERGE, 3)
    packed = pack_joint(good)
    huge = (1 << 30).to_bytes(4, "little")
    falling = Joint(3, good.keys[::-1].copy(), good.counts)
    beyond = Joint(3, good.keys + 10_000, good.counts)
    empty = Joint(3, good.keys, good.counts - good.counts)
    return [
        None,
        b"",
        b"TR0" + packed[3:],
        packed[:-2],
        packed + b"x",
        MAGIC + b"no zlib",
        MAGIC + zlib.compress(b"ab"),
        MAGIC + zlib.compress(huge + bytes(8)),
        MAGIC + zlib.compress(bytes(1 << 26)),
        *map(pack_joint, (falling, beyond, empty)),
    ]


@pytest.mark.parametrize("data", bodies(), ids=range(len(bodies())))
def test_damaged_bytes_are_refused(data: object) -> None:
    with pytest.raises(DataError, match="Stored transitions"):
        unpack_joint(data, 3)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="maps of one size"):
        joint_of(strata_of(TRUTH), REFERENCE[:1], MERGE, 3)
    with pytest.raises(DataError, match="truths from 0 to 1"):
        joint_of(strata_of(TRUTH), REFERENCE, MERGE, 2)
