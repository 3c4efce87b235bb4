"""What a merge changes of a reference, pixel by pixel: fixed, broken, still wrong. Arithmetic over maps of ids.

A plain module, none of the measures: its state follows from label maps that are kept, so no pass feeds it; and it has a
length of its own in every picture.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from fusionlib.contracts import IGNORE
from fusionlib.errors import DataError, UsageError
from fusionlib.measures.strata import SIZES, band_width, edge_band, object_sizes

VERSION = 1
"""Raised whenever states of the same maps come out otherwise."""

TRANSITIONS = ("both_right", "fixed", "broken", "both_wrong_same", "both_wrong_different")
"""What can become of a labelled pixel from the reference to the merge."""

STRATA = 2 * len(SIZES)
"""A pixel's stratum is `3 * band + size`: whether it lies in the band along the truth's edges, and its object's size.
"""

MAGIC = b"TR1"
MOST_ENTRIES = 1 << 22
"""Of one picture: unpacked they take 32 MB. Bytes may come from a file that others write."""

_HEAD = 4


def transitions_of(truth: np.ndarray, reference: np.ndarray, merge: np.ndarray) -> np.ndarray:
    """Number in `TRANSITIONS` of every pixel: three maps of ids of one shape -> uint8, 255 where the truth is void.

    `fixed`: the reference is wrong and the merge right; `broken`: the other way; both wrong with the same label or with
    different ones. Ids outside the annotation's classes are labels like any other: wrong.
    """
    before, after = reference == truth, merge == truth
    wrong = np.where(reference == merge, np.uint8(3), np.uint8(4))
    found = np.where(before, np.where(after, np.uint8(0), np.uint8(2)), np.where(after, np.uint8(1), wrong))
    return np.where(truth == IGNORE, np.uint8(IGNORE), found)


@dataclass(frozen=True)
class Strata:
    """What the truth of a picture alone says of its pixels: `truth` and `stratum`, both (H, W) uint8."""

    truth: np.ndarray
    stratum: np.ndarray


def strata_of(truth: np.ndarray) -> Strata:
    """Band along edges and sizes of objects; the band is `band_width` wide, void on its other side included."""
    band = edge_band(truth, band_width(*truth.shape))
    return Strata(truth, (len(SIZES) * band + object_sizes(truth)).astype(np.uint8))


@dataclass(frozen=True)
class Joint:
    """The labelled pixels of a picture by truth, reference, merge and stratum: sparse, `keys` rising and `counts` > 0.

    `key = ((t * (C + 1) + r) * (C + 1) + m) * 6 + stratum`, both (n,) int32; label C is outside the annotation's
    classes.
    """

    classes: int
    keys: np.ndarray
    counts: np.ndarray

    @property
    def pixels(self) -> int:
        """Labelled pixels."""
        return int(self.counts.sum(dtype=np.int64))

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Truth, reference, merge and stratum of every entry, (n,) uint8 each."""
        rest, stratum = np.divmod(self.keys, STRATA)
        rest, merge = np.divmod(rest, self.classes + 1)
        truth, reference = np.divmod(rest, self.classes + 1)
        first, second, third, fourth = (part.astype(np.uint8) for part in (truth, reference, merge, stratum))
        return first, second, third, fourth


def joint_of(strata: Strata, reference: np.ndarray, merge: np.ndarray, classes: int) -> Joint:
    """Count a picture: label maps (H, W) uint8 of both networks, ids from 0 to `classes` (outside).

    Raises `UsageError` where shapes differ, `DataError` for ids that are no class.
    """
    truth = strata.truth
    if not truth.shape == reference.shape == merge.shape:
        raise UsageError(
            f"Maps {truth.shape}, {reference.shape} and {merge.shape}", "maps of one size", "Measure them again"
        )
    keep = truth != IGNORE
    true, before, after = truth[keep], reference[keep], merge[keep]
    if len(true) and (true.max() >= classes or max(before.max(), after.max()) > classes):
        raise DataError(
            f"Ids up to {max(true.max(), before.max(), after.max())}",
            f"truths from 0 to {classes - 1}, labels to {classes}",
            "Correct the masks, or measure again",
        )
    keys = true.astype(np.int32)
    for part, values in ((before, classes + 1), (after, classes + 1), (strata.stratum[keep], STRATA)):
        keys = keys * np.int32(values) + part
    found, counts = np.unique(keys, return_counts=True)
    return Joint(classes, found.astype(np.int32), counts.astype(np.int32))


def pack_joint(joint: Joint) -> bytes:
    """As few bytes: the steps between keys and the counts, byte plane by byte plane, zlib'd.

    Raises `DataError` for more than `MOST_ENTRIES` entries.
    """
    if len(joint.keys) > MOST_ENTRIES:
        raise DataError(
            f"A picture with {len(joint.keys)} kinds of pixels", f"at most {MOST_ENTRIES}", "Scale the picture down"
        )
    steps = np.diff(joint.keys, prepend=np.int32(0)).astype("<i4")
    planes = np.stack([steps, joint.counts.astype("<i4")]).view(np.uint8).reshape(2, -1, 4).transpose(0, 2, 1)
    head = len(joint.keys).to_bytes(_HEAD, "little")
    return MAGIC + zlib.compress(head + np.ascontiguousarray(planes).tobytes(), 9)


def unpack_joint(data: object, classes: int) -> Joint:
    """The entries that were packed. Raises `DataError` for anything else: nothing is believed of the bytes."""
    if not isinstance(data, bytes) or not data.startswith(MAGIC):
        raise _damaged("an unknown beginning")
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data[len(MAGIC) :], _HEAD + 8 * MOST_ENTRIES + 1)
    except zlib.error as error:
        raise _damaged("damaged bytes") from error
    if not stream.eof or stream.unused_data or len(body) < _HEAD:
        raise _damaged("bytes missing, or too many")
    count = int.from_bytes(body[:_HEAD], "little")
    if len(body) != _HEAD + 8 * count:
        raise _damaged("another length than it says")
    planes = np.frombuffer(body, np.uint8, offset=_HEAD).reshape(2, 4, count)
    steps, counts = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i4").reshape(2, count).astype(np.int32)
    _check(steps, counts, classes)
    return Joint(classes, np.cumsum(steps, dtype=np.int32), counts)


def _check(steps: np.ndarray, counts: np.ndarray, classes: int) -> None:
    """Keys rise and stay within range, every count is one."""
    most = classes * (classes + 1) ** 2 * STRATA
    rising = not len(steps) or (steps[0] >= 0 and bool((steps[1:] > 0).all()))
    if not rising or int(steps.sum(dtype=np.int64)) >= max(1, most) or bool((counts <= 0).any()):
        raise _damaged("entries that cannot be")


def _damaged(what: str) -> DataError:
    return DataError(f"Stored transitions with {what}", "bytes that this version has written", "Derive them anew")
