"""Networks out of recipes: the only place that makes one to be measured."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor

from fusionlib.architectures.recognise import Known
from fusionlib.checkpoints.layout import COUNTER, Layout
from fusionlib.checkpoints.rounding import refuse_overflow
from fusionlib.contracts import METHODS, STATISTICS, MergeMethod, Progress
from fusionlib.data.labels import LabelSpace, label_space
from fusionlib.engine.ensemble import combined
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.merge import Merger, weights_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.scaling import scaled
from fusionlib.engine.views import seen
from fusionlib.errors import UsageError
from fusionlib.merging.average import fold_order
from fusionlib.merging.build import build_method
from fusionlib.question import Tally
from fusionlib.recipe import AT_ONCE, Recipe, Views

Versions = tuple[Any, ...]


@dataclass
class Member:
    """One set of weights (P,) float32 and the network that it runs in, which others may share."""

    key: str
    weights: Tensor
    integers: Mapping[str, Tensor]
    network: BoundNetwork

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """Pictures (N, H, W, 3) uint8 -> logits (N, C, h, w). Runs on the calling thread."""
        self.enter()
        return self.network.logits(images, size)

    def enter(self) -> None:
        """Put the weights into the network, where those of another member are."""
        if self.network.occupant is not self:
            self.network.load(self.weights, self.integers)
            self.network.occupant = self


@dataclass(frozen=True)
class Built:
    """A network that can be asked: one set of weights, or M whose answers are combined by `rule`.

    `key` is the build key: SHA-256 of the tensors and of the code that runs them. Members are looped inside a batch, so
    that M networks take the activations of one.
    """

    key: str
    members: tuple[Member, ...]
    shares: tuple[float, ...]
    rule: str
    space: LabelSpace
    device: torch.device
    notes: tuple[str, ...] = ()
    temperature: float = 1.0
    views: Views = AT_ONCE
    seconds: float = field(default=0.0, compare=False)

    @property
    def forwards(self) -> int:
        """Forward passes a picture."""
        return len(self.members) * self.views.count

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """Pictures (N, H, W, 3) uint8 -> logits (N, C, h, w) float32: of M networks what `combined` gives, of several
        views what `seen` gives.
        """
        once = self.views == AT_ONCE
        found = self._at_once(images, size) if once else seen(self._at_once, images, size or _size(images), self.views)
        return found if self.temperature == 1 else scaled(found, self.temperature)

    def _at_once(self, images: np.ndarray, size: tuple[int, int] | None) -> Tensor:
        parts = (member.logits(images, size) for member in self.members)
        return next(parts) if len(self.members) == 1 else combined(parts, self.shares, self.rule)

    def viewed(self, views: Views | None) -> Built:
        """The same that answers to several views of a picture; itself for none, and for the picture alone."""
        if views is None or views == AT_ONCE:
            return self
        key = hashlib.sha256(f"{self.key} at {views.model_dump_json()}".encode()).hexdigest()
        return replace(self, key=key, views=views)

    def scaled(self, temperature: float | None) -> Built:
        """The same with logits divided by a temperature; itself for none, and for 1."""
        if temperature is None or temperature == 1:
            return self
        key = hashlib.sha256(f"{self.key} at temperature {temperature!r}".encode()).hexdigest()
        return replace(self, key=key, temperature=temperature)


class Builder:
    """Makes networks out of recipes; those that are alike share one instance of the architecture."""

    def __init__(self, merger: Merger, precision: str = "float32") -> None:
        self.merger, self.worker, self.device = merger, merger.worker, merger.device
        self.precision = precision
        self._networks: dict[tuple, BoundNetwork] = {}
        self._memos: dict[int, tuple[ref[Recipe], Versions, str]] = {}

    def memo(self, recipe: Recipe) -> str:
        """SHA-256 of all that decides what a recipe is built into, for a table that remembers build keys.

        Nothing is read but names and shapes; where the files lie does not count. Kept as long as the recipe lives.
        """
        key, versions = id(recipe), self._versions(recipe)
        of, under, memo = self._memos.get(key, (None, None, ""))
        if of is None or of() is not recipe or under != versions:
            memo = self._new_memo(recipe)
            self._memos[key] = ref(recipe, lambda _: self._memos.pop(key, None)), versions, memo
        return memo

    def _versions(self, recipe: Recipe) -> Versions:
        """What decides a memo beside the recipe: the networks that are known, and of which code it speaks."""
        method = METHODS.get(recipe.method)
        return self.merger.era, method, method.version, *(STATISTICS.get(one).version for one in method.statistics)

    def _new_memo(self, recipe: Recipe) -> str:
        method = build_method(recipe.method, recipe.parameters)
        mixture = self._average(recipe, method) if method.streams and recipe.shared is None else None
        about = {
            **(mixture or recipe.model_dump(mode="json", exclude={"checkpoints", "tool", "calibration", "views"})),
            **({"views": recipe.views.model_dump(mode="json")} if recipe.views else {}),
            "version": method.version,
            "statistics": {name: STATISTICS.get(name).version for name in method.statistics},
            "dtype": recipe.dtype,
            "temperature": recipe.temperature,
            "calibration": recipe.calibration and [recipe.calibration.fingerprint, recipe.calibration.count],
            "checkpoints": None if mixture else [source.fingerprint for source in recipe.checkpoints],
            "networks": [
                [architecture_key(*known), list(known[0].head)]
                for known in map(self.merger.network, parts_of(recipe) or (recipe,))
            ],
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _average(self, recipe: Recipe, method: MergeMethod) -> dict[str, Any]:
        """What identifies a weighted average, in whichever order the checkpoints are named: its bytes do not depend on
        it. A checkpoint without weight counts where its dtypes decide how finely the others are rounded.
        """
        checkpoints = self.merger.sources.checkpoints(recipe)
        prints, shares = [item.fingerprint for item in checkpoints], method.shares(len(checkpoints))
        alike = all(item.dtypes == checkpoints[0].dtypes for item in checkpoints)
        members = [[prints[number], share] for number, share in fold_order(prints, shares)]
        alone = len(members) == 1 and recipe.buffers in ("average", "gaussian")
        return {
            "average": members,
            "all": None if alike else sorted(prints),
            "buffers": None if alone else recipe.buffers,
            "anchor": prints[recipe.anchor or 0] if recipe.buffers == "anchor" else None,
        }

    def space(self, recipe: Recipe) -> LabelSpace:
        """The classes of the network's output. Raises `UsageError` where the members' differ."""
        spaces = {}
        for one in parts_of(recipe) or (recipe,):
            architecture, classes = self.merger.network(one)
            space = label_space(architecture.label_space(classes))
            spaces[space.names, space.counts_as] = space
        if len(spaces) > 1:
            raise UsageError(
                f"An ensemble over label spaces {', '.join(sorted(space.name for space in spaces.values()))}",
                "networks of the same classes",
                "Choose others",
            )
        return next(iter(spaces.values()))

    def build(self, recipe: Recipe, progress: Progress | None = None, tally: Tally | None = None) -> Built:
        """The network of a recipe, ready to be measured. Progress, tally and errors as `Merger.merge`."""
        space, begun = self.space(recipe), time.perf_counter()
        if parts := parts_of(recipe):
            together = self._together(recipe, [self.build(part, progress) for part in parts], space)
            return together.viewed(recipe.views).scaled(recipe.temperature)
        merged = self.merger.merge(recipe, progress, tally)
        known = self.merger.network(recipe)
        members = tuple(
            self.worker.run(lambda row=row: self.member(known, merged.arena.layout, merged.integers, row))
            for row in merged.rows
        )
        if len(members) == 1:
            built = Built(members[0].key, members, (1.0,), "", space, self.device, merged.notes)
        else:
            built = _combined(members, merged.coefficients, merged.rule, space, self.device, merged.notes)
        built = replace(built, seconds=time.perf_counter() - begun)
        return built.viewed(recipe.views).scaled(recipe.temperature)

    def _together(self, recipe: Recipe, parts: Sequence[Built], space: LabelSpace) -> Built:
        """Checkpoints that answer together, each by its own network."""
        method = build_method(recipe.method, recipe.parameters)
        members = tuple(part.members[0] for part in parts)
        return _combined(members, method.shares(len(parts)), method.rule, space, self.device, ())  # type: ignore[attr-defined]

    def member(self, known: Known, layout: Layout, integers: Mapping[str, Tensor], row: Tensor) -> Member:
        """The network of one row (P,) of weights. Runs on the calling thread, which is the worker's."""
        if row.dtype != torch.float32:
            refuse_overflow(layout.entries, row, torch.float32)
        # A merge may be a row of the arena, which others use; what is measured is a copy of its own.
        weights = row.detach().to(self.device, torch.float32, copy=True)
        key = f"{weights_key(layout, weights, integers)} {architecture_key(*known)}"
        network = self._network(known, layout, integers)
        return Member(hashlib.sha256(key.encode()).hexdigest(), weights, integers, network)

    def _network(self, known: Known, layout: Layout, integers: Mapping[str, Tensor]) -> BoundNetwork:
        fixed = [
            f"{name} {hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()}"
            for name, tensor in sorted(integers.items())
            if not name.endswith(COUNTER)
        ]
        key = (architecture_key(*known), tuple(layout.by_name), layout.signature, *fixed)
        if key not in self._networks:
            self._networks.clear()  # one at a time: an instance takes as much memory as a checkpoint
            self._networks[key] = BoundNetwork(*known, layout, integers, device=self.device, precision=self.precision)
        return self._networks[key]


def forwards_of(recipe: Recipe) -> int:
    """Forward passes a picture, as far as the recipe alone tells."""
    views = recipe.views or AT_ONCE
    return build_method(recipe.method, recipe.parameters).networks(len(recipe.checkpoints)) * views.count


def _size(images: np.ndarray) -> tuple[int, int]:
    return images.shape[1], images.shape[2]


def parts_of(recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipes of the networks that answer together, each a checkpoint alone; nothing where weights are merged."""
    if not METHODS.get(recipe.method).whole_checkpoints:
        return ()
    return tuple(recipe.alone(number) for number in range(len(recipe.checkpoints)))


def _combined(
    members: Sequence[Member],
    shares: Sequence[float],
    rule: str,
    space: LabelSpace,
    device: torch.device,
    notes: tuple[str, ...],
) -> Built:
    """Outputs are summed in the order of the members' keys: the order in which they are named changes no bit."""
    order = fold_order([member.key for member in members], shares)
    ranked = tuple(members[number] for number, _ in order)
    weighed = tuple(share for _, share in order)
    if len(ranked) == 1:
        return Built(ranked[0].key, ranked, (1.0,), "", space, device, notes)
    about = json.dumps([rule, [[member.key, share] for member, share in zip(ranked, weighed, strict=True)]])
    return Built(hashlib.sha256(about.encode()).hexdigest(), ranked, weighed, rule, space, device, notes)
