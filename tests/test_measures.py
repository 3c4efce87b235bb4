"""The laws of measures, over the registry: what they declare, and states that add."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.contracts import FUSIONS, IGNORE, MEASURES, MapMeasure, Measure, State
from fusionlib.data.labels import CAMVID, CITYSCAPES_VOID, mapping
from fusionlib.errors import DataError
from fusionlib.measures import states
from fusionlib.measures.learners import ways
from fusionlib.measures.observation import Inside, Observation
from tests.helpers import CPU

TO_CAMVID = torch.from_numpy(mapping(CITYSCAPES_VOID, CAMVID))
SIZES = ((6, 7), (9, 4), (6, 7), (5, 13), (1, 1), (8, 8))
PRESENT = MEASURES.names()
FROM_LOGITS = tuple(name for name in PRESENT if "learners" not in MEASURES.get(name).reads)
"""Measures of what the network says, and of nothing inside it."""

WHOLE = {
    name: "activations" not in item.reads
    and all(tensor.dtype == torch.int64 for tensor in item.init(11, CPU, 3).values())
    for name, item in MEASURES.items()
}
EXACT, ROUNDED = (tuple(name for name in PRESENT if WHOLE[name] == whole) for whole in (True, False))
"""Measures whose states are whole numbers, and those that have floats among them, or what shape activations have."""

_NEEDS, _NETWORKS, _GRAINS = ("weights", "pictures", "masks"), ("one", "pair", "set"), ("picture", "split")


def members(measure: Measure) -> int:
    return {"one": 1, "pair": 2, "set": 3}[measure.networks]


def seen(
    number: int, count: int, mapped: bool = True, labelled: bool = True, size: tuple[int, int] | None = None
) -> list[Observation]:
    """What `count` networks see of picture `number`."""
    draw = torch.Generator().manual_seed(number)
    height, width = size or SIZES[number % len(SIZES)]
    classes = 11 if mapped else 20
    truth = torch.randint(0, classes, (1, height, width), generator=draw, dtype=torch.uint8)
    truth[torch.rand(truth.shape, generator=draw) < 0.2] = IGNORE
    about = truth if labelled else None, TO_CAMVID if mapped else None, classes
    return [
        Observation(
            3 * torch.randn(1, 20, height, width, generator=draw),
            *about,
            activations={block: torch.randn(1, channels, 7, 9, generator=draw) for block in ("stem", "head")},
            learners=inside(3 * torch.randn(3, 1, 20, height, width, generator=draw), *about),
            picture=number,
        )
        for channels in range(4, 4 + count)
    ]


def inside(logits: torch.Tensor, *about: Any) -> Inside:
    """Three learners inside a network."""
    free = tuple(name for name in FUSIONS.names() if not FUSIONS.get(name).trained)
    return Inside(("x", "y", "z"), free, lambda fusion, kept: Observation(fusion(logits, None, kept), *about))


def measured(measure: Measure, numbers, mapped: bool = True) -> State:
    count = members(measure)
    state = measure.init(11 if mapped else 20, CPU, count)
    for number in numbers:
        measure.update(state, *seen(number, count, mapped))
    return state


def same(one: State, other: State) -> bool:
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def leaves(value: Any) -> Iterator[Any]:
    """Names and numbers of nested figures."""
    if isinstance(value, dict | list):
        for one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one[1])
    else:
        yield value


# --- what they say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESENT)
def test_measures_declare_what_the_contract_asks_for(name: str) -> None:
    item = MEASURES.get(name)
    assert item.title and item.summary and item.source and type(item).__doc__
    assert isinstance(item.version, int) and item.version >= 1
    assert item.needs in _NEEDS and item.networks in _NETWORKS and item.grain in _GRAINS
    assert not item.always or (item.networks == "one" and item.grain == "picture" and item.needs == "masks")
    assert item.reads <= {"activations", "learners"}
    assert item.figures and len({figure.name for figure in item.figures}) == len(item.figures)
    for figure in item.figures:
        assert figure.label and figure.help and not figure.help.endswith(".") and figure.digits >= 0
        assert figure.unit in ("%", "nats", "pixels", "0 to 2", "") and figure.better in ("higher", "lower", "")


@pytest.mark.parametrize("name", PRESENT)
def test_every_declared_figure_is_computed_in_the_form_that_it_declares(name: str) -> None:
    measure = MEASURES.get(name)
    state = measure.init(11, CPU, members(measure))
    for number in range(2):
        measure.update(state, *seen(number, members(measure), size=(40, 50)))
    found = measure.compute(state)
    assert json.loads(json.dumps(found)) == found, "plain values"
    lengths = {"class": 11, "pair": 3, "block": 2, "subset": 4, "size": 3}
    if "learners" in measure.reads:  # of three, and the network
        lengths = {"pair": 3, "subset": 7, "learner": 4, "fusion": len(ways())}
    for figure in measure.figures:
        value = found[figure.name]
        if figure.each:
            assert isinstance(value, list) and len(value) == lengths[figure.each]
        else:
            assert isinstance(value, int | float) and math.isfinite(value)
        if figure.unit == "%":
            known = [one for one in (value if figure.each else [value]) if one is not None]
            assert known and all(0 <= one <= 1 for one in known), "a fraction"


def test_figures_have_names_of_their_own() -> None:
    names = [figure.name for _, measure in MEASURES.items() for figure in measure.figures]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", PRESENT)
def test_nothing_seen_gives_no_figures(name: str) -> None:
    measure = MEASURES.get(name)
    found = measure.compute(measure.init(11, CPU, members(measure)))
    for figure in measure.figures:
        value = found[figure.name]
        if figure.unit == "pixels":
            assert value == [0] * 11
        else:
            assert value is None or (isinstance(value, list) and not any(one is not None for one in value))


# --- states ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(6)), st.integers(0, 6), st.sampled_from(EXACT), st.booleans())
def test_neither_order_nor_split_changes_a_bit(order: list[int], cut: int, name: str, mapped: bool) -> None:
    measure = MEASURES.get(name)
    whole = measured(measure, range(6), mapped)
    parts = [measured(measure, part, mapped) for part in (order[:cut], order[cut:])]
    assert all(tensor.dtype == torch.int64 for tensor in whole.values())
    assert same(states.add(parts), whole)
    alone = states.add(measured(measure, [number], mapped) for number in order)
    assert measure.compute(alone) == measure.compute(whole)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(6)), st.integers(1, 5), st.sampled_from(ROUNDED))
def test_sums_of_floats_add_within_rounding_and_exactly_in_one_order(order: list[int], cut: int, name: str) -> None:
    measure = MEASURES.get(name)
    whole = measured(measure, range(6))
    parts = states.add(measured(measure, part) for part in (order[:cut], order[cut:]))
    assert list(parts) == list(whole)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-12, atol=1e-9)
    assert same(measured(measure, range(6)), whole)
    one, other = (list(leaves(measure.compute(state))) for state in (parts, whole))
    assert one == pytest.approx(other, abs=1e-10)


@pytest.mark.parametrize("name", PRESENT)
def test_a_checkpointed_state_goes_on_where_it_was(name: str) -> None:
    measure = MEASURES.get(name)
    count = members(measure)
    state = states.unpack(states.pack(measured(measure, range(3))))
    for number in range(3, 6):
        measure.update(state, *seen(number, count))
    assert same(state, measured(measure, range(6)))


@pytest.mark.parametrize("name", PRESENT)
def test_states_start_empty_keep_their_size_and_leave_what_they_see_alone(name: str) -> None:
    measure = MEASURES.get(name)
    count = members(measure)
    state = measure.init(11, CPU, count)
    assert all(not value.any() and value.dtype in (torch.int64, torch.float64) for value in state.values())
    shapes = {key: value.shape for key, value in state.items()}
    shown = seen(3, count)
    before = [(one.logits.clone(), one.truth.clone()) for one in shown]
    measure.update(state, *shown)
    if shapes or measure.grain == "picture":  # those of blocks come with the activations
        assert {key: value.shape for key, value in state.items()} == shapes
    for one, (logits, truth) in zip(shown, before, strict=True):
        assert torch.equal(one.logits, logits) and torch.equal(one.truth, truth)


@pytest.mark.parametrize("name", PRESENT)
def test_every_state_packs_exactly(name: str) -> None:
    measure = MEASURES.get(name)
    state = measured(measure, range(4))
    like = measure.init(11, CPU, members(measure)) or None
    assert same(states.unpack(states.pack(state), like), state)


@pytest.mark.parametrize("name", [name for name in FROM_LOGITS if MEASURES.get(name).grain == "picture"])
@pytest.mark.parametrize("mapped", [True, False])
def test_bands_of_a_picture_are_the_picture(name: str, mapped: bool) -> None:
    measure = MEASURES.get(name)
    count, classes = members(measure), 11 if mapped else 20
    whole, banded = (measure.init(classes, CPU, count) for _ in range(2))
    shown = seen(0, count, mapped)
    measure.update(whole, *shown)
    for rows in (slice(0, 2), slice(2, 6)):
        band = [Observation(one.logits[:, :, rows], one.truth[:, rows], one.mapping, classes) for one in shown]
        measure.update(banded, *band)
    one, other = measure.compute(whole), measure.compute(banded)
    for figure in measure.figures:  # float32 sums of probabilities may differ in the last digit
        assert one[figure.name] == pytest.approx(other[figure.name], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in PRESENT if isinstance(MEASURES.get(name), MapMeasure)])
@pytest.mark.parametrize("mapped", [True, False])
def test_states_count_the_values_of_maps(name: str, mapped: bool) -> None:
    measure = MEASURES.get(name)
    assert isinstance(measure, MapMeasure) and measure.grain == "picture" and not measure.always
    shown, count = seen(3, members(measure), mapped), members(measure)
    state = measure.init(11 if mapped else 20, CPU, count)
    measure.update(state, *shown)
    found = measure.map(*shown)
    assert found.dtype == torch.uint8 and found.shape == (1, *SIZES[3])
    assert torch.equal(found.flatten().bincount(minlength=len(state["pixels"])), state["pixels"])


# --- pairs and sets --------------------------------------------------------------------------------------------------


def test_a_set_of_two_is_the_pair() -> None:
    agreement, oracle = MEASURES.get("agreement"), MEASURES.get("oracle")
    shown = [seen(number, 3) for number in range(4)]

    def found(measure: Measure, chosen: tuple[int, ...]) -> dict:
        state = measure.init(11, CPU, len(chosen))
        for observations in shown:
            measure.update(state, *(observations[number] for number in chosen))
        return measure.compute(state)

    whole = found(agreement, (0, 1, 2))
    for place, pair in enumerate(combinations(range(3), 2)):
        alone = found(agreement, pair)
        assert alone["disagreement"] == alone["pair_disagreement"][0] == whole["pair_disagreement"][place]
        assert alone["diversity"] == alone["pair_diversity"][0] == whole["pair_diversity"][place]
    assert whole["disagreement"] == pytest.approx(sum(whole["pair_disagreement"]) / 3)
    assert found(oracle, (0, 1, 2))["oracle_pixel_accuracy"] >= found(oracle, (0, 1))["oracle_pixel_accuracy"]


def test_without_masks_all_pixels_are_compared_and_nothing_is_said_of_errors() -> None:
    measure = MEASURES.get("agreement")
    state = measure.init(11, CPU, 2)
    shown = seen(0, 2, labelled=False)
    measure.update(state, *shown)
    found = measure.compute(state)
    assert found["compared_pixels"] == 42 and found["diversity"] is None
    assert found["disagreement"] == float((shown[0].predicted != shown[1].predicted).double().mean())


def sizes(measure: Measure, classes: int) -> list[torch.Size]:
    return [tensor.shape for tensor in measure.init(classes, CPU, members(measure)).values()]


COUNTED = [
    name for name in FROM_LOGITS if (item := MEASURES.get(name)).needs == "masks" and sizes(item, 11) != sizes(item, 12)
]
"""Measures that count ids of the truth: what one without a place for each cannot tell, the confusion matrix beside it
does.
"""


@pytest.mark.parametrize("name", COUNTED)
def test_unknown_ids_of_the_truth_are_refused(name: str) -> None:
    measure = MEASURES.get(name)
    count = members(measure)
    shown = [
        Observation(one.logits, one.truth.masked_fill(one.truth == 3, 77), one.mapping, 11) for one in seen(0, count)
    ]
    with pytest.raises(DataError, match="ids"):
        measure.update(measure.init(11, CPU, count), *shown)


# --- meters ----------------------------------------------------------------------------------------------------------
