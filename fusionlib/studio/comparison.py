"""One table of everything that can be made of a set of checkpoints, measured row by row in the background."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fusionlib.architectures.nearest import unknown_network
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import unlike
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.evidence import guesses
from fusionlib.diagnostics.verdict import judge
from fusionlib.engine.jobs import Job
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import Cancelled, DataError, FusionError, UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.question import (
    Question,
    Told,
    figures_of,
)
from fusionlib.recipe import Recipe
from fusionlib.runs.keys import key_of
from fusionlib.runs.runner import Runner
from fusionlib.runs.store import Store
from fusionlib.studies.curve import CALIBRATED
from fusionlib.studio.barriers import ALPHAS, barrier_text, moves_units, recipe_barriers
from fusionlib.studio.comparison_rows import Choices, Row, command, deferred, parameters_text, plan, remark
from fusionlib.studio.export import sharing_notes
from fusionlib.studio.outlook import OutlookDesk, averages
from fusionlib.studio.plans import lease, set_plan

GUESSES = "guesses: no better than the commonest class everywhere"
FIGURES = ("miou", "pixel_accuracy", "loss", "ece")


class Comparison(Job):
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
    ) -> None:
        super().__init__("comparison " + ", ".join(item.name for item in checkpoints))
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to compare", "Name another checkpoint")
        if not pictures.labelled:
            raise DataError(
                f"{pictures.title} has no masks", "labelled pictures to measure on", "Choose data with masks"
            )
        self.checkpoints, self.pictures = tuple(checkpoints), pictures
        self.choices = _without_own_dtype(choices.checked(len(checkpoints)), checkpoints)
        self.runner, self.outlooks = runner, outlooks or OutlookDesk()
        self._store = Store(runner.answers.database)
        runner.builder.merger.sources.know(checkpoints, pictures)
        if not any(map(runner.builder.merger.recognised, checkpoints)):
            raise unknown_network(checkpoints)
        self.names = _unique([item.name for item in checkpoints])
        self.files: Sequence[str] = [f"{item.name}{item.path.suffix}" for item in checkpoints]
        self.data: Sequence[str] = ("--data", "SPEC")  # both as they stand in the commands of `snapshot`
        self.current: str | None = None
        prints = [item.fingerprint for item in checkpoints]
        plan = set_plan("compare", [item.path for item in checkpoints], pictures, *self.choices.options)
        self.lease = lease(runner.desk, plan, *prints, pictures.fingerprint(), str(self.choices))
        self._recipes: dict[tuple, Recipe] = {}
        self._found: dict[str, dict[str, Any]] = {}  # figures, or the reason why there are none, by recipe
        self.recall()

    def recall(self) -> None:
        """Look into the store for rows without figures: another comparison may have measured them since."""
        for _ in range(2):  # once more, because known single networks bring further rows
            for row in self.rows():
                if not self._settled(row):
                    self._recall(row)
        if (
            self.state in ("idle", "cancelled")
            and all(self._settled(row) for row in self.rows())
            and self._scores() is not None
        ):
            self.state = "done"

    def rows(self) -> list[Row]:
        """The rows known so far: those that depend on the scores of the single networks come once these are
        measured.
        """
        return plan(self.names, self.choices, self._scores())

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background. `fresh` measures known rows again."""
        if fresh and self.state != "running":
            self._found.clear()
        self.start(lambda _: self._measure_all(fresh))

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """The same, and wait. Raises `UsageError` where the table as a whole failed."""
        known = {} if fresh else {self._key(row): self.recipe_of(row) for row in self.rows() if self._figures(row)}
        self.runner.spare(known.values(), self.pictures)
        self.want(fresh=fresh)
        self.follow(progress, "a comparison that runs through")

    def snapshot(self) -> dict[str, Any]:
        """State, progress (in forward passes) and all rows as JSON values; `best` is the row with the highest mIoU."""
        rows = self.rows()
        singles = [
            found["miou"]
            for row in rows
            if row.group == "single"
            if (found := self._figures(row)) and found["miou"] is not None
        ]
        best_single = max(singles, default=None) if self._scores() is not None else None
        listed = [self._listed(row, best_single) for row in rows]
        measured = [row for row in listed if row["miou"] is not None]
        best = max(measured, key=lambda row: row["miou"], default=None)
        waiting = 0 if self._scores() is not None else deferred(len(self.names), self.choices)
        any_figures = next((found for row in rows if (found := self._figures(row))), None)
        return {
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "seconds_left": self.seconds_left,
            "current": self.current if self.state == "running" else None,
            "images": len(self.pictures),
            "waiting": waiting,
            "rows": listed,
            "best": best["name"] if best else None,
            "best_single_miou": best_single,
            "warnings": annotation_warnings(any_figures, self.pictures.label_space.names),
        }

    def _listed(self, row: Row, best_single: float | None) -> dict[str, Any]:
        found = self._found.get(self._key(row), {})
        figures = {name: found.get(name) for name in FIGURES}
        gain = None if figures["miou"] is None or best_single is None else 100 * (figures["miou"] - best_single)
        reason = row.obstacle or found.get("reason")
        waiting = "running" if self.state == "running" and row.name == self.current else "waiting"
        state = "not applicable" if row.obstacle else found.get("state", waiting)
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
            "merge_seconds": found.get("merge_seconds"),
            "evaluation_seconds": found.get("evaluation_seconds"),
            "gain": gain,
            "state": state,
            "guesses": found.get("guesses", False),
            "note": (
                reason
                or "; ".join(
                    filter(
                        None,
                        (
                            GUESSES if found.get("guesses") else "",
                            remark(row, self.names, self.choices),
                            *found.get("notes", ()),
                        ),
                    )
                )
            ),
            "verdict": self._verdict(row),
            "barriers": found.get("barriers", []),
            "command": command(row, self.files, self.data, self.choices.sharing, self.choices.dtype),
        }

    def _verdict(self, row: Row) -> dict[str, Any] | None:
        """What the weights say of a merge of two, as far as they have been read."""
        if len(row.members) != 2 or not averages(row.method) or self.choices.sharing is not None:
            return None
        found = self.outlooks.remembered(*(self.checkpoints[number].fingerprint for number in row.members))
        verdict = judge(found) if found else None
        return verdict and {"level": verdict.level, "line": verdict.line}

    def _measure_all(self, fresh: bool) -> None:
        done = 0
        self.outlooks.of_files(self.checkpoints)
        try:
            self._decode(self._work_left(self.rows()))
            tried: set[str] = set()
            while True:
                left = [row for row in self.rows() if not self._settled(row) and self._key(row) not in tried]
                if not left:
                    break
                row = left[0]
                tried.add(self._key(row))
                if fresh or not self._recall(row):
                    later = self._work_left([other for other in left if self._key(other) not in tried])
                    done = self._measure_row(row, done, later, fresh)
        finally:
            self.runner.builder.merger.forget()
            self.current = None

    def _measure_row(self, row: Row, done: int, later: int, fresh: bool) -> int:
        """Measure one row; what goes wrong is noted in it, and tried again at the next run.

        Forward passes done by then.
        """
        self.current, work = row.name, self._work(row)

        def along(part: int, whole: int) -> None:
            self.progress(done + part, done + max(whole, work) + later)

        along(0, 0)
        begun = time.perf_counter()
        try:
            recipe = self.recipe_of(row)
            told = self._ask(recipe, along, fresh)
            barriers = self._barriers(row, recipe, lambda part, whole: along(work + part, work + whole), fresh)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - one row may fail for any reason; the others go on and this one says which
            self._found[self._key(row)] = _refused(
                error, "not applicable" if isinstance(error, FusionError) else "failed"
            )
            return done
        took = time.perf_counter() - begun - told[0].seconds
        self._found[self._key(row)] = self._described(row, told, barriers, took)
        return self.done

    def _ask(self, recipe: Recipe, progress: Progress | None, fresh: bool = False) -> list[Told]:
        questions = [Question((recipe,), self.pictures.fingerprint(), name) for name in CALIBRATED]
        return self.runner.ask(questions, self.pictures, progress, fresh=fresh)

    def _described(
        self, row: Row, told: Sequence[Told], barriers: Sequence[dict[str, Any]], seconds: float | None
    ) -> dict[str, Any]:
        """What the table shows of a row that is measured."""
        texts = {entry["name"]: barrier_text(entry) for entry in barriers}
        notes = [
            "; ".join(filter(None, (note, texts.get(note.partition(":")[0], "")))) if barriers else note
            for note in told[0].notes
        ]
        merged = row.method != "single" and row.networks == 1
        return {
            **_compact(figures_of(told)),
            "merge_seconds": told[0].seconds if merged else None,
            "evaluation_seconds": seconds,
            "notes": [*self._shared_note(row), *notes],
            "barriers": list(barriers),
        }

    def _shared_note(self, row: Row) -> tuple[str, ...]:
        recipe = self.recipe_of(row)
        if recipe.shared is None:
            return ()
        merger = self.runner.builder.merger
        anchor = merger.anchor(recipe, build_method(recipe.method, recipe.parameters))
        return sharing_notes(merger.arena(recipe, anchor), anchor)

    def _barriers(self, row: Row, recipe: Recipe, progress: Progress, fresh: bool) -> list[dict[str, Any]]:
        """What a match did to the barriers; kept, because to find it out again takes a match."""
        if not _has_barriers(row):
            return []
        found = recipe_barriers(recipe, self.runner, self.pictures, progress, fresh=fresh)
        self._store.put(self._barriers_key(recipe), {"barriers": found})
        return found

    def _barriers_key(self, recipe: Recipe) -> str:
        builder = self.runner.builder
        return key_of("barriers", ALPHAS, builder.memo(recipe), self.pictures.fingerprint(), builder.precision)

    def _decode(self, total: int) -> None:
        """Read all pictures before the clock starts, so that evaluation seconds are those of forward passes."""
        self.current = "Reading pictures"
        for index in range(len(self.pictures)):
            self.progress(0, total)
            self.pictures.load(index)
        self._begun = time.monotonic()

    def _work(self, row: Row) -> int:
        """Forward passes' worth of work, as far as it is known beforehand."""
        count = len(self.pictures)
        ahead = 0 if row.obstacle else self.runner.builder.merger.preparing(self.recipe_of(row), count)
        return ahead + count * row.networks

    def _work_left(self, rows: Sequence[Row]) -> int:
        """Forward passes to come, rows included that wait for scores."""
        later = 0 if self._scores() is not None else deferred(len(self.names), self.choices)
        known = {self._key(row): self._work(row) for row in rows if not self._settled(row)}
        return sum(known.values()) + later * len(self.pictures)

    def _settled(self, row: Row) -> bool:
        return bool(row.obstacle) or self._figures(row) is not None

    def _figures(self, row: Row) -> dict[str, Any] | None:
        found = self._found.get(self._key(row))
        return found if found and found["state"] == "measured" else None

    def _scores(self) -> list[float | None] | None:
        """mIoU of the single networks, None where one cannot be measured; None altogether until all were tried."""
        found = [
            self._found.get(self._key(Row("single", name, "single", (number,))))
            for number, name in enumerate(self.names)
        ]
        return None if any(one is None for one in found) else [one.get("miou") for one in found]  # type: ignore[union-attr]

    def _key(self, row: Row) -> str:
        """What tells a row's network from others: rows of one network are measured once, whatever group asks."""
        return row.name if row.obstacle else self.recipe_of(row).content

    def recipe_of(self, row: Row) -> Recipe:
        """The network of a row. Raises what writing a recipe raises."""
        key = (row.method, row.members, row.buffers, json.dumps(row.parameters, sort_keys=True, default=list))
        if key not in self._recipes:
            self._recipes[key] = self._written(row)
        return self._recipes[key]

    def _written(self, row: Row) -> Recipe:
        members = [self.checkpoints[number] for number in row.members]
        if row.method == "single":
            return recipe_alone(members[0])
        sharing, method = self.choices.sharing, build_method(row.method, row.parameters)
        if method.whole_checkpoints:  # every member runs by itself
            return write_recipe(members, row.method, dict(row.parameters), "average")
        if sharing is None and method.takes_unlike:
            sharing = unlike(members, anchor_of(method, len(members)))
        return write_recipe(
            members,
            row.method,
            dict(row.parameters),
            row.buffers,
            self.pictures,
            sharing=sharing,
            dtype=self.choices.dtype,
        )

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

    def _recall(self, row: Row) -> bool:
        """Take what is known of a row, without running anything; whether it was."""
        try:
            recipe = self.recipe_of(row)
            questions = [Question((recipe,), self.pictures.fingerprint(), name) for name in CALIBRATED]
            told = [one for one in self.runner.known(questions, self.pictures) if one is not None]
            if len(told) < len(questions):
                return False
            barriers = self._known_barriers(row, recipe)
        except FusionError:
            return False  # measuring says why
        if barriers is None:
            return False
        self._found[self._key(row)] = self._described(row, told, barriers, None)
        return True

    def _known_barriers(self, row: Row, recipe: Recipe) -> list[dict[str, Any]] | None:
        """Barriers of a row as they were found; None where they are to be."""
        if not _has_barriers(row):
            return []
        known = self._store.get(self._barriers_key(recipe))
        return None if known is None else known["barriers"]


def _has_barriers(row: Row) -> bool:
    return row.method != "single" and moves_units(build_method(row.method, row.parameters))


def _without_own_dtype(choices: Choices, checkpoints: Sequence[Checkpoint]) -> Choices:
    """A dtype that all floating tensors have anyway changes no row: it is left out, so that the rows stay known."""
    kinds = {info.dtype for item in checkpoints for info in item.tensors.values() if info.dtype.is_floating_point}
    return (
        replace(choices, dtype=None)
        if written_dtype(choices.dtype) is None or kinds == {written_dtype(choices.dtype)}
        else choices
    )


def _compact(figures: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a measurement."""
    taken = ("miou", "pixel_accuracy", "loss", "support", "void")
    return {
        "state": "measured",
        **{name: figures[name] for name in taken},
        "ece": calibration_summary(figures["calibration"])["ece_sample_weighted"],
        "guesses": guesses(figures),
    }


def _refused(error: Exception, state: str) -> dict[str, Any]:
    """What has become of a row that cannot be measured."""
    return {
        "state": state,
        "reason": error.one_line if isinstance(error, FusionError) else f"{type(error).__name__}: {error}",
    }


def _unique(names: Sequence[str]) -> list[str]:
    """Names made different by a number where two files have the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]
