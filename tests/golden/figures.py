"""What the golden files hold, computed anew, and how the two are compared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import MEASURES, METHODS, Found, MergeMethod
from fusionlib.engine.activations import recorded
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import UsageError
from fusionlib.measures.observation import Observation
from fusionlib.merging.buffers import settle
from fusionlib.merging.build import build_method
from tests.golden.scene import CLASSES, FOLDER, Data, arena, data
from tests.helpers import CPU, TinyArchitecture, informed

PRECISIONS = ("float32", "mixed")
POLICIES = ("average", "gaussian", "anchor")
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"weights": (0.5, 0.3, 0.2)},
    "profile": {"rest": (0.5, 0.3, 0.2), "weights": {"stem": (0.2, 0.4, 0.4)}},
}
"""Settings of methods whose defaults say little about three checkpoints."""

DIGITS = 10
"""Significant digits of what is held."""

LONGEST = 12
"""Lists of more numbers are held as their sums: one that moves shows in them as well."""


@dataclass(frozen=True)
class Bounds:
    """How far numbers may lie apart: floats, and whole ones as a share of themselves (of 1,000 where they are less)."""

    relative: float
    absolute: float
    counts: float


TOLERANCE = {"float32": Bounds(1e-6, 1e-9, 0), "mixed": Bounds(0.02, 0.02, 0.03)}
"""Half-precision kernels differ between processors, so that labels near a tie may change there."""

ELSEWHERE = Bounds(2e-3, 2e-3, 3e-3)
"""The same for float32 on another kind of processor, whose sums of floats run in another order."""


class Recomputed:
    """All golden figures, method by method; the three checkpoints are observed once."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.arena, self.two = arena(Path(folder)), arena(Path(folder), 2)
        self.data = data()
        self.networks = {
            precision: BoundNetwork(
                TinyArchitecture(), CLASSES, self.arena.layout, self.arena.integers[0], device=CPU, precision=precision
            )
            for precision in PRECISIONS
        }
        self.alone = {
            precision: [self._seen(network, row[None], torch.ones(1)) for row in self.arena.weights]
            for precision, network in self.networks.items()
        }

    def method(self, name: str) -> dict[str, Any]:
        """The golden record of one method."""
        item, packed = build_method(name, SETTINGS.get(name, {})), self.arena
        try:
            item.shares(len(packed))
        except UsageError:  # takes two
            packed = self.two
        item = _told(item, packed)
        measured = {}
        mixture = item(packed)
        for row in mixture.weights:
            settle("average", packed, item, row)
        for precision, network in self.networks.items():
            mine = self._seen(network, mixture.weights, mixture.coefficients)
            seen = [mine, *self.alone[precision]]
            measured[precision] = {name: self._figures(name, seen) for name in self.data}
        return {
            "version": METHODS.get(name).version,
            "checkpoints": len(packed),
            "weights": {policy: _digest(item, packed, policy) for policy in POLICIES},
            "measures": {
                measure: {"version": version}
                | {p: {where: parts[measure] for where, parts in measured[p].items()} for p in PRECISIONS}
                for measure, version in versions().items()
            },
        }

    def _seen(self, network: BoundNetwork, rows: Tensor, coefficients: Tensor) -> dict[str, list[tuple[Tensor, dict]]]:
        """Logits and activations of every picture; those of several members are the mean of their probabilities."""
        seen: dict[str, list[tuple[Tensor, dict]]] = {name: [] for name in self.data}
        for name, item in self.data.items():
            for image, _ in item.pictures:
                parts = []
                for row in rows:
                    network.load(row)
                    with recorded(network.module) as blocks:
                        parts.append(network.logits(image[None], image.shape[:2]))
                logs = [part.log_softmax(1) + share.log() for part, share in zip(parts, coefficients, strict=True)]
                one = parts[0] if len(parts) == 1 else torch.stack(logs).logsumexp(0)
                seen[name].append((one, dict(blocks) if len(parts) == 1 else {}))
        return seen

    def _figures(self, name: str, seen: Sequence[dict[str, list[tuple[Tensor, dict]]]]) -> dict[str, Any]:
        """Every measure over one set of pictures: of the first network, of it and the first checkpoint, of all."""
        where = self.data[name]
        observations = [
            [
                Observation(
                    one[name][number][0],
                    torch.from_numpy(truth)[None],
                    where.mapping,
                    where.space.count,
                    activations=one[name][number][1],
                    picture=number,
                )
                for one in seen
            ]
            for number, (_, truth) in enumerate(where.pictures)
        ]
        return {measure: _measured(measure, where, observations) for measure in MEASURES.names()}


def _told(item: MergeMethod, packed: Arena) -> MergeMethod:
    """The method with what it wants to know. Labels near a tie are drawn otherwise on another kind of processor, so
    Fisher information is drawn itself.
    """
    drawn = torch.from_numpy(np.random.RandomState(9).rand(*packed.weights.shape)).float()
    fisher: Found = {("fisher", (number,)): {"information": row} for number, row in enumerate(drawn)}
    item = informed(item, packed)
    return item.informed({want: fisher.get(want, table) for want, table in (item.found or {}).items()})


def versions() -> dict[str, int]:
    """Measure -> version."""
    return {name: item.version for name, item in MEASURES.items()}


def _measured(name: str, where: Data, observations: Sequence[Sequence[Observation]]) -> Any:
    measure = MEASURES.get(name)
    count = {"one": 1, "pair": 2, "set": len(observations[0])}[measure.networks]
    state = measure.init(where.space.count, CPU, count)
    for seen in observations:
        measure.update(state, *seen[:count])
    return condensed(measure.compute(state))


def _digest(item: MergeMethod, packed: Arena, policy: str) -> list[float]:
    """Norm of the merged weights and two products with fixed vectors, members one after the other."""
    mixture = item(packed)
    for row in mixture.weights:
        settle(policy, packed, item, row)
    flat = mixture.weights.double().flatten()
    steps = torch.arange(len(flat), dtype=torch.float64)
    return condensed([float(flat.norm()), float(flat @ torch.cos(steps)), float(flat @ torch.sin(1.7 * steps))])


def condensed(value: Any) -> Any:
    """Figures as the files hold them: a long list of numbers as its length, its sum and its sum by place."""
    if isinstance(value, dict):
        return {key: condensed(item) for key, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if not isinstance(value, list | tuple):
        return value
    flat = list(_flat(value))
    if len(flat) <= LONGEST and not any(isinstance(item, list | tuple | dict) for item in value):
        return [condensed(item) for item in value]
    if any(isinstance(item, dict) for item in flat):
        return [condensed(item) for item in flat]
    known = [item for item in flat if item is not None]
    by_place = sum((place + 1) * item for place, item in enumerate(flat) if item is not None)
    return condensed({"of": len(flat), "none": len(flat) - len(known), "sum": sum(known), "by_place": by_place})


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def processor() -> str:
    """The kind of processor, which decides in which order floats are summed."""
    model = ""
    if (info := Path("/proc/cpuinfo")).is_file():
        model = next((line for line in info.read_text().splitlines() if line.startswith("model name")), "")
    return f"{torch.backends.cpu.get_cpu_capability()}, {model.partition(': ')[2] or 'unknown'}"


def stored(name: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The golden file of a method, or None."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@dataclass(frozen=True)
class Changes:
    """How a golden record and one computed anew differ: `stale` what a version explains, `silent` what none does."""

    stale: tuple[str, ...]
    silent: tuple[str, ...]


def changes(old: dict[str, Any], new: dict[str, Any], here: bool = True) -> Changes:
    """Compare a golden record with one computed anew; `here`: written on this kind of processor."""
    stale, silent = [], []
    same_method = old["version"] == new["version"]
    tight = TOLERANCE["float32"] if here else ELSEWHERE
    if not same_method:
        stale.append(f"written for version {old['version']} of the method, which is now {new['version']}")
    else:
        silent += [
            f"{one}, the method's version did not"
            for one in _differences(old["weights"], new["weights"], tight, "weights")
        ]
    for name in sorted(old["measures"].keys() | new["measures"].keys()):
        before, after = old["measures"].get(name), new["measures"].get(name)
        if before is None or after is None:
            stale.append(f"measure {name} is {'new' if before is None else 'gone'}")
        elif before["version"] != after["version"]:
            stale.append(f"written for version {before['version']} of {name}, which is now {after['version']}")
        elif same_method:
            for precision in PRECISIONS:
                bounds = tight if precision == "float32" else TOLERANCE[precision]
                differing = _differences(before[precision], after[precision], bounds, f"{name} {precision}")
                silent += [f"{one}, no version did" for one in differing]
    return Changes(tuple(stale), tuple(silent))


def _differences(old: Any, new: Any, bounds: Bounds, where: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        parts = [(old[key], new[key], f"{where} {key}") for key in old]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(a, b, f"{where} {number}") for number, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return [] if _alike(old, new, bounds) else [f"{where} moved from {old} to {new}"]
    return [one for a, b, place in parts for one in _differences(a, b, bounds, place)]


def _alike(old: Any, new: Any, bounds: Bounds) -> bool:
    if old is None or new is None or isinstance(old, str) or isinstance(new, str):
        return old == new
    if isinstance(old, int) and isinstance(new, int):
        return abs(old - new) <= bounds.counts * max(1000, abs(old))
    return abs(old - new) <= bounds.relative * abs(old) + bounds.absolute
