"""From a recipe to merged weights: the one way, whether they are measured, shown or written."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from fusionlib.architectures.nearest import unknown_network
from fusionlib.architectures.recognise import Known, network_of, recognise
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import COUNTER, Layout
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import round_to_dtype, written_dtype
from fusionlib.checkpoints.sharing import Sharing
from fusionlib.checkpoints.sources import open_sources
from fusionlib.contracts import ARCHITECTURES, Architecture, MergeMethod, Mixture, Progress
from fusionlib.data.cache import DecodedCache, unreduced
from fusionlib.data.spec import open_dataset
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.packing import packed
from fusionlib.engine.recalibrate import Recalibration
from fusionlib.engine.statistics import Kept, find, work
from fusionlib.engine.worker import Worker
from fusionlib.errors import RecipeError, UsageError
from fusionlib.merging.buffers import anchor_of, merged_integers, settle
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.question import Tally
from fusionlib.recipe import Recipe, Source, checkpoint_alone

KEPT_ARENAS = 4
"""Packed sets of checkpoints that are kept for the next recipe, which mostly has the same ones."""

KEPT_BYTES = 4 << 30
"""Bytes that these take together; the last one stays whatever it takes."""

PICTURE_BYTES = 256 << 20


@dataclass(frozen=True)
class Merged:
    """What a recipe gives: `rows` (M tensors (P,)) in the arena's dtype with `coefficients` (M), and integer tensors.

    `anchor` is the place of the checkpoint whose network, and whose own tensors, it has.
    """

    arena: Arena
    method: MergeMethod
    rows: tuple[Tensor, ...]
    coefficients: tuple[float, ...]
    integers: Mapping[str, Tensor]
    anchor: int
    notes: tuple[str, ...]
    rule: str = "softmax"


class Sources:
    """The checkpoints and pictures that recipes name: those that are open, by content; others are opened by path."""

    def __init__(self) -> None:
        self._checkpoints: dict[str, Checkpoint] = {}
        self._opened: DecodedCache | None = None
        self._pictures: WeakValueDictionary[str, DecodedCache] = WeakValueDictionary()  # what is decoded is large

    def know(self, checkpoints: Sequence[Checkpoint] = (), pictures: DecodedCache | None = None) -> None:
        """Take these for what recipes name by their content."""
        self._checkpoints |= {item.fingerprint: item for item in checkpoints}
        if pictures is not None:
            self._pictures[pictures.fingerprint()] = pictures

    def checkpoint(self, source: Source) -> Checkpoint:
        """The checkpoint of a source. Raises `RecipeError` where it is not there, or no longer what it was."""
        found = self._checkpoints.get(source.fingerprint)
        if found is None:
            (found,) = open_sources(checkpoint_alone(source), [Path()], recognise)
            self._checkpoints[source.fingerprint] = found
        return found

    def checkpoints(self, recipe: Recipe) -> list[Checkpoint]:
        """Those of a recipe, in its order."""
        return [self.checkpoint(source) for source in recipe.checkpoints]

    def calibration(self, recipe: Recipe) -> DecodedCache | None:
        """The pictures that a recipe measures with. Raises `RecipeError` where they are others by now."""
        wanted = recipe.calibration
        if wanted is None:
            return None
        found = self._pictures.get(wanted.fingerprint)
        if found is None:
            found = DecodedCache(open_dataset(wanted.data, None), PICTURE_BYTES)
            if found.fingerprint() != wanted.fingerprint:
                raise RecipeError(
                    "The calibration pictures are not those of the recipe",
                    "the same pictures",
                    "Name them with --data, or write a new recipe",
                )
            self._opened = found
            self._pictures[wanted.fingerprint] = found
        return found


class Merger:
    """Carries out recipes. Every torch call goes through the worker, so that frames can go in between.

    `statistics` keeps what methods had to find out before they could merge.
    """

    def __init__(
        self, worker: Worker, device: torch.device, sources: Sources | None = None, statistics: Kept | None = None
    ) -> None:
        self.worker, self.device = worker, device
        self.sources = Sources() if sources is None else sources
        self.statistics = statistics
        self._arenas: OrderedDict[tuple, Arena] = OrderedDict()
        self._recognised: dict[str, Known | None] = {}
        self._registered: tuple[Architecture, ...] = ()
        self._era = object()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Let go of the packed weights that are kept for the next recipe."""
        with self._lock:
            self._arenas.clear()

    def anchor(self, recipe: Recipe, method: MergeMethod) -> int:
        """The place of the checkpoint whose network, and whose own tensors, the merge has."""
        return anchor_of(method, len(recipe.checkpoints), recipe.anchor or 0)

    def network(self, recipe: Recipe) -> Known:
        """The network that runs a recipe. Raises `ArchitectureError` where nobody knows it."""
        method = build_method(recipe.method, recipe.parameters)
        checkpoint = self.sources.checkpoint(recipe.checkpoints[self.anchor(recipe, method)])
        known = self.recognised(checkpoint)
        if known is None:
            raise unknown_network([checkpoint])
        return known

    def recognised(self, checkpoint: Checkpoint) -> Known | None:
        """The network that a checkpoint belongs to; looked for once, as long as the same architectures are known."""
        known, _ = self._current()
        if checkpoint.fingerprint not in known:
            known[checkpoint.fingerprint] = network_of(checkpoint.shapes)
        return known[checkpoint.fingerprint]

    @property
    def era(self) -> object:
        """The same object as long as the same architectures are known."""
        return self._current()[1]

    def _current(self) -> tuple[dict[str, Known | None], object]:
        """What was recognised since architectures last changed, and the era."""
        registered = tuple(architecture for _, architecture in ARCHITECTURES.items())
        with self._lock:
            same = len(registered) == len(self._registered)
            if not same or any(one is not other for one, other in zip(registered, self._registered, strict=True)):
                self._recognised, self._registered, self._era = {}, registered, object()
            return self._recognised, self._era

    def arena(self, recipe: Recipe, anchor: int) -> Arena:
        """The checkpoints of a recipe, packed; finite. Raises `LayoutError` where they do not fit one another."""
        checkpoints = self.sources.checkpoints(recipe)
        sharing = None if recipe.shared is None else Sharing(recipe.shared.rename, recipe.shared.exclude)
        key = (tuple(item.fingerprint for item in checkpoints), anchor if sharing else None, str(recipe.shared))
        known = self.recognised(checkpoints[anchor])
        with self._lock:
            if key not in self._arenas:
                self._arenas[key] = packed(checkpoints, known, anchor=anchor, sharing=sharing, device=self.device)
                self._evict()
            self._arenas.move_to_end(key)
            return self._arenas[key]

    def adopt(self, checkpoints: Sequence[Checkpoint], arena: Arena) -> None:
        """Take these checkpoints as somebody has packed them, finite, in place of packing them again."""
        with self._lock:
            self._arenas[tuple(item.fingerprint for item in checkpoints), None, "None"] = arena
            self._evict()

    def merge(self, recipe: Recipe, progress: Progress | None = None, tally: Tally | None = None) -> Merged:
        """Carry out a recipe. Progress is in forward passes' worth of work; it may raise `Cancelled`. `tally` counts
        the passes.

        Raises: `MergeError` where a value does not fit the dtype in which it will be written; `RecipeError`,
        `LayoutError`, `UsageError` for what cannot be merged.
        """
        method = build_method(recipe.method, recipe.parameters)
        check_policy(recipe.buffers)
        method.shares(len(recipe.checkpoints))  # a wrong number of checkpoints is said before anything is read
        anchor = self.anchor(recipe, method)
        calibration = self.sources.calibration(recipe)
        arena = self.arena(recipe, anchor)
        told = progress or (lambda *_: None)
        found = work(method, len(recipe.checkpoints), min(_count(recipe), len(calibration or ())))
        whole = self.preparing(recipe, len(calibration or ()))
        if method.statistics:
            method = self._informed(method, arena, recipe, calibration, lambda done, _: told(done, whole), tally)
        arena = arena.written_in(written_dtype(recipe.dtype))
        if recipe.buffers == "recalibrate" and not method.keeps_statistics:
            along = lambda done, _: told(found + done, whole)  # noqa: E731
            mixture = self._recalibrated(method, arena, recipe, calibration, anchor, along, tally or Tally())
        else:
            mixture = self.worker.run(lambda: _settled(method, arena, recipe.buffers, anchor))
        if calibration is not None:
            calibration.verify()
        integers = merged_integers(recipe.buffers, arena, method, anchor)
        rows, coefficients = tuple(mixture.weights), tuple(mixture.coefficients.tolist())
        return Merged(arena, method, rows, coefficients, integers, anchor, mixture.notes, mixture.rule)

    def preparing(self, recipe: Recipe, pictures: int) -> int:
        """Forward passes' worth of work before the merge is there, where `pictures` can be looked at."""
        method, count = build_method(recipe.method, recipe.parameters), min(_count(recipe), pictures)
        anew = recipe.buffers == "recalibrate" and not method.keeps_statistics
        members = len(recipe.checkpoints)
        return work(method, members, count) + (count * method.networks(members) if anew else 0)

    def _informed(
        self,
        method: MergeMethod,
        arena: Arena,
        recipe: Recipe,
        calibration: DecodedCache | None,
        progress: Progress | None,
        tally: Tally | None,
    ) -> MergeMethod:
        if method.needs == "pictures" and calibration is None:
            raise UsageError(
                f"{method.title} without pictures", "unlabelled pictures of the target domain", "Give --data"
            )
        return find(
            method,
            arena,
            self.network(recipe) if method.needs == "pictures" else None,
            calibration,
            recipe.calibration.count if recipe.calibration else None,
            worker=self.worker,
            store=self.statistics,
            progress=progress,
            tally=tally,
        )

    def _recalibrated(
        self,
        method: MergeMethod,
        arena: Arena,
        recipe: Recipe,
        calibration: DecodedCache | None,
        anchor: int,
        progress: Progress,
        tally: Tally,
    ) -> Mixture:
        """The mixture, each network with running statistics that were measured anew."""
        if calibration is None:
            raise UsageError(
                "Buffer policy recalibrate without pictures",
                "unlabelled pictures of the target domain",
                "Give --data, or choose another policy",
            )
        run, total, done = self.worker.run, 0, 0
        network = BoundNetwork(*self.network(recipe), arena.layout, arena.integers[anchor], device=self.device)
        mixture = run(lambda: _settled(method, arena, recipe.buffers, anchor))
        for row in mixture.weights:
            run(lambda row=row: network.load(row))
            running = run(lambda: Recalibration(network))
            for index in calibration.spread(_count(recipe)):
                progress(done, total)
                image = unreduced(calibration.load(index)).image[None]
                run(lambda image=image, running=running: running.add(image))
                done, tally.run = done + 1, tally.run + 1
            run(lambda row=row: _keep_rounded(arena.layout, network.flat, row))
        return mixture

    def _evict(self) -> None:
        while len(self._arenas) > 1 and (
            len(self._arenas) > KEPT_ARENAS or sum(one.weights.nbytes for one in self._arenas.values()) > KEPT_BYTES
        ):
            self._arenas.popitem(last=False)


def _settled(method: MergeMethod, arena: Arena, buffers: str, anchor: int) -> Mixture:
    """The members of the mixture, each with its running statistics, rounded as they will be written."""
    with torch.inference_mode():
        mixture = method(arena)
        notes = list(mixture.notes)
        for row in mixture.weights:
            notes += [note for note in settle(buffers, arena, method, row, anchor) if note not in notes]
            round_to_dtype(arena.layout, row)
        return replace(mixture, notes=tuple(notes))


def _count(recipe: Recipe) -> int:
    """Pictures that are looked at before a merge, at most."""
    return recipe.calibration.count if recipe.calibration else CALIBRATION_PICTURES


def _keep_rounded(layout: Layout, flat: Tensor, out: Tensor) -> None:
    with torch.inference_mode():
        round_to_dtype(layout, flat)
        out.copy_(flat)


def weights_key(layout: Layout, flat: Tensor, integers: Mapping[str, Tensor]) -> str:
    """SHA-256 of one network's tensors by name: floats as float32, which is what runs, and integers.

    In the order of the names, not of the file: the same network in another order of tensors is the same. Batch counters
    are left out, because no answer depends on them.
    """
    total = hashlib.sha256()
    flat = flat.detach().to("cpu", torch.float32)
    for name in sorted({*layout.by_name, *(one for one in integers if not one.endswith(COUNTER))}):
        values = layout.view(flat, name) if name in layout.by_name else integers[name].cpu()
        total.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        total.update(memoryview(values.contiguous().view(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return total.hexdigest()
