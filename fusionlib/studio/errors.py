"""What a merge gains and loses, picture by picture: measured in the background, then looked into at will."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusionlib.contracts import Progress, State
from fusionlib.data.cache import DecodedCache
from fusionlib.data.chosen import chosen
from fusionlib.data.labels import class_groups
from fusionlib.diagnostics.bootstrap import units_of
from fusionlib.engine.jobs import Job
from fusionlib.errors import UsageError
from fusionlib.imaging.highlight import highlight, outlined
from fusionlib.imaging.png import encode_grey, encode_picture
from fusionlib.measures.bins import check_bins
from fusionlib.measures.error_stack import EVERYTHING, ErrorStack, Pixels
from fusionlib.measures.flicker import flicker, flicker_counts, neighbours
from fusionlib.measures.oracle import oracle
from fusionlib.measures.selective import risk_coverage
from fusionlib.measures.states import MAP
from fusionlib.measures.transitions import Strata, strata_of, transitions_of
from fusionlib.question import Question
from fusionlib.recipe import Recipe
from fusionlib.runs.derived import LABELS, Derivation, Derived, boundary_of, transitions_between
from fusionlib.runs.desk import Plan
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.errors import Errors, Reference
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.error_findings import Findings, bins_of, confident_error_of, loss_of, outcomes_of
from fusionlib.studio.error_plans import errors_plan, errors_study
from fusionlib.studio.error_table import ErrorTable
from fusionlib.studio.mixtures import Mixture
from fusionlib.studio.plans import lease
from fusionlib.studio.thumbnails import Thumbnails
from fusionlib.studio.view import MergeView

FLICKER_VERSION = 1
"""Raised whenever flicker of the same maps comes out otherwise."""

DERIVING = "transitions"
"""What `current` says while states are derived from label maps; its progress is in pictures."""


@dataclass(frozen=True)
class Maps:
    """What is looked at of one picture, all (H, W) uint8: its strata with the truth, labels of reference and merge."""

    strata: Strata
    reference: np.ndarray
    merge: np.ndarray


class ErrorAnalysis(Work):
    """A merge on labelled pictures against a reference: transitions of every picture, kept, and what follows from them.

    `want` begins in the background; `snapshot` says how far it is, and once it is `ready` all else is arithmetic.
    Only pixels of a picture whose label maps had to go take a forward pass again. Raises `DataError` without masks.
    """

    def __init__(
        self,
        study: Errors,
        pictures: DecodedCache,
        runner: Runner,
        thumbnails: Thumbnails,
        plan: Plan | None = None,
    ) -> None:
        runner.need_masks(pictures)
        self.pictures, self.thumbnails, self.derived = pictures, thumbnails, Derived(runner)
        self._store = Store(runner.answers.database)
        self._found: Findings | None = None
        plan = plan or errors_plan(study, pictures)
        networks = [one.content for one in (study.merge, *study.members)]
        hold = lease(runner.desk, plan, *networks, str(study.against), study.data)
        super().__init__(plan.kind, study, runner, {study.data: pictures}, hold)
        self.recall()

    def recall(self) -> None:
        """Take what the tables know, without running anything."""
        super().recall()
        wanted = self._wanted() if self.settled else None
        if self._found is None and wanted is not None:
            found = self.derived.known(wanted, self.pictures)
            self._found = None if found is None else self._gathered(found)
        if self._found is not None and self.state in ("idle", "cancelled"):
            self.state = "done"

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background; nothing where all is known, unless `fresh`."""
        if fresh or self._found is None:
            self.begin(fresh=fresh)

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """The same, and wait. Raises `UsageError` where it failed."""
        self.run(progress=progress, fresh=fresh)

    def _work_off(self, job: Job) -> None:
        super()._work_off(job)
        wanted, self.current = self._wanted(), DERIVING
        assert wanted is not None  # all that was asked is known
        try:
            derived = self.derived.derive(wanted, self.pictures, self.progress, fresh=self.fresh)
            self.flicker()  # takes all maps, which are there now
            self._found = self._gathered(derived)
        finally:
            self.current = ""

    # --- all pictures ---

    @property
    def ready(self) -> bool:
        """Whether the transitions of all pictures are there."""
        return self._found is not None

    @property
    def errors(self) -> Errors:
        """The study."""
        assert isinstance(self.study, Errors)
        return self.study

    @property
    def reference(self) -> Reference | None:
        """What the merge is held against; None while that is not clear."""
        return self.errors.reference(dict(self.known))

    @property
    def table_of_pictures(self) -> ErrorTable:
        """Rankings and filters. Raises `UsageError` before all is `ready`."""
        return self._ready.table

    def snapshot(self) -> dict[str, Any]:
        """State, progress and, once it is `ready`, `summary_of` with figures of confidence and edges, all JSON values.

        `done` and `total` count forward passes, or pictures while `current` is `transitions`.
        """
        found = self._found
        return {
            **self.status(),
            "current": self.current,
            "ready": found is not None,
            "images": len(self.pictures),
            **self.table(),
            **({} if found is None else found.summary),
        }

    def class_rows(self) -> list[dict[str, Any]]:
        """A row per class, see `class_rows`, with `boundary_iou` of both."""
        return self._ready.class_rows

    def group_rows(self) -> list[dict[str, Any]]:
        """The same per category of classes, errors within which count as right; empty where there are none."""
        return self._ready.group_rows

    @property
    def categories(self) -> dict[str, tuple[int, ...]]:
        """Ids of the classes of each category that `group_rows` has."""
        return self._ready.groups

    def confusions(self, pixels: Pixels = EVERYTHING) -> tuple[np.ndarray, np.ndarray]:
        """Of the reference and the merge, on these pixels: (C, C + 1) int64, `[truth][prediction]`."""
        return self._ready.table.stack.only(pixels).confusions()

    def flow(self, truths: Sequence[int] = ()) -> np.ndarray:
        """(C + 1, C + 1) int64: pixels from the reference's label to the merge's, of these classes of the truth."""
        return self._ready.table.stack.flow(truths)

    def rows(self, sort: str = "gain", pixels: Pixels = EVERYTHING, **further: Any) -> list[dict[str, Any]]:
        """Pictures in order, filtered, see `ErrorTable.rows`."""
        return self._ready.table.rows(sort, pixels, **further)

    def pictures_of(self, pixels: Pixels) -> list[dict[str, Any]]:
        """Pictures with such pixels, those with most first, see `ErrorTable.holding`."""
        return self._ready.table.holding(pixels)

    def risk(self) -> dict[str, list[dict[str, float]]]:
        """Risk against coverage of the merge, and of the reference where it is one network: `coverage`, `risk`."""
        curves = {name: risk_coverage(*tables[:2]) for name, tables in self._ready.bins.items()}
        return {
            name: [{"coverage": float(a), "risk": float(b)} for a, b in zip(*curve, strict=True)]
            for name, curve in curves.items()
        }

    def outcomes(self, bins: int) -> np.ndarray | None:
        """(2, bins): the merge's wrong and right pixels by bin of confidence; None where nobody kept them. Raises
        `UsageError` for a number of bins that is not offered.
        """
        found = self._ready.table.outcomes
        return None if found is None else found.sum(0).reshape(2, check_bins(bins), -1).sum(2)

    def flicker(self) -> dict[str, float | None]:
        """Share of the pixels whose truth stays from frame to frame and whose prediction does not, of the merge and,
        where it is one network, of the reference. None where no frames follow one another, or maps had to go.
        """
        pairs = neighbours([self.pictures.group(index) for index in range(len(self.pictures))])
        return {name: self._flicker(recipe, pairs) for name, recipe in self._single.items()}

    # --- one picture ---

    def thumbnail(self, number: int) -> bytes:
        """A picture as a small JPEG."""
        return self.thumbnails.of(self.pictures, self._checked(number))

    def maps(self, number: int) -> Maps:
        """Strata and label maps of a picture; a forward pass where a map had to go."""
        reference = self.reference
        if reference is None:
            raise self._unready()
        truth = self.pictures.load(self._checked(number), whole=True).truth
        assert truth is not None  # the data is labelled
        labels = [self._map(recipe, number) for recipe in (*reference.recipes, self.errors.merge)]
        before = labels[0] if len(labels) == 2 else oracle(labels[:-1], truth)
        return Maps(strata_of(truth), before, labels[-1])

    def mask_of(self, number: int, pixels: Pixels) -> np.ndarray:
        """(H, W) bool: which pixels of a picture are these; of a bin of confidence a forward pass, once."""
        if pixels.bin is not None:
            return pixels.mask_of_bin(self._map(self.errors.merge, self._checked(number), "confidence_bins"))
        found = self.maps(number)
        return pixels.mask(found.strata, found.reference, found.merge)

    def outlined(self, number: int, pixels: Pixels) -> bytes:
        """A picture as PNG with these pixels outlined, the rest dimmed."""
        image = self.pictures.load(self._checked(number), whole=True).image
        return encode_picture(outlined(image, self.mask_of(number, pixels)), lossless=True)

    def highlighted(self, number: int, pixels: Pixels) -> bytes:
        """A picture as PNG with these pixels in the colours of right and wrong (of the merge), the rest dimmed."""
        found, image = self.maps(number), self.pictures.load(number, whole=True).image
        mask = self.mask_of(number, pixels)
        right = mask & (found.merge == found.strata.truth)
        return encode_picture(highlight(image, right, mask & ~right), lossless=True)

    def transition_map(self, number: int) -> bytes:
        """A grey PNG of the numbers in `TRANSITIONS`, 255 at void: what a lens draws."""
        found = self.maps(number)
        return encode_grey(transitions_of(found.strata.truth, found.reference, found.merge))

    def _map(self, recipe: Recipe, number: int, measure: str = LABELS) -> np.ndarray:
        question = Question((recipe,), self.errors.data, measure)
        found = self.runner.pictures(question, self.pictures, [number])
        if found is None:
            alone = chosen(self.pictures, [number])
            found = self.runner.look_into(Question((recipe,), alone.fingerprint(), measure), alone)
        return found[0][MAP].numpy()

    def _checked(self, number: int) -> int:
        if not 0 <= number < len(self.pictures):
            raise UsageError(f"Picture {number}", f"0 to {len(self.pictures) - 1}", "Choose another")
        return number

    # --- gathering ---

    @property
    def _ready(self) -> Findings:
        if self._found is None:
            raise self._unready()
        return self._found

    def _unready(self) -> UsageError:
        return UsageError("Errors that are not measured yet", "the label maps of all pictures", "Measure them first")

    @property
    def _single(self) -> dict[str, Recipe]:
        """The merge, and the reference where it is one network."""
        reference = self.reference
        alone = reference is not None and len(reference.recipes) == 1
        return {**({"reference": reference.recipes[0]} if reference and alone else {}), "merge": self.errors.merge}

    def _wanted(self) -> list[Derivation] | None:
        reference = self.reference
        if reference is None:
            return None
        first, second = self.errors.ends
        return [
            transitions_between(reference.recipes, self.errors.merge),
            transitions_between((first,), second),
            *map(boundary_of, self._single.values()),
        ]

    def _gathered(self, derived: Sequence[Sequence[Any]]) -> Findings:
        classes, count = self.pictures.label_space.names, len(self.pictures)
        stack, ends = (ErrorStack.of(joints, len(classes)) for joints in derived[:2])
        single = self._single
        edges = {name: np.sum(counts, axis=0) for name, counts in zip(single, derived[2:], strict=True)}
        calibration = {name: self._states(recipe, "calibration") for name, recipe in single.items()}
        groups = [self.pictures.group(index) for index in range(count)]
        losses = {name: self._losses(recipe) for name, recipe in single.items()}
        table = ErrorTable(
            [self.pictures.name(index) for index in range(count)],
            groups,
            classes,
            stack,
            ends,
            self._each(calibration["merge"], confident_error_of),
            losses["merge"] - losses["reference"] if "reference" in losses else np.full(count, np.nan),
            outcomes_of(calibration["merge"]),
        )
        bins = {name: bins_of(states) for name, states in calibration.items() if states}
        return Findings(table, edges, bins, units_of(groups), class_groups(self.pictures.label_space))

    def _states(self, recipe: Recipe, measure: str) -> Sequence[State]:
        """States that the pass which left label maps has left beside them; none where somebody removed them since."""
        return self.runner.pictures(Question((recipe,), self.errors.data, measure), self.pictures) or ()

    def _losses(self, recipe: Recipe) -> np.ndarray:
        """Cross-entropy of each picture in nats, NaN where it is undefined."""
        return self._each(self._states(recipe, "loss"), loss_of)

    def _each(self, states: Sequence[State], figure: Callable[[State], float | None]) -> np.ndarray:
        """A figure of each picture, NaN where it is undefined or there are no states."""
        found = [figure(state) for state in states] or [None] * len(self.pictures)
        return np.array([np.nan if one is None else one for one in found], np.float64)

    def _flicker(self, recipe: Recipe, pairs: Sequence[tuple[int, int]]) -> float | None:
        """Looked up, or worked out of all maps and kept."""
        subject = self.runner.subject([recipe], self.pictures)
        if subject is None or not pairs:
            return None
        key = key_of("flicker", FLICKER_VERSION, subject.key, self.errors.data)
        if (known := self._store.get(key)) is not None:
            return known.get("flicker")
        maps = self.runner.pictures(Question((recipe,), self.errors.data, LABELS), self.pictures)
        if maps is None:
            return None
        found = flicker(self._still(maps, pair) for pair in pairs if _alike(self.pictures, pair))
        self._store.put(key, {"flicker": found})
        return found

    def _still(self, maps: Sequence[State], pair: tuple[int, int]) -> np.ndarray:
        truths = [self.pictures.load(index, whole=True).truth for index in pair]
        predictions = [maps[index][MAP].numpy() for index in pair]
        return flicker_counts(tuple(truths), tuple(predictions), self.pictures.label_space.count)  # type: ignore[arg-type]


class ErrorsDesk:
    """The analyses of a process: one per content, whichever page or session asks."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner, self.thumbnails = runner, Thumbnails(folder)
        self._works: WorkDesk[ErrorAnalysis] = WorkDesk()

    def open(
        self, merge: Recipe, names: Sequence[str], pictures: DecodedCache, against: str = "better"
    ) -> ErrorAnalysis:
        """The analysis of a merge whose members are called `names`, with whatever others have measured by now. Raises
        `UsageError` for what cannot be a reference, or a merge of less than two.
        """
        study = errors_study(merge, names, pictures.fingerprint(), against)
        parts = [self._runner.builder.memo(one) for one in study.networks]
        key = key_of("errors", *parts, list(names), pictures.fingerprint(), against)
        found = self._works.open(key, lambda: ErrorAnalysis(study, pictures, self._runner, self.thumbnails))
        if found.state != "running":
            found.recall()
        return found

    def of_view(self, view: MergeView, mixture: Mixture, against: str = "better") -> ErrorAnalysis:
        """The same of the merge that a view shows, on its pictures."""
        return self.open(view.recipe(mixture), view.selection.names, view.need_pictures(), against)


def _alike(pictures: DecodedCache, pair: tuple[int, int]) -> bool:
    return pictures.size(pair[0]) == pictures.size(pair[1])
