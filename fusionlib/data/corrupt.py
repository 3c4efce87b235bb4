"""Damaged pictures of any dataset, `corrupt:KIND:SEVERITY:SPEC`: how well a network bears what it has not seen."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from fusionlib.contracts import DATASETS, Dataset, Sample
from fusionlib.data.changed import Changed
from fusionlib.data.spec import parse_spec, splits_of
from fusionlib.errors import UsageError, shown

VERSION = 1
"""Raised whenever a corruption comes out otherwise: what was measured on the old pictures does not count then."""

NAME = "corrupt"
WORST = 5
"""Severities are 0, the picture itself, to this."""
MOST_NESTED = 3
"""Corruptions of one another in a spec."""

Damage = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""A picture (H, W, 3) float32 in 0..255, a severity from 1 and what is drawn from -> the same, not yet clipped."""


class Parts(NamedTuple):
    """What `corrupt:` is followed by: kind and severity, and the spec of what is damaged."""

    kind: str
    severity: int
    spec: str


def parts_of(argument: str) -> Parts:
    """`fog:3:streets:clear` in its parts. Raises `UsageError` for another kind or severity, or too deep a nest."""
    kind, _, rest = argument.partition(":")
    digit, colon, inner = rest.partition(":")
    if kind not in KINDS:
        raise UsageError(f"Corruption {shown(kind)}", f"one of {', '.join(KINDS)}", f"Write {Corruptions.usage}")
    if len(digit) != 1 or digit not in "012345":
        raise UsageError(f"Severity {shown(digit)} of {kind}", f"0 to {WORST}", f"Write {Corruptions.usage}")
    if not colon or not inner:
        raise UsageError(f"Corruption {kind} {digit} of nothing", "the spec of other data", "Put it behind a colon")
    if argument.count(f"{NAME}:") >= MOST_NESTED:
        raise UsageError(
            f"More than {MOST_NESTED} corruptions in one spec", f"at most {MOST_NESTED}", "Leave some of them out"
        )
    return Parts(kind, int(digit), inner)


def undamaged(spec: str) -> str:
    """The spec of data without the damages in front of it."""
    while spec.startswith(f"{NAME}:"):
        spec = parts_of(spec.removeprefix(f"{NAME}:")).spec
    return spec


def corrupted(image: np.ndarray, kind: str, severity: int) -> np.ndarray:
    """A picture (H, W, 3) uint8, damaged; severity 0 gives the same bytes.

    What is drawn depends on the picture's pixels, the kind and the severity alone: the same in any dataset. Sizes (of a
    blur, a flake) are in 1/256 of the shorter side. Kinds and steps are those of Hendrycks and Dietterich 2019,
    "Benchmarking Neural Network Robustness to Common Corruptions", set anew for pictures of streets.
    """
    if severity == 0:
        return image
    digest = hashlib.sha256(f"{VERSION} {kind} {severity} {image.shape} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    rng = np.random.default_rng(int.from_bytes(digest.digest()[:16]))
    found = KINDS[kind](image.astype(np.float32), severity, rng)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _unit(rgb: np.ndarray) -> float:
    return min(rgb.shape[:2]) / 256


def _as_image(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))


def _blurred(rgb: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(_as_image(rgb).filter(ImageFilter.GaussianBlur(radius)), np.float32)


def _blur(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return _blurred(rgb, (0.6, 1.2, 2.0, 3.2, 5.0)[severity - 1] * _unit(rgb))


def _noise(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return rgb + rng.normal(0, (10, 20, 31, 46, 66)[severity - 1], rgb.shape).astype(np.float32)


def _jpeg(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    packed = io.BytesIO()
    _as_image(rgb).save(packed, "JPEG", quality=(40, 25, 15, 10, 6)[severity - 1])
    return np.asarray(Image.open(packed).convert("RGB"), np.float32)


def _brightness(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    return rgb + np.float32((25, 50, 75, 100, 130)[severity - 1])


def _contrast(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    mean = rgb.mean(axis=(0, 1))
    return mean + (rgb - mean) * np.float32((0.7, 0.5, 0.35, 0.23, 0.14)[severity - 1])


def _fog(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A veil with clouds in it, thicker towards the upper edge: how far anything is away nobody knows."""
    height, width = rgb.shape[:2]
    coarse = Image.fromarray(rng.uniform(0.75, 1, (4, 7)).astype(np.float32))
    clouds = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    rising = np.linspace(1, 0.75, height, dtype=np.float32)[:, None]
    veil = ((0.25, 0.4, 0.55, 0.7, 0.85)[severity - 1] * np.clip(clouds, 0, 1) * rising)[..., None]
    return rgb * (1 - veil) + np.array([206, 210, 214], np.float32) * veil


def _rain(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Grey light and slanted streaks."""
    height, width = rgb.shape[:2]
    count = int((0.002, 0.004, 0.007, 0.011, 0.016)[severity - 1] * height * width / max(1.0, _unit(rgb)))
    length, slant = round(12 * max(1.0, _unit(rgb))), rng.uniform(-0.35, 0.35)
    rows, columns = rng.integers(-length, height, count), rng.integers(0, width, count)
    streaks = np.zeros((height, width), np.float32)
    for step in range(length):
        down, across = rows + step, (columns + round(slant * step)) % width
        there = (down >= 0) & (down < height)
        streaks[down[there], across[there]] = 1
    grey = rgb.mean(axis=2, keepdims=True)
    dull = (0.7 * rgb + 0.3 * grey) * np.float32((0.92, 0.86, 0.78, 0.7, 0.62)[severity - 1])
    return dull + (210 - dull) * (0.45 * _soft(streaks))[..., None]


def _snow(rgb: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """White light and flakes."""
    height, width = rgb.shape[:2]
    flakes = np.zeros((height, width), np.float32)
    share = (0.002, 0.004, 0.007, 0.011, 0.016)[severity - 1]
    for size, part in ((1, 1.0), (2, 0.35), (4, 0.08)):
        wide = max(1, round(size * _unit(rgb)))
        count = int(share * part * height * width / wide**2 * size)
        rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
        for down in range(wide):
            for across in range(wide):
                flakes[(rows + down) % height, (columns + across) % width] = 1
    white = np.float32((0.08, 0.16, 0.25, 0.35, 0.46)[severity - 1])
    light = rgb * (1 - white) + 235 * white
    return light + (248 - light) * (0.9 * _soft(flakes))[..., None]


def _soft(mask: np.ndarray) -> np.ndarray:
    """(H, W) of 0 and 1 with soft edges."""
    image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(image, np.float32) / 255


KINDS: Mapping[str, Damage] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "contrast": _contrast,
    "fog": _fog,
    "rain": _rain,
    "snow": _snow,
}


class Corrupted(Changed):
    """Another dataset's pictures, damaged. Masks and classes are the other's too; of severity 0 all is."""

    def __init__(self, dataset: Dataset, kind: str, severity: int) -> None:
        change = f"{NAME} {VERSION} {kind} {severity}" if severity else ""
        spec, title = f"{NAME}:{kind}:{severity}:{dataset.spec}", f"{dataset.title}, {kind} {severity}"
        super().__init__(dataset, spec, title, dataset.label_space, change)
        self.kind, self.severity = kind, severity

    def load(self, index: int, whole: bool = False) -> Sample:
        """The other's picture, damaged; a very large one is damaged as it comes, reduced unless `whole`."""
        sample = self.dataset.load(index, whole)
        return replace(sample, image=corrupted(sample.image, self.kind, self.severity))


class Corruptions:
    """Any data behind a kind of damage and its severity."""

    title = "Other data, damaged: blur, noise, jpeg, brightness, contrast, fog, rain or snow of severity 0 to 5"
    usage = "corrupt:KIND:SEVERITY:SPEC"

    def splits(self, argument: str) -> tuple[str, ...]:
        """Those of the other data."""
        return splits_of(parts_of(argument).spec)

    def open(self, argument: str, split: str | None) -> Corrupted:
        """The other data, opened. Raises `UsageError` for a kind or severity that is none, and what opening raises."""
        kind, severity, spec = parts_of(argument)
        # The split was cut off the whole text, so a trailing @word that is left belongs to a path.
        parse_spec(spec)  # says what is wrong with it in its own words
        found = parse_spec(f"{spec}@-")
        return Corrupted(DATASETS.get(found.kind).open(found.argument, split), kind, severity)


DATASETS.register("corrupt")(Corruptions())
