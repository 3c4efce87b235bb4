"""One table of everything that can be made of a set of checkpoints, measured row by row in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.compare import recognise
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.sharing import unlike
from fusionlib.contracts import ARCHITECTURES, METHODS, Architecture, Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace, label_space
from fusionlib.errors import ArchitectureError, Cancelled, DataError, FusionError, UsageError
from fusionlib.inference.blend import CALIBRATION_PICTURES, Blend
from fusionlib.inference.ensemble import OutputEnsemble
from fusionlib.inference.jobs import Job
from fusionlib.inference.measure import Measurement
from fusionlib.inference.network import BoundNetwork, Network
from fusionlib.inference.worker import Worker
from fusionlib.merging.build import build_method
from fusionlib.metrics.calibration_summary import calibration_summary
from fusionlib.storage.keys import content_key
from fusionlib.storage.store import Store
from fusionlib.studio.calibrate import CALIBRATION_METERS
from fusionlib.studio.comparison_rows import Choices, Row, command, deferred, parameters_text, plan
from fusionlib.studio.export import write_recipe
from fusionlib.studio.information import informed

FIGURES = ("miou", "pixel_accuracy", "loss", "ece")

class Comparison(Job):
    """K >= 2 checkpoints on labelled pictures. Every row is stored as soon as it is measured, and never measured again.

    A row that cannot be measured says why and the others go on. Raises `UsageError` for wrong choices, `DataError` without masks.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], pictures: DecodedCache, choices: Choices, *, worker: Worker, store: Store,
                 device: torch.device, precision: str, cache: Path | None = None) -> None:
        super().__init__("comparison " + ", ".join(item.name for item in checkpoints))
        if len(checkpoints) < 2:
            raise UsageError(f"{len(checkpoints)} checkpoint", "two or more to compare", "Name another checkpoint")
        if not pictures.labelled:
            raise DataError(f"{pictures.title} has no masks", "labelled pictures to measure on", "Choose data with masks")
        self.checkpoints, self.pictures, self.choices = tuple(checkpoints), pictures, choices.checked(len(checkpoints))
        self.worker, self.store, self.device, self.precision, self.cache = worker, store, device, precision, cache
        self.names = _unique([item.name for item in checkpoints])
        self.known = [recognise(item.shapes) for item in checkpoints]
        self.current: str | None = None
        self._data = pictures.fingerprint()
        self._found: dict[str, dict[str, Any]] = {}  # figures, or the reason why there are none, by content key
        self._packed: tuple[Any, Arena] | None = None
        for row in self.rows():
            self._recall(row)
        for row in self.rows():  # once more, because known single networks bring further rows
            self._recall(row)
        if all(self._settled(row) for row in self.rows()) and self._scores() is not None:
            self.state = "done"

    def rows(self) -> list[Row]:
        """The rows known so far: those that depend on the scores of the single networks come once these are measured."""
        return plan(self.names, self.choices, self._scores())

    def want(self, *, fresh: bool = False) -> None:
        """Begin, or go on, in the background. `fresh` measures known rows again."""
        if fresh and self.state != "running":
            self._found.clear()
        self.start(lambda _: self._measure_all(fresh))

    def measure(self, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """The same, and wait. Raises `UsageError` where the table as a whole failed."""
        self.want(fresh=fresh)
        try:
            while self.state == "running":
                self.wait(0.1)
                if progress is not None and self.total:
                    progress(self.done, self.total)
        except BaseException:
            self.cancel()
            self.wait()
            raise
        if self.state == "failed":
            raise UsageError(str(self.message), "a comparison that runs through", "Correct what it names")

    def snapshot(self) -> dict[str, Any]:
        """State, progress (in forward passes) and all rows as JSON values; `best` is the row with the highest mIoU."""
        rows = self.rows()
        singles = [found["miou"] for row in rows if row.group == "single" if (found := self._figures(row)) and found["miou"] is not None]
        best_single = max(singles, default=None) if self._scores() is not None else None
        listed = [self._listed(row, best_single) for row in rows]
        measured = [row for row in listed if row["miou"] is not None]
        best = max(measured, key=lambda row: row["miou"], default=None)
        waiting = 0 if self._scores() is not None else deferred(len(self.names), self.choices)
        return {"state": self.state, "message": self.message, "done": self.done, "total": self.total, "seconds_left": self.seconds_left,
                "current": self.current if self.state == "running" else None, "images": len(self.pictures), "waiting": waiting,
                "rows": listed, "best": best["name"] if best else None, "best_single_miou": best_single}

    def _listed(self, row: Row, best_single: float | None) -> dict[str, Any]:
        found = self._found.get(self._key(row), {})
        figures = {name: found.get(name) for name in FIGURES}
        gain = None if figures["miou"] is None or best_single is None else 100 * (figures["miou"] - best_single)
        reason = row.obstacle or found.get("reason")
        waiting = "running" if self.state == "running" and row.name == self.current else "waiting"
        state = "not applicable" if row.obstacle else found.get("state", waiting)
        files = [f"{item.name}{item.path.suffix}" for item in self.checkpoints]
        return {"name": row.name, "group": row.group, "method": row.method, "parameters": parameters_text(row), "buffers": row.buffers,
                "members": [self.names[number] for number in row.members], "anchor": self.names[row.members[0]], **figures,
                "forwards": len(row.members) if row.method == "ensemble" else 1, "merge_seconds": found.get("merge_seconds"),
                "evaluation_seconds": found.get("evaluation_seconds"), "gain": gain, "state": state,
                "note": reason or "; ".join(found.get("notes", ())), "command": command(row, files)}

    def _measure_all(self, fresh: bool) -> None:
        done = 0
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
                    self._measure_row(row, done, done + self._work_left(left))
                done += self._work(row)
        finally:
            self._packed, self.current = None, None

    def _measure_row(self, row: Row, done: int, total: int) -> None:
        """Measure and store one row; what goes wrong is noted in it, and tried again at the next run."""
        work, self.current = self._work(row), row.name

        def advance(part: int, whole: int) -> None:
            self.progress(done + round(work * part / max(1, whole)), total)

        advance(0, 1)
        try:
            network, space, merging, notes = self._network(row, advance)
        except Cancelled:
            raise
        except FusionError as error:
            self._found[self._key(row)] = {"state": "not applicable", "reason": error.one_line}
            return
        except Exception as error:  # noqa: BLE001 - one row may fail for any reason; the others go on and this one says which
            self._found[self._key(row)] = {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
            return
        try:
            begun = time.perf_counter()
            figures = Measurement(network, space, self.pictures, meters=CALIBRATION_METERS).run(self.worker, advance)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            reason = error.one_line if isinstance(error, FusionError) else f"{type(error).__name__}: {error}"
            self._found[self._key(row)] = {"state": "failed", "reason": reason}
            return
        self._keep(row, figures, merging, time.perf_counter() - begun, notes)

    def _network(self, row: Row, advance: Progress) -> tuple[Network, LabelSpace, float | None, tuple[str, ...]]:
        """The network of a row, its classes, the seconds it took to merge it and remarks for the user."""
        if row.method in ("single", "ensemble"):
            networks, spaces = zip(*(self._single(number) for number in row.members), strict=True)
            if row.method == "single":
                return networks[0], spaces[0], None, ()
            if any(space.names != spaces[0].names for space in spaces):
                raise ArchitectureError("The output ensemble of networks with different classes", "the same classes in all", "Take others")
            method = build_method("ensemble", row.parameters)
            rule = method.rule  # type: ignore[attr-defined]
            return OutputEnsemble(networks, method.shares(len(networks)), rule), spaces[0], None, ()
        architecture, classes = self._architecture(row.members[0])
        method, arena = build_method(row.method, row.parameters), self._arena(row)
        begun = time.perf_counter()
        members = [self.checkpoints[number] for number in row.members]
        if method.needs == "pictures":
            recipe = write_recipe(members, row.method, dict(row.parameters), row.buffers, self.pictures, CALIBRATION_PICTURES)
            method = informed(method, arena, (architecture, classes), self.pictures, recipe, self.worker, self.cache,
                              lambda *_: advance(0, 1))
        network = BoundNetwork(architecture, classes, arena.layout, arena.integers[0], device=self.device, precision=self.precision)
        blend = Blend(arena, network, row.buffers, calibration=self.pictures)

        def run(call: Callable[[], Any]) -> Any:
            advance(0, 1)  # a cancel is seen between the pictures of a recalibration too
            return self.worker.run(call)

        blend.set(method, run)
        return network, label_space(architecture.label_space(classes)), time.perf_counter() - begun, blend.notes

    def _single(self, number: int) -> tuple[BoundNetwork, LabelSpace]:
        architecture, classes = self._architecture(number)
        arena = Arena.pack([self.checkpoints[number]], head=architecture.head, device=self.device)
        arena.require_finite()
        network = BoundNetwork(architecture, classes, arena.layout, arena.integers[0], device=self.device, precision=self.precision)
        self.worker.run(lambda: network.load(arena.weights[0]))
        return network, label_space(architecture.label_space(classes))

    def _arena(self, row: Row) -> Arena:
        """The members of a row as one arena; kept for the next row, which mostly has the same."""
        members = [self.checkpoints[number] for number in row.members]
        sharing = unlike(members) if getattr(METHODS.get(row.method), "takes_unlike", False) else None
        key = (row.members, sharing)
        if self._packed is None or self._packed[0] != key:
            self._packed = None  # the old one goes before the new one comes
            arena = Arena.pack(members, head=self._architecture(row.members[0])[0].head, sharing=sharing, device=self.device)
            arena.require_finite()
            self._packed = key, arena
        return self._packed[1]

    def _architecture(self, number: int) -> tuple[Architecture, int]:
        known = self.known[number]
        if known is None:
            raise ArchitectureError(f"No model code is known for {self.checkpoints[number].name}", "the network that it belongs to",
                                    "Give --model file.py:factory")
        return ARCHITECTURES.get(known[0]), known[1]

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
        return sum(self._work(row) for row in rows if not self._settled(row)) + later * len(self.pictures)

    def _settled(self, row: Row) -> bool:
        return bool(row.obstacle) or self._figures(row) is not None

    def _figures(self, row: Row) -> dict[str, Any] | None:
        found = self._found.get(self._key(row))
        return found if found and found["state"] == "measured" else None

    def _scores(self) -> list[float | None] | None:
        """mIoU of the single networks, None where one cannot be measured; None altogether until all were tried."""
        found = [self._found.get(self._key(Row("single", name, "single", (number,)))) for number, name in enumerate(self.names)]
        return None if any(one is None for one in found) else [one.get("miou") for one in found]  # type: ignore[union-attr]

    def _key(self, row: Row) -> str:
        """Content key of a row: equal networks have one row's worth of measuring, whatever group asks for them."""
        prints = [self.checkpoints[number].fingerprint for number in row.members]
        method, parameters = row.method, dict(row.parameters)
        if method == "linear":  # with equal weights, which are its defaults here, it is the isotropic merge
            method, parameters = "isotropic", {}
        return content_key("comparison", checkpoints=prints, method=method, parameters=parameters, buffers=row.buffers, data=self._data,
                           meters=CALIBRATION_METERS, precision=self.precision, count=CALIBRATION_PICTURES)

    def _recall(self, row: Row) -> bool:
        key = self._key(row)
        known = self.store.get(key)
        if known is None and row.method == "single":  # `evaluate` and the Calibration page ask the same question
            figures = self.store.get(self._evaluation_key(row))
            known = None if figures is None else _compact(figures)
        if known is not None:
            self._found[key] = known
        return known is not None

    def _keep(self, row: Row, figures: dict[str, Any], merging: float | None, evaluating: float, notes: Sequence[str]) -> None:
        if row.method == "single":
            self.store.put(self._evaluation_key(row), figures)
        found = {**_compact(figures), "merge_seconds": merging, "evaluation_seconds": evaluating, "notes": list(notes)}
        self.store.put(self._key(row), found)
        self._found[self._key(row)] = found

    def _evaluation_key(self, row: Row) -> str:
        return content_key("evaluation", mixture={"single": self.checkpoints[row.members[0]].fingerprint}, data=self._data,
                           meters=CALIBRATION_METERS, precision=self.precision)


def _compact(figures: dict[str, Any]) -> dict[str, Any]:
    """What the table shows of a measurement."""
    return {"state": "measured", "miou": figures["miou"], "pixel_accuracy": figures["pixel_accuracy"], "loss": figures["loss"],
            "ece": calibration_summary(figures["calibration"])["ece_sample_weighted"]}


def _unique(names: Sequence[str]) -> list[str]:
    """Names made different by a number where two files have the same."""
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]
