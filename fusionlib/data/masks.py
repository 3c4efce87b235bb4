"""Mask files: what their pixels stand for, ids or colours, and the labels that follow.

A mask of RGB or RGBA pixels holds colours, one of grey pixels ids. A palette mask holds ids too, its indices, unless
classes.yaml gives every class a `color`; so does a grey one where all these colors are grey. `masks: ids` or `masks:
colors` in classes.yaml settles it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from fusionlib.contracts import IGNORE
from fusionlib.data.files import PNG_MAGIC, UNREADABLE, check_pixels, one_large, require_file, unreadable
from fusionlib.data.labels import Colour
from fusionlib.data.packed import PictureFile
from fusionlib.errors import DataError

UNKNOWN = -1
"""Label of an id or a colour that is neither a class nor void."""

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_KINDS = {_GREY: "grey", _RGB: "RGB", _PALETTE: "palette", _GREY_ALPHA: "grey with alpha", _RGBA: "RGBA"}
_BAND = 1 << 18
"""Pixels whose colours are looked up at a time."""

_NAMED = 3


def id_table(ids: Iterable[int], ignore: Iterable[int]) -> np.ndarray:
    """(256,) int16: label of each id in a mask. `ids[k]` becomes k, ignored ids `IGNORE`, all others `UNKNOWN`."""
    table = np.full(256, UNKNOWN, np.int16)
    numbers = list(ids)
    table[list(ignore)] = IGNORE
    table[numbers] = np.arange(len(numbers))
    return table


class MaskHeader(NamedTuple):
    """What the header of a PNG file says; `colour` is its colour type (PNG, section 11.2.1)."""

    height: int
    width: int
    bits: int
    colour: int

    @property
    def kind(self) -> str:
        """In words, as `an 8-bit palette`."""
        return f"{'an' if self.bits == 8 else 'a'} {self.bits}-bit {_KINDS.get(self.colour, 'unknown type of')}"


def mask_header(path: PictureFile) -> MaskHeader:
    """The header of a PNG file, read by hand: Pillow does not tell grey pixels of 2 or 4 bits from those of 8.

    Raises `DataError` that names the file.
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as problem:
        raise unreadable(path, problem) from problem
    magic, _, chunk, width, height, bits, colour = struct.unpack(">8sI4sIIBB", head.ljust(26, b"\0"))
    if magic != PNG_MAGIC or chunk != b"IHDR":
        raise DataError(f"{path} is not a PNG file", "masks as PNG pictures", "Convert the mask without loss")
    check_pixels(path, height, width)
    return MaskHeader(height, width, bits, colour)


@dataclass(frozen=True, eq=False)
class Legend:
    """What the pixels of a dataset's masks stand for.

    `ids` (256,) int16 label of each id (see `id_table`). `colours`: label of each colour; None where classes have none,
    of which `colourless` says what to do about it. `declared`: whoever made the dataset gave every class its colour, so
    palettes are read by them. `masks` overrules what follows from the type of the pixels. With `unknown_is_void`
    whatever is neither class nor void is void too. `grey_bits` of a grey mask may hold ids.
    """

    ids: np.ndarray
    colours: Mapping[Colour, int] | None = None
    declared: bool = False
    masks: Literal["ids", "colors"] | None = None
    unknown_is_void: bool = False
    grey_bits: tuple[int, ...] = (8,)
    colourless: str = "Convert colours to class ids, or use folder:DIR with a color for every class in classes.yaml"
    classes: int = 0

    def examine(self, path: PictureFile) -> tuple[MaskHeader, bool]:
        """The header of a mask, and whether its pixels are colours.

        Raises `DataError` that names a file that is not to be read so.
        """
        header = mask_header(path)
        coloured = self._is_coloured(header)
        if coloured and self.colours is None:
            raise DataError(
                f"{path} is {header.kind} picture", f"{self._grey} or palette masks of class ids", self.colourless
            )
        readable = header.colour == _PALETTE or (header.colour == _GREY and header.bits in self.grey_bits)
        if header.colour not in _KINDS or not (coloured or readable):
            raise DataError(
                f"{path} is {header.kind} picture", f"{self._grey} or palette masks of class ids", "Convert the mask"
            )
        return header, coloured

    def read(self, path: PictureFile) -> np.ndarray:
        """(H, W) uint8 labels, `IGNORE` for void.

        Raises `DataError` that names the file, and the ids or colours that are unknown.
        """
        header, coloured = self.examine(path)
        try:
            with (
                one_large(header.height * header.width),
                path.open("rb") as file,
                Image.open(file, formats=("PNG",)) as image,
            ):
                palette = image.getpalette("RGB") or [] if header.colour == _PALETTE else None
                pixels = np.array(_grey(image) if header.bits == 1 or header.colour == _GREY_ALPHA else image)
        except UNREADABLE as problem:
            raise unreadable(path, problem) from problem
        if not coloured:
            return self.by_id(path, pixels & 1 if header.bits == 1 else pixels)
        if pixels.ndim == 3:
            return self._by_rgb(path, pixels)
        return self._by_shade(path, pixels, _greys(header.bits) if palette is None else _of_palette(palette))

    def text(self, coloured: bool) -> str:
        """Everything that decides labels, for a fingerprint; what colours mean only where any mask is read by them."""
        more = f" {sorted((self.colours or {}).items())}" if coloured else ""
        return f"{self.ids.tolist()}{more}{' unknown is void' * self.unknown_is_void}"

    def _is_coloured(self, header: MaskHeader) -> bool:
        if self.masks is not None:
            return self.masks == "colors"
        if header.colour in (_RGB, _RGBA):
            return True
        grey = all(len(set(colour)) == 1 for colour in self.colours or ())
        return self.declared and (header.colour == _PALETTE or grey)

    @property
    def _grey(self) -> str:
        return f"{', '.join(map(str, self.grey_bits))}-bit grey"

    def by_id(self, path: PictureFile, ids: np.ndarray) -> np.ndarray:
        """Labels of the ids (H, W) of 8 or 16 bits in a file; those above 255 are no id of any class."""
        counts = _histogram(ids, 256)
        labels = np.full(len(counts), UNKNOWN, np.int16)
        labels[:256] = self.ids
        unknown = np.flatnonzero((counts > 0) & (labels == UNKNOWN))
        if len(unknown) and not self.unknown_is_void:
            raise DataError(
                f"{path} has unknown ids {_listed(unknown)}", self._known_ids(), "Correct the mask or declare its ids"
            )
        return _looked_up(ids, labels)

    def _by_shade(self, path: PictureFile, values: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Values (H, W) that stand for colours (N, 3), -1 where a value has none."""
        known = self.colours or {}
        labels = np.array([known.get((int(r), int(g), int(b)), UNKNOWN) for r, g, b in colours], np.int16)
        counts = _histogram(values, len(labels))
        unknown = np.flatnonzero((counts > 0) & (labels == UNKNOWN))
        if len(unknown) and not self.unknown_is_void:
            raise self._unknown_colours(
                path,
                {
                    _hexadecimal(colours[value]) if colours[value, 0] >= 0 else f"value {value}": int(counts[value])
                    for value in unknown
                },
            )
        return _looked_up(values, labels)

    def _by_rgb(self, path: PictureFile, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W, 3 or 4) uint8; alpha does not count."""
        flat = pixels.reshape(-1, pixels.shape[2])
        labels = np.empty(len(flat), np.uint8)
        unknown = np.zeros(0, np.int64)
        for start in range(0, len(flat), _BAND):
            packed = _packed(flat[start : start + _BAND])
            found = self._by_packed[packed]
            labels[start : start + _BAND] = np.where(found == UNKNOWN, IGNORE, found)
            if not self.unknown_is_void and (found == UNKNOWN).any():
                unknown = unknown if len(unknown) else np.zeros(1 << 24, np.int64)
                np.add.at(unknown, packed[found == UNKNOWN], 1)
        if len(unknown):
            colours = np.flatnonzero(unknown)
            most = colours[np.argsort(-unknown[colours], kind="stable")]
            rest = int(unknown[most[_NAMED:]].sum())
            named = {
                _hexadecimal((value >> 16, value >> 8 & 255, value & 255)): int(unknown[value])
                for value in most[:_NAMED].tolist()
            }
            raise self._unknown_colours(path, named, len(most) - len(named), rest)
        return labels.reshape(pixels.shape[:2])

    @cached_property
    def _by_packed(self) -> np.ndarray:
        """(2^24,) int16: label of each colour, packed into one number."""
        table = np.full(1 << 24, UNKNOWN, np.int16)
        for colour, label in (self.colours or {}).items():
            table[int(_packed(np.array([colour], np.uint8))[0])] = label
        return table

    def _unknown_colours(
        self, path: PictureFile, found: Mapping[str, int], more: int = 0, pixels: int = 0
    ) -> DataError:
        most = sorted(found.items(), key=lambda item: -item[1])
        named, others = most[:_NAMED], most[_NAMED:]
        more, pixels = more + len(others), pixels + sum(count for _, count in others)
        text = ", ".join(f"{colour} in {count} pixels" for colour, count in named)
        rest = f" and {more} more in {pixels} pixels" if more else ""
        return DataError(
            f"{path} has the unknown colours {text}{rest}",
            f"the colours of the {self.classes} classes and of ignore",
            "Declare them in classes.yaml, or write there `unknown: ignore`, or `masks: ids` where pixels are ids",
        )

    def _known_ids(self) -> str:
        void = np.flatnonzero(self.ids == IGNORE).tolist()
        ids = [
            int(np.flatnonzero(self.ids == label)[0]) for label in range(int(self.ids[self.ids != IGNORE].max()) + 1)
        ]
        listed = f"0 to {len(ids) - 1}" if ids == list(range(len(ids))) else ", ".join(map(str, ids))
        return f"ids {listed} for classes, {', '.join(map(str, void)) or 'none'} for void"


def _greys(bits: int) -> np.ndarray:
    """(N, 3) int64: the colour of each value of a grey mask as it is read; -1 for one of 16 bits that none of 8 bits
    equals.
    """
    values = np.arange(65536 if bits == 16 else 256)
    grey = np.where(values % 257 == 0, values // 257, -1) if bits == 16 else values
    return np.repeat(grey[:, None], 3, 1)


def _of_palette(palette: Sequence[int]) -> np.ndarray:
    """(256, 3) int64: the colour of each index; -1 for those that the palette does not have."""
    colours = np.full((256, 3), -1)
    colours[: len(palette) // 3] = np.reshape(palette, (-1, 3))
    return colours


def _grey(image: Image.Image) -> Image.Image:
    """Pictures of one bit, 0 and 255 then, and the grey of those with alpha; palettes of two colours stay indices."""
    return image.convert("L") if image.mode == "1" else image.getchannel(0) if image.mode == "LA" else image


def _histogram(values: np.ndarray, count: int) -> np.ndarray:
    """How often each of 0 ...

    `count` - 1 (and more, where there are larger ones) is in (H, W); in bands, for counting widens to int64.
    """
    flat, total = values.reshape(-1), np.zeros(count, np.int64)
    for start in range(0, len(flat), _BAND):
        counts = np.bincount(flat[start : start + _BAND], minlength=len(total))
        counts[: len(total)] += total
        total = counts
    return total


def _looked_up(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8: `labels` of the values (H, W); what is unknown is void."""
    table = np.where(labels == UNKNOWN, IGNORE, labels).astype(np.uint8)
    found = np.empty(values.size, np.uint8)
    for start in range(0, values.size, _BAND):
        found[start : start + _BAND] = table[values.reshape(-1)[start : start + _BAND]]
    return found.reshape(values.shape)


def _packed(pixels: np.ndarray) -> np.ndarray:
    """(N,) int32: red, green and blue of (N, 3 or 4) uint8 in one number."""
    red, green, blue = (pixels[:, channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _hexadecimal(colour: Sequence[int] | np.ndarray) -> str:
    red, green, blue = (int(part) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _listed(ids: np.ndarray) -> str:
    shown = ", ".join(map(str, ids[:20]))
    return shown if len(ids) <= 20 else f"{shown} and {len(ids) - 20} more"
