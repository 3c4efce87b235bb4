"""One table of everything that can be made of a set of checkpoints, measured row by row in the background."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from fusionlib.checkpoints.nearest import unknown_network
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.recipe import Recipe
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import unlike
from fusionlib.contracts import METHODS, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.evidence import guesses
from fusionlib.diagnostics.verdict import judge
from fusionlib.engine.blend import CALIBRATION_PICTURES
from fusionlib.engine.identity import runs_of
from fusionlib.engine.jobs import Job
from fusionlib.engine.measure import Measurement
from fusionlib.engine.worker import Worker
from fusionlib.errors import Cancelled, DataError, FusionError, UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.measures.calibration_summary import calibration_summary
from fusionlib.merging.build import build_method
from fusionlib.runs.keys import content_key
from fusionlib.runs.store import Store
from fusionlib.studio.barriers import ALPHAS
from fusionlib.studio.calibrate import CALIBRATION_METERS
from fusionlib.studio.comparison_networks import Built, RowNetworks
from fusionlib.studio.comparison_rows import Choices, Row, command, deferred, parameters_text, plan, remark
from fusionlib.studio.export import write_recipe
from fusionlib.studio.information import InformationCache
from fusionlib.studio.outlook import OutlookDesk, averages

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
        worker: Worker,
        store: Store,
        device: torch.device,
        precision: str,
        cache: InformationCache | None = None,
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
        self.worker, self.store, self.outlooks = worker, store, outlooks or OutlookDesk()
        self.networks = RowNetworks(
            checkpoints,
            pictures,
            worker=worker,
            store=store,
            device=device,
            precision=precision,
            cache=cache,
            sharing=self.choices.sharing,
            dtype=self.choices.dtype,
        )
        if not any(self.networks.known):
            raise unknown_network(checkpoints)
        self.names = _unique([item.name for item in checkpoints])
        self.files: Sequence[str] = [f"{item.name}{item.path.suffix}" for item in checkpoints]
        self.data: Sequence[str] = ("--data", "SPEC")  # both as they stand in the commands of `snapshot`
        self.current: str | None = None
        self._data = pictures.fingerprint()
        self._found: dict[str, dict[str, Any]] = {}  # figures, or the reason why there are none, by content key
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
            "forwards": len(row.members) if row.method == "ensemble" else 1,
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
            self.networks.forget()
            self.current = None

    def _measure_row(self, row: Row, done: int, later: int, fresh: bool) -> int:
        """Measure and store one row; what goes wrong is noted in it, and tried again at the next run.

        Forward passes done by then.
        """
        work, pictures, self.current = self._work(row), len(self.pictures), row.name

        def prepare(part: int, whole: int) -> None:
            self.progress(done + part, done + whole + work + later)

        prepare(0, self.networks.preparing(row))
        try:
            built = self.networks.of(row, prepare, fresh=fresh)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - one row may fail for any reason; the others go on and this one says which
            self._found[self._key(row)] = _refused(
                error, "not applicable" if isinstance(error, FusionError) else "failed"
            )
            return done
        base, begun = self.done, time.perf_counter()

        def measure(part: int, _: int) -> None:
            self.progress(base + part * work // pictures, base + work + later)

        measure(0, pictures)
        try:
            figures = Measurement(built.network, built.space, self.pictures, meters=CALIBRATION_METERS).run(
                self.worker, measure
            )
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._found[self._key(row)] = _refused(error, "failed")
            return self.done
        self._keep(row, figures, built, time.perf_counter() - begun)
        return self.done

    def _decode(self, total: int) -> None:
        """Read all pictures before the clock starts, so that evaluation seconds are those of forward passes."""
        self.current = "Reading pictures"
        for index in range(len(self.pictures)):
            self.progress(0, total)
            self.pictures.load(index)
        self._begun = time.monotonic()

    def _work(self, row: Row) -> int:
        return len(self.pictures) * (len(row.members) if row.method == "ensemble" else 1)

    def _work_left(self, rows: Sequence[Row]) -> int:
        """Forward passes to come, rows included that wait for scores."""
        later = 0 if self._scores() is not None else deferred(len(self.names), self.choices)
        known = {
            self._key(row): self.networks.preparing(row) + self._work(row) for row in rows if not self._settled(row)
        }
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
        """Content key of a row: equal networks have one row's worth of measuring, whatever group asks for them."""
        prints = [self.checkpoints[number].fingerprint for number in row.members]
        method, parameters = row.method, dict(row.parameters)
        if method == "linear" and not row.obstacle:
            equal = len(set(build_method(method, parameters).shares(len(prints)))) == 1  # which is the isotropic merge
            method, parameters = ("isotropic", {}) if equal else (method, parameters)
        return content_key(
            "comparison",
            self._runs(row),
            checkpoints=prints,
            method=method,
            parameters=parameters,
            buffers=row.buffers,
            data=self._data,
            meters=CALIBRATION_METERS,
            count=CALIBRATION_PICTURES,
            **({"barriers": ALPHAS} if method == "rebasin" else {}),
            **self._choices_key(row),
        )

    def _runs(self, row: Row) -> dict[str, Any]:
        networks = self.networks
        return runs_of(
            [networks.known[number] for number in row.members],
            self.pictures.label_space,
            networks.precision,
            networks.device,
        )

    def _choices_key(self, row: Row) -> dict[str, Any]:
        """What of the choices changes the merge of a row, where it is not the default."""
        sharing, dtype = self.choices.sharing, self.choices.dtype
        if row.method in ("single", "ensemble"):
            return {}
        return {
            **({} if sharing is None else {"rename": list(sharing.rename.items()), "exclude": sharing.exclude}),
            **({} if dtype is None else {"dtype": dtype}),
        }

    def recipe(self, name: str) -> Recipe:
        """How to make the merged network of a row again.

        Raises `UsageError` for a row that is not one merged network.
        """
        row = next((row for row in self.rows() if row.name == name), None)
        if row is None or row.obstacle or row.method in ("single", "ensemble"):
            raise UsageError(f"Row {name[:80]!r}", "a row that is one merged network", "Choose another row")
        members = self.members(row)
        sharing = self.choices.sharing
        if sharing is None and getattr(METHODS.get(row.method), "takes_unlike", False):
            sharing = unlike(members)
        return write_recipe(
            members,
            row.method,
            dict(row.parameters),
            row.buffers,
            self.pictures,
            sharing=sharing,
            dtype=self.choices.dtype,
        )

    def members(self, row: Row | str) -> list[Checkpoint]:
        """The checkpoints of a row, the anchor first."""
        found = next(one for one in self.rows() if one.name == row) if isinstance(row, str) else row
        return [self.checkpoints[number] for number in found.members]

    def _recall(self, row: Row) -> bool:
        key = self._key(row)
        known = self.store.get(key)
        if known is None and row.method == "single":  # `evaluate` and the Calibration page ask the same question
            figures = self.store.get(self._evaluation_key(row))
            known = None if figures is None else _compact(figures)
        if known is not None:
            self._found[key] = known
        return known is not None

    def _keep(self, row: Row, figures: dict[str, Any], built: Built, evaluating: float) -> None:
        if row.method == "single":
            self.store.put(self._evaluation_key(row), figures)
        found = {
            **_compact(figures),
            "merge_seconds": built.seconds,
            "evaluation_seconds": evaluating,
            "notes": list(built.notes),
            "barriers": list(built.barriers),
        }
        self.store.put(self._key(row), found)
        self._found[self._key(row)] = found

    def _evaluation_key(self, row: Row) -> str:
        return content_key(
            "evaluation",
            self._runs(row),
            mixture={"single": self.checkpoints[row.members[0]].fingerprint},
            data=self._data,
            meters=CALIBRATION_METERS,
        )


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
