"""States of measures as bytes: exact, small, and nothing believed of bytes that others may have written."""

from __future__ import annotations

import struct
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.errors import DataError
from fusionlib.measures import states
from fusionlib.measures.states import MAGIC, add, pack, unpack

WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.just(0)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@st.composite
def tensors(draw):
    shape = draw(SHAPES)
    count = int(torch.Size(shape).numel())
    if draw(st.booleans()):
        return torch.tensor(draw(st.lists(WHOLE, min_size=count, max_size=count)), dtype=torch.int64).view(shape)
    values = draw(st.lists(st.floats(), min_size=count, max_size=count))
    return torch.tensor(values, dtype=torch.float64).view(shape)


STATES = st.dictionaries(st.text(max_size=12), tensors(), max_size=4)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.int64)


def same(one: states.State, other: states.State) -> bool:
    """To the last bit, NaN and signs of zeros included."""
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and torch.equal(bits(one[name]), bits(other[name]))
        for name in one
    )


@settings(deadline=None, max_examples=100)
@given(STATES)
def test_packing_and_unpacking_changes_no_bit(state: states.State) -> None:
    assert same(unpack(pack(state)), state)
    assert same(unpack(pack(state), state), state)
    assert pack(unpack(pack(state))) == pack(state)


def test_counts_that_are_mostly_zero_take_few_bytes() -> None:
    draw = torch.Generator().manual_seed(0)
    matrix = torch.zeros(150, 151, dtype=torch.int64)
    places = torch.randint(0, matrix.numel(), (250,), generator=draw)
    matrix.view(-1)[places] = torch.randint(1, 3000, (250,), generator=draw)
    assert len(pack({"matrix": matrix})) < 1500
    assert len(pack({"zeros": torch.zeros(1000, 1000, dtype=torch.int64)})) < 1000
    small = torch.randint(-100, 100, (5000,), generator=draw)
    assert len(pack({"small": small})) < 5500


def test_other_types_are_refused() -> None:
    for dtype in (torch.float32, torch.int32, torch.bool):
        with pytest.raises(DataError, match="int64 or float64"):
            pack({"x": torch.zeros(2, dtype=dtype)})


# --- adding ----------------------------------------------------------------------------------------------------------


def test_states_add_key_by_key_and_leave_what_they_are_made_of_alone() -> None:
    one = {"a": torch.tensor([1, 2]), "b": torch.tensor(0.5, dtype=torch.float64)}
    other = {"a": torch.tensor([10, 20]), "c": torch.tensor(7)}
    total = add([one, other, one])
    assert total["a"].tolist() == [12, 24] and float(total["b"]) == 1.0 and int(total["c"]) == 7
    assert one["a"].tolist() == [1, 2] and other["a"].tolist() == [10, 20]
    assert add([]) == {}
    assert add([one])["a"].data_ptr() != one["a"].data_ptr()


@pytest.mark.parametrize("other", [torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.0], dtype=torch.float64)])
def test_states_of_different_shapes_do_not_add(other: torch.Tensor) -> None:
    with pytest.raises(DataError, match="of one measure"):
        add([{"a": torch.tensor([1, 2])}, {"a": other}])


# --- bytes that others may have written ------------------------------------------------------------------------------

STATE = {"counts": torch.arange(40).view(5, 8), "sum": torch.tensor([0.25, -1.0], dtype=torch.float64)}


def packed(body: bytes) -> bytes:
    return MAGIC + zlib.compress(body)


def entry(
    name: bytes = b"a", kind: int = 0, shape: tuple[int, ...] = (2,), planes: int = 1, rest: bytes = b"\xc0\x02\x04"
):
    return bytes([len(name)]) + name + bytes([kind, len(shape), *shape, planes]) + rest


def test_an_entry_by_hand_is_understood() -> None:
    assert unpack(packed(entry()))["a"].tolist() == [1, 2]
    assert unpack(packed(entry(rest=b"\x40\x03")))["a"].tolist() == [0, -2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        b"MS0" + pack(STATE)[3:],
        pack(STATE)[:-1],
        pack(STATE) + b"x",
        MAGIC + b"no zlib stream at all",
        packed(entry(b"\xff\xfe")),
        packed(entry() + entry()),
        packed(entry(kind=2)),
        packed(entry(shape=(1,) * 9)),
        packed(entry(planes=9)),
        packed(entry(rest=b"\xc0\x02")),
        packed(entry(rest=b"\xe0\x02\x04\x06")),
        packed(entry(rest=b"\xc0\x02\x04") + b"\x05"),
        packed(b"\x01a\x00\x01" + b"\xff" * 12),
        packed(b"\x01a\x00\x03" + b"\xff\xff\xff\x7f" * 3 + b"\x01"),
        packed(b"\xff\x7f" + b"a" * 100),
        packed(b"".join(entry(struct.pack("<H", number)) for number in range(0x3030, 0x3030 + 9))[:-1]),
    ],
)
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="stored state"):
        unpack(data)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60))
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    try:
        found = unpack(packed(body))
    except DataError:
        return
    assert sum(tensor.numel() for tensor in found.values()) <= 8 * len(body)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    whole = bytearray(pack(STATE))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(bytes(whole))
    except DataError:
        return
    assert same(found, STATE), "bits that mean nothing to zlib"


def test_a_bomb_takes_no_more_memory_than_the_state_that_is_asked_for() -> None:
    bomb = packed(b"\x01a\x00\x01" + b"\x80\x80\x80\x20\x01" + bytes(8_000_000))
    with pytest.raises(DataError):
        unpack(bomb, STATE)
    many = packed(b"\x01a\x00\x01" + b"\x80\x80\x80\x40\x00")  # 2^27 elements
    with pytest.raises(DataError, match="at most"):
        unpack(many)


def test_another_measure_s_state_is_refused() -> None:
    for like in (
        {"counts": STATE["counts"]},
        {**STATE, "counts": torch.zeros(8, 5, dtype=torch.int64)},
        {**STATE, "counts": torch.zeros(5, 8, dtype=torch.float64)},
        {**STATE, "more": torch.zeros(3, dtype=torch.int64)},
    ):
        with pytest.raises(DataError, match="stored state"):
            unpack(pack(STATE), like)
