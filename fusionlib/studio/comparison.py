"""One table of everything that can be made of a set of checkpoints, measured row by row in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.contracts import STRATEGIES, Progress, Study
from fusionlib.data.cache import DecodedCache
from fusionlib.data.halves import halves
from fusionlib.diagnostics.evidence import Evidence, guesses
from fusionlib.diagnostics.verdict import judge
from fusionlib.engine.jobs import Job, Lease
from fusionlib.errors import UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.merging.build import build_method
from fusionlib.question import Refused, Told, told_of
from fusionlib.recipe import Recipe
from fusionlib.runs.finds import Finds
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.runs.work import Work
from fusionlib.studies.barriers import MatchedPath
from fusionlib.studies.compare import CURVE, FOUND, Row
from fusionlib.studies.compare import Comparison as ComparisonStudy
from fusionlib.studies.curve import best_of
from fusionlib.studio.barriers import barrier_text
from fusionlib.studio.comparison_matches import RowMatches, has_barriers
from fusionlib.studio.comparison_ranking import ranked
from fusionlib.studio.comparison_recipes import with_recipe, without_own_dtype
from fusionlib.studio.comparison_rows import Choices, command, parameters_text, plan, remark, rivals
from fusionlib.studio.costs import Costs
from fusionlib.studio.export import sharing_notes
from fusionlib.studio.finds import Find, found_rows, weights_text
from fusionlib.studio.intervals import Intervals
from fusionlib.studio.known_curves import KnownCurve, KnownCurves, chosen_on_curve, curve_row
from fusionlib.studio.outlook import OutlookDesk, averages, gravest
from fusionlib.studio.plans import lease, run_key, set_plan

GUESSES = "guesses: no better than the commonest class everywhere"
FIGURES = ("miou", "pixel_accuracy", "loss", "ece", "kl", "precision", "recall")


class Comparison(Work):
    """K >= 2 checkpoints on labelled pictures. Every row is stored as soon as it is measured, and never measured again.

    A row that cannot be measured says why and the others go on. Raises `UsageError` for wrong choices, `DataError`
    without masks, `ArchitectureError` where no network is known for any of them.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        pictures: DecodedCache,
        choices: Choices,
        *,
        runner: Runner,
        outlooks: OutlookDesk | None = None,
        curves: KnownCurves | None = None,
        intervals: Intervals | None = None,
    ) -> None:
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to compare", "Name another checkpoint")
        runner.need_masks(pictures)
        self.checkpoints, self.pictures = tuple(checkpoints), pictures
        self.choices = without_own_dtype(choices.checked(len(checkpoints)), checkpoints)
        self.outlooks = outlooks or OutlookDesk()
        self._store = Store(runner.answers.database)
        self.intervals = intervals or Intervals(runner)
        self._curves = curves or KnownCurves(runner, self._store, self.intervals)
        self._finds, self._found = Finds(runner.answers.database), dict[str, Find]()  # what was found, by row
        self.costs = Costs(runner, self._store, pictures)
        self._between: dict[tuple[int, ...], KnownCurve] = {}  # by the numbers of two
        runner.builder.merger.sources.know(checkpoints, pictures)
        if not any(map(runner.builder.merger.recognised, checkpoints)):
            raise unknown_network(checkpoints)
        self.names = _unique([item.name for item in checkpoints])
        self.files: Sequence[str] = [f"{item.name}{item.path.suffix}" for item in checkpoints]
        self.data: Sequence[str] = ("--data", "SPEC")  # both as they stand in the commands of `snapshot`
        title = "comparison " + ", ".join(item.name for item in checkpoints)
        fit_on = halves(pictures)[:1] if "temperature" in self.choices.groups and len(pictures) > 1 else ()
        self._fit_on = {one.fingerprint(): one for one in fit_on}
        datasets = {pictures.fingerprint(): pictures, **self._fit_on}
        super().__init__(title, self._planned(), runner, datasets, self._lease(runner))
        self._matches = RowMatches(runner, self._store)
        self.recall()

    def recall(self) -> None:
        """Look into the store for rows without figures, for curves and finds: others may have made them since."""
        self._look_at_finds()
        super().recall()
        self._look_at_curves()
        for row in self.rows():
            if has_barriers(row) and self._answers(row) and not self._recall_match(self.recipe_of(row)):
                self.known = {one: told for one, told in self.known.items() if row.recipe not in one.recipes}
        super().recall()
        if self.state in ("idle", "cancelled") and self.settled:
            self.state = "done"

    def rows(self) -> list[Row]:
        """The rows known so far: those that depend on the scores of the single networks come once these are
        measured.
        """
        return self._study.all_rows(self.known)

    def begin(self, study: Study | None = None, *, fresh: bool = False) -> None:
        """As `Work.begin`; with `fresh` curves that others have measured do not count either."""
        if fresh and self.state != "running":
            self._between, self.study = {}, replace(self._study, curves=())
        super().begin(study, fresh=fresh)

    @property
    def cut_short(self) -> bool:
        """Whether a run of this comparison was begun, here or in another process, and did not come to its end."""
        state = self.state if self.state != "idle" else self.runner.desk.state(self._run_key)
        return state in ("cancelled", "failed", "stale")

    def outlook(self) -> dict[str, Any] | None:
        """The gravest verdict among the pairs, with what is measured of their curves; None where numbers are not
        finite, or only what is shared is merged.
        """
        if self.choices.sharing is not None:
            return None
        judged = self.outlooks.of_files(self.checkpoints)
        pairs = combinations(range(len(self.checkpoints)), 2)
        found = [(names, self._measured(pair, known)) for pair, (names, known) in zip(pairs, judged, strict=False)]
        return gravest(found) if found else None

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background. `fresh` measures known rows again."""
        self.begin(fresh=fresh)

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """The same, and wait. Raises `UsageError` where the table as a whole failed."""
        self.run(progress=progress, fresh=fresh)

    def snapshot(self) -> dict[str, Any]:
        """State, progress (in forward passes) and all rows as JSON values; `best` is the row with the highest mIoU."""
        rows, known = self.rows(), dict(self.known)
        chances = self._chances(rows)
        scores = self._study.scores(known)
        best_single = None if scores is None else max((score for score in scores if score >= 0), default=None)
        listed = [self._listed(row, best_single, chances.get(row.name)) for row in rows]
        best = best_of(listed, "name")
        any_figures = next((found for row in rows if isinstance(found := self._study.outcome(row, known), dict)), None)
        return {
            **self.status(),
            "current": self.current if self.state == "running" else None,
            "images": len(self.pictures),
            "waiting": self._study.rows_to_come(known),
            "rows": listed,
            "best": best["name"] if best else None,
            "best_single_miou": best_single,
            "warnings": annotation_warnings(any_figures, self.pictures.label_space.names) if any_figures else [],
        }

    def measured(self) -> list[Recipe]:
        """The networks whose figures are known, in the order of their rows: what a forward pass is measured of."""
        return [row.recipe for row in self.rows() if row.recipe is not None and self._answers(row)]

    def strategies(self) -> tuple[list[str], list[str]]:
        """Strategies whose searches among these, or some of them, are finished; and those that are left for the set."""
        tried = {find.strategy for find in self._found.values()}
        kinds, count = tuple(STRATEGIES.items()), len(self.checkpoints)
        fit = [name for name, kind in kinds if kind.fewest <= count <= kind.most]
        return [name for name, _ in kinds if name in tried], [name for name in fit if name not in tried]

    def figures(self, row: Row) -> dict[str, Any] | None:
        """All that is known of a row; None until it is measured."""
        found = self._study.outcome(row, self.known)
        return found if isinstance(found, dict) else None

    def builds(self) -> dict[str, str]:
        """Build keys of the rows that are measured, by name: equal ones are the same network."""
        answers = {row.name: self._answers(row) for row in self.rows() if row.recipe is not None}
        return {name: told[0].builds[0] for name, told in answers.items() if told}

    def ranked(self, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of `snapshot`, the best first and those of one network as one, and apart what cannot be measured."""
        return ranked(rows, self.builds())

    def whole(self) -> set[str]:
        """Names of the rows that merge all of their members' tensors, and not only what these share, and that a view of
        these pictures would make as well.
        """
        merged = (row for row in self.rows() if row.recipe is not None and row.method != "single")
        whole = (row for row in merged if self.recipe_of(row).shared is None)
        return {row.name for row in whole if row.group != FOUND or self._found[row.name].seen_alike(self.pictures)}

    def _chances(self, rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
        """The interval around the gain of each measured merge over the best single network, by the name of its row."""
        measured = [row for row in rows if row.recipe is not None and self._answers(row)]
        alone = [self.recipe_of(row) for row in measured if row.group == "single"]
        merges = [row for row in measured if row.group != "single"]
        found = self.intervals.each(alone, [self.recipe_of(row) for row in merges], self.pictures)
        return {row.name: one for row, one in zip(merges, found, strict=True) if one is not None}

    def _listed(self, row: Row, best_single: float | None, chance: tuple[float, float] | None) -> dict[str, Any]:
        found, told = self._study.outcome(row, self.known), self._answers(row)
        figures: dict[str, Any] = dict.fromkeys((*FIGURES, "guesses"))
        if isinstance(found, dict):
            figures = _compact(found)
        gain = None if figures["miou"] is None or best_single is None else 100 * (figures["miou"] - best_single)
        barriers = self._barriers(row)
        merged = row.method != "single" and row.networks == 1
        return {
            "name": row.name,
            "group": row.group,
            "method": row.method,
            "parameters": parameters_text(row),
            "buffers": row.buffers,
            "members": [self.names[number] for number in row.members],
            "anchor": self.names[row.members[0]],
            **figures,
            "forwards": row.networks,
            **self.costs.of(row.recipe),
            "merge_seconds": told[0].seconds if told and merged else None,
            "evaluation_seconds": _seconds(told),
            "gain": gain,
            "interval": chance and [100 * end for end in chance],
            "inside_noise": None if chance is None else chance[0] <= 0 <= chance[1],
            "select": dict(self._found[row.name].select) if row.group == FOUND else None,
            "state": self._state(row, found),
            "guesses": bool(figures["guesses"]),
            "note": found.reason if isinstance(found, Refused) else self._note_on(row, told, bool(figures["guesses"])),
            "verdict": self._verdict(row),
            "barriers": barriers,
            "command": self._command(row),
        }

    def _command(self, row: Row) -> str | None:
        if row.group != FOUND or row.recipe is None:
            return command(row, self.files, self.data, self.choices.sharing, self.choices.dtype)
        used = row.recipe.calibration
        data = self.data if used is None else ("--data", used.data, "--count", str(used.count))
        return command(row, self.files, data, None, row.recipe.dtype)

    def _state(self, row: Row, found: Any) -> str:
        if isinstance(found, Refused):
            return "failed" if found.applies else "not applicable"
        if found is not None:
            return "measured"
        return "running" if self.state == "running" and row.name == self.current else "waiting"

    def _note_on(self, row: Row, told: Sequence[Told] | None, guesses: bool) -> str:
        texts = {entry["name"]: barrier_text(entry) for entry in self._barriers(row)}
        notes = [
            "; ".join(filter(None, (note, texts.get(note.partition(":")[0], ""))))
            for note in (told[0].notes if told else ())
        ]
        shared = self._shared_note(row) if told else ()
        fitted = (f"T fitted on {len(one)} of {len(self.pictures)} pictures" for one in self._fit_on.values())
        shared = (*shared, *fitted) if row.group == "temperature" else shared
        if row.group == FOUND:
            shared = (weights_text(row, self.names), self._found[row.name].remark(self.pictures))
        if row.group == CURVE:
            shared = (chosen_on_curve(self._between[row.members], len(self.pictures)),)
        remarks = (GUESSES if guesses else "", remark(row, self.names, self.choices), *shared, *notes)
        return "; ".join(filter(None, remarks))

    def _verdict(self, row: Row) -> dict[str, Any] | None:
        """What weights, and the curve where it is measured, say of a merge of two, as far as they have been read."""
        if len(row.members) != 2 or not averages(row.method) or self.choices.sharing is not None:
            return None
        found = self.outlooks.remembered(*(self.checkpoints[number].fingerprint for number in row.members))
        verdict = judge(self._measured(tuple(sorted(row.members)), found)) if found else None
        return verdict and {"level": verdict.level, "line": verdict.line}

    def _measured(self, pair: tuple[int, ...], known: Evidence) -> Evidence:
        """What is known of two by their numbers, with their curve as far as somebody has measured it."""
        curve = self._between.get(pair)
        names = [self.names[number] for number in pair]
        return known if curve is None else self._curves.evidence(known, curve, names, self.pictures)

    def _look_at_finds(self) -> None:
        """Take what searches have found as rows."""
        if self.choices.sharing is None and "searches" in self.choices.groups:
            found = found_rows(self._finds, self.checkpoints)
            self._found = {row.name: find for row, find in found}
            self.study = replace(self._study, found=tuple(row for row, _ in found))

    def _look_at_curves(self) -> None:
        """Take what is known of the curve between any two, and the best merge of each as a row."""
        if self.choices.sharing is not None:
            return
        for pair in combinations(range(len(self.checkpoints)), 2):
            files = [self.checkpoints[number] for number in pair]
            self._between[pair] = self._curves.of(files, self.choices.buffers, self.choices.dtype, self.pictures)
        rows = [row for pair, curve in self._between.items() if (row := curve_row(pair, curve, self.names))]
        for row in rows:
            self.known |= self._between[row.members].answers(self.recipe_of(row))
        self.study = replace(self._study, curves=tuple(rows))

    def told(self) -> None:
        """Where a match is made, its paths are to be measured as well."""
        for row in self.rows():
            if has_barriers(row) and self._answers(row) and not self._matches.has(self.recipe_of(row)):
                self._add_paths(self._matches.make(self.recipe_of(row)))

    def _work_off(self, job: Job) -> None:
        self.outlooks.of_files(self.checkpoints)
        try:
            super()._work_off(job)
        finally:
            self.runner.builder.merger.forget()

    def _recall_match(self, recipe: Recipe) -> bool:
        """Whether it is known what the match of a network moved; its paths are measured then as well."""
        if not self._matches.has(recipe):
            paths = self._matches.recall(recipe)
            if paths is None:
                return False
            self._add_paths(paths)
        return True

    def _add_paths(self, paths: Sequence[MatchedPath]) -> None:
        self.study = replace(self._study, paths=(*self._study.paths, *paths))

    def _barriers(self, row: Row) -> list[dict[str, Any]]:
        """What the match of a row did to the barriers; nothing until all of it is known."""
        if not has_barriers(row):
            return []
        return self._matches.barriers(self.recipe_of(row), self._study.data, self.known, len(self.pictures))

    def _shared_note(self, row: Row) -> tuple[str, ...]:
        recipe = self.recipe_of(row)
        if recipe.shared is None:
            return ()
        merger = self.runner.builder.merger
        anchor = merger.anchor(recipe, build_method(recipe.method, recipe.parameters))
        return sharing_notes(merger.arena(recipe, anchor), anchor)

    @property
    def _study(self) -> ComparisonStudy:
        assert isinstance(self.study, ComparisonStudy)
        return self.study

    def _answers(self, row: Row) -> list[Told] | None:
        step = self._study.step(row)
        return None if step is None else told_of(step.questions, self.known)

    def _planned(self) -> ComparisonStudy:
        count, choices = len(self.checkpoints), self.choices
        write = partial(with_recipe, checkpoints=self.checkpoints, choices=choices, pictures=self.pictures)
        return ComparisonStudy(
            tuple(self.names),
            tuple(map(write, plan(self.names, choices))),
            self.pictures.fingerprint(),
            tuple(map(write, rivals(count, choices))),
            choices.groups,
            choices.anchor,
            fit_on=next(iter(self._fit_on), ""),
        )

    def _lease(self, runner: Runner) -> Lease:
        files = [item.path for item in self.checkpoints]
        return lease(runner.desk, set_plan("compare", files, self.pictures, *self.choices.options), *self._subject)

    @property
    def _subject(self) -> tuple[str, ...]:
        """What tells this comparison's run from those of others."""
        prints = (item.fingerprint for item in self.checkpoints)
        return (*prints, self.pictures.fingerprint(), str(self.choices))

    @property
    def _run_key(self) -> str:
        return run_key("compare", self._subject)

    def recipe_of(self, row: Row) -> Recipe:
        """The network of a row that can be measured."""
        assert row.recipe is not None
        return row.recipe

    def recipe(self, name: str) -> Recipe:
        """How to make the merged network of a row again.

        Raises `UsageError` for a row that is not one merged network.
        """
        row = next((row for row in self.rows() if row.name == name), None)
        if row is None or row.obstacle or row.method == "single" or row.networks > 1:
            raise UsageError(f"Row {name[:80]!r}", "a row that is one merged network", "Choose another row")
        return self.recipe_of(row)

    def members(self, row: Row | str) -> list[Checkpoint]:
        """The checkpoints of a row, the anchor first."""
        found = next(one for one in self.rows() if one.name == row) if isinstance(row, str) else row
        return [self.checkpoints[number] for number in found.members]


def _seconds(told: Sequence[Told] | None) -> float | None:
    """How long a row was measured here; None for one whose figures were known, or are not yet."""
    return max((one.took for one in told or ()), default=0.0) or None


def _compact(figures: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a measurement; `precision` and `recall` are means over the classes that have one."""
    calibration = calibration_summary(figures["calibration"]) if "calibration" in figures else {}
    return {
        **{name: figures[name] for name in ("miou", "pixel_accuracy", "loss")},
        "ece": calibration.get("ece_sample_weighted"),
        "kl": calibration.get("kl"),
        "precision": _mean(figures["precision"]),
        "recall": _mean(figures["recall"]),
        "guesses": guesses(figures),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _unique(names: Sequence[str]) -> list[str]:
    """Names made different by a number where two files have the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]
