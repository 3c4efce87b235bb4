"""Which pictures stand in a report, and what of each, within a bound of bytes."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from fusionlib.charts.errors import WORDS
from fusionlib.contracts import IGNORE
from fusionlib.data.labels import Colour, LabelSpace
from fusionlib.imaging.png import encode_picture
from fusionlib.measures.transitions import TRANSITIONS
from fusionlib.report.content import Shown

LONGEST_SIDE = 1600
"""Pixels: larger pictures are shown smaller. A page is no place to count pixels in."""

COLOURS: dict[str, Colour] = {name: ImageColor.getrgb(colour)[:3] for name, (_, colour) in WORDS.items()} | {
    "both_right": (226, 231, 235)
}
"""Of transitions, as everywhere; what is right stays pale, so that what has changed is seen from afar."""

VOID: Colour = (255, 255, 255)


def chosen_rows(rows: Sequence[dict[str, Any]], count: int, first: Collection[str] = ()) -> list[dict[str, Any]]:
    """Of pictures in order of their gain, the first and the last: those that gain most, then those that lose most, each
    the farthest first. What the one side lacks the other fills. Those called as in `first` come before any other.
    """
    known = [row for row in rows if row["gain"] is not None]
    wanted = [row["name"] for row in known if row["name"] in first][:count] if first else []
    if wanted:
        others = chosen_rows([row for row in known if row["name"] not in wanted], count - len(wanted))
        kept = [row for row in known if row in others or row["name"] in wanted][:count]
        return [row for row in kept if row["gain"] > 0] + [row for row in reversed(kept) if row["gain"] <= 0]
    gaining = [row for row in known if row["gain"] > 0]
    losing = [row for row in known if row["gain"] < 0][::-1]
    last = min(len(losing), max(count // 2, count - len(gaining)))
    return [*gaining[: count - last], *losing[:last]]


def within(shown: Sequence[Shown], limit: int) -> list[Shown]:
    """Those of pictures that fit into `limit` bytes as a page holds them, in their order; from both sides in turn, so
    that what gains and what loses is left out alike.
    """
    sides = [[one for one in shown if one.gain > 0], [one for one in shown if one.gain <= 0]]
    turns = [side[place] for place in range(max(map(len, sides))) for side in sides if place < len(side)]
    kept: list[int] = []
    for one in turns:
        limit -= bytes_of(one)
        if limit < 0:
            break
        kept.append(id(one))
    return [one for one in shown if id(one) in kept]


def bytes_of(shown: Shown) -> int:
    """What a picture takes in a page: base64 needs four characters for three bytes."""
    return sum(4 * -(-len(data) // 3) for _, data in shown.layers.values())


def layers_of(image: np.ndarray, maps: Any, space: LabelSpace) -> tuple[dict[str, tuple[str, bytes]], tuple[int, int]]:
    """The `LAYERS` of a picture as media types and bytes, and the size (width, height) in which they are shown.

    `image` (H, W, 3) uint8; `maps` has `truth`, `reference`, `merge` and `transition`, (H, W) uint8 each.
    """
    step = -(-max(image.shape[:2]) // LONGEST_SIDE)
    size = (-(-image.shape[1] // step), -(-image.shape[0] // step))
    small = image if step == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    truth, reference, merge = (part[::step, ::step] for part in (maps.truth, maps.reference, maps.merge))
    transition = maps.transition[::step, ::step]
    labels = {"truth": truth, "reference": reference, "merge": merge}
    found = {"picture": ("image/jpeg", encode_picture(small))}
    found |= {name: ("image/png", indexed(ids, space.lut)) for name, ids in labels.items()}
    return {**found, "transitions": ("image/png", indexed(transition, _table()))}, size


def indexed(ids: np.ndarray, table: np.ndarray) -> bytes:
    """A map of ids (H, W) uint8 as a PNG with a palette (256, 3) uint8: a third of what its colours would take."""
    picture = Image.fromarray(ids, "P")
    picture.putpalette(table.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _table() -> np.ndarray:
    table = np.full((IGNORE + 1, 3), VOID, np.uint8)
    table[: len(TRANSITIONS)] = [COLOURS[name] for name in TRANSITIONS]
    return table
