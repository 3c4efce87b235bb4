"""States of measures: adding them, and packing them into few bytes and back.

A packed state is `MAGIC` and a zlib stream (whose checksum guards it) over one entry per tensor: its name, kind and
shape in varints, then one bit per element (not zero), then the other elements byte plane by byte plane, lowest first,
as many planes as the largest needs. Integers are zigzag-coded (small negative ones stay small), float64 are their bits.
Counts are mostly zeros and small, so that bits and high planes shrink to nearly nothing.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import numpy as np
import torch

from fusionlib.contracts import State
from fusionlib.errors import DataError

MAGIC = b"MS1"
LEVEL = 9

MOST_ELEMENTS = 2**26
"""Of one state: unpacked they take 512 MB. Bytes may come from a file that others write."""

MOST_TENSORS, MOST_DIMENSIONS, LONGEST_NAME = 4096, 8, 200

MAP = "map"
"""Name in the state of a single picture of its map (H, W) uint8, see `MapMeasure`. It is neither added nor packed."""

_KINDS = (torch.int64, torch.float64)


def add(states: Iterable[State]) -> State:
    """The sum of states, key by key in new tensors; what a state lacks is zero. Without states an empty one.

    Maps of pictures are left out: they are none of the sum.
    Whole numbers are exact in any order and split; float64 is added in the order given. Raises `DataError` for states
    of different shapes or types, which are not of the same measure and classes.
    """
    total: State = {}
    for state in states:
        for name, tensor in state.items():
            if name == MAP:
                continue
            mine = total.get(name)
            if mine is None:
                total[name] = tensor.clone()
            elif mine.shape != tensor.shape or mine.dtype != tensor.dtype:
                raise DataError(
                    f"States whose {name} is {_described(mine)} and {_described(tensor)}",
                    "states of one measure, of the same classes and networks",
                    "Measure anew",
                )
            else:
                mine += tensor.to(mine.device)
    return total


def pack(state: State) -> bytes:
    """A state as bytes, exact. Raises `DataError` for tensors that are neither int64 nor float64."""
    body = bytearray()
    for name, tensor in state.items():
        if tensor.dtype not in _KINDS:
            raise DataError(f"A state whose {name} is {_described(tensor)}", "int64 or float64", "Correct the measure")
        label = name.encode()
        _put(body, len(label))
        body += label
        for number in (_KINDS.index(tensor.dtype), tensor.ndim, *tensor.shape):
            _put(body, number)
        values = _coded(tensor.detach().cpu().contiguous().view(-1))
        filled = values != 0
        kept = values[filled]
        planes = (int(kept.max()).bit_length() + 7) // 8 if len(kept) else 0
        _put(body, planes)
        body += np.packbits(filled).tobytes()
        body += kept.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :planes].T.tobytes()
    return MAGIC + zlib.compress(bytes(body), LEVEL)


def unpack(data: bytes, like: State | None = None) -> State:
    """The state that was packed, on the CPU, to the last bit.

    With `like` (`measure.init(...)`, say) names, shapes and types must be those. Raises `DataError` for bytes that are
    no packed state, or another: nothing is believed of them, and none takes memory for more elements than `like` has
    (`MOST_ELEMENTS` without it).
    """
    room = MOST_ELEMENTS if like is None else sum(tensor.numel() for tensor in like.values())
    reader = _Reader(_inflated(data, room))
    state: State = {}
    while reader.left:
        name, tensor = reader.entry(room)
        if name in state or len(state) == MOST_TENSORS:
            raise _damaged("one tensor twice, or too many of them")
        state[name] = tensor
        room -= tensor.numel()
    if like is not None and _shapes(state) != _shapes(like):
        raise _damaged("other tensors than this measure's")
    return state


def _shapes(state: State) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}


def _described(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _damaged(what: str) -> DataError:
    return DataError(f"A stored state with {what}", "bytes that this version has written", "Measure anew")


def _coded(flat: torch.Tensor) -> np.ndarray:
    """(n,) uint64 that is 0 where the element is 0 (of floats +0.0) and small where an integer is."""
    numbers = flat.numpy()
    if numbers.dtype == np.float64:
        return numbers.view(np.uint64)
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def _decoded(codes: np.ndarray, kind: int) -> torch.Tensor:
    if _KINDS[kind] == torch.float64:
        return torch.from_numpy(codes.view(np.float64))
    return torch.from_numpy((codes >> np.uint64(1)).view(np.int64) ^ -(codes & np.uint64(1)).view(np.int64))


def _put(body: bytearray, number: int) -> None:
    while number > 0x7F:
        body.append(number & 0x7F | 0x80)
        number >>= 7
    body.append(number)


def _inflated(data: bytes, elements: int) -> bytes:
    if not data.startswith(MAGIC):
        raise _damaged("an unknown beginning")
    stream = zlib.decompressobj()
    most = 9 * elements + MOST_TENSORS * (LONGEST_NAME + 100)
    try:
        body = stream.decompress(data[len(MAGIC) :], most)
    except zlib.error as error:
        raise _damaged("damaged bytes") from error
    if not stream.eof or stream.unused_data:
        raise _damaged("bytes missing, or too many")
    return body


class _Reader:
    """Takes a body apart, from its beginning to its end."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def _take(self, count: int) -> bytes:
        if count > self.left:
            raise _damaged("less in it than it says")
        self._at += count
        return self._body[self._at - count : self._at]

    def _number(self, most: int) -> int:
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 63:
                raise _damaged("a number without end")
        if number > most:
            raise _damaged(f"{number} where at most {most} fits")
        return number

    def entry(self, room: int) -> tuple[str, torch.Tensor]:
        """The next tensor, of at most `room` elements, and its name."""
        try:
            name = self._take(self._number(LONGEST_NAME)).decode()
        except UnicodeDecodeError as error:
            raise _damaged("a name that is no text") from error
        kind, dimensions = self._number(len(_KINDS) - 1), self._number(MOST_DIMENSIONS)
        shape = tuple(self._number(MOST_ELEMENTS) for _ in range(dimensions))
        count = math.prod(shape)
        if count > room:
            raise _damaged("more elements than fit")
        planes = self._number(8)
        filled = np.unpackbits(np.frombuffer(self._take((count + 7) // 8), np.uint8))
        if filled[count:].any():
            raise _damaged("elements beyond its end")
        places = np.flatnonzero(filled[:count])
        bytes_of = np.frombuffer(self._take(planes * len(places)), np.uint8).reshape(planes, len(places))
        wide = np.zeros((len(places), 8), np.uint8)
        wide[:, :planes] = bytes_of.T
        codes = np.zeros(count, np.uint64)
        codes[places] = wide.reshape(-1).view("<u8")
        return name, _decoded(codes, kind).view(shape)
