"""A first look at a pair that nobody has measured: A, B and their middle, by itself, on a few pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fusionlib.contracts import Study
from fusionlib.data.cache import DecodedCache, FirstPictures
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.curve import Curve
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.plans import lease, view_plan
from fusionlib.studio.sweep import ENDS, Sweep
from fusionlib.studio.view import MergeView, Selection

PICTURES = 50
"""Pictures of a first look; a split of no more than these is looked at as a whole, and what is found is its curve's."""

MIDDLE = 0.5
STEP = 0.5
"""The step of a curve of both ends and the middle."""

KEPT = 64
_QUIET = ("idle", "done")


class FirstPart(Work):
    """A, B and the middle on the first `PICTURES` pictures of a longer split.

    Figures of its own, no points of the curve: those are of all pictures. The states of these pictures are kept as
    those of any others, so that whoever asks for the whole split finds them.
    """

    def __init__(self, view: MergeView, runner: Runner) -> None:
        whole = view.need_pictures()
        pictures: DecodedCache = FirstPictures(whole, PICTURES)
        self.images, self.whole = len(pictures), len(whole)
        data = pictures.fingerprint()
        points: dict[Any, Any] = {**{end: view.alone(end) for end in ENDS}, MIDDLE: view.recipe(MIDDLE)}
        self._curve = Curve(tuple(points.items()), data)
        plan = view_plan("sweep", view, "--limit", str(PICTURES), "--step", f"{STEP:g}")
        hold = lease(runner.desk, plan, view.id, str(PICTURES))
        super().__init__("first look", self._curve, runner, {data: pictures}, hold)
        self.recall()
        if self.settled:
            self.state = "done"

    @property
    def points(self) -> dict[Any, dict[str, Any]]:
        """Figures of `a`, `b` and `MIDDLE`, as far as they are known."""
        return self._curve.found(dict(self.known))


@dataclass(eq=False)
class _Look:
    """What a viewer looks at."""

    view: str
    selection: Selection
    work: Work


class FirstLooks:
    """Begins first looks for whoever opens a view, each once, and ends those that nobody watches any more.

    A viewer is any object that lives as long as a session. A look that somebody cancelled, or in whose place somebody
    measures the curve, does not begin again; one that ended because the selection changed does, when it is back.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lock = threading.RLock()
        self._parts: WorkDesk[FirstPart] = WorkDesk(KEPT)
        self._watched: WeakKeyDictionary[Any, _Look] = WeakKeyDictionary()
        self._begun: dict[str, Study] = {}
        self._left: set[str] = set()

    def watch(self, viewer: object, view: MergeView, sweep: Sweep) -> None:
        """`viewer` looks at this now: measure what is missing of its ends and its middle, unless it was begun before.

        Raises what pictures raise that are not there.
        """
        with self._lock:
            work = self.part(view) or sweep
            before = self._watched.get(viewer)
            self._watched[viewer] = _Look(view.id, view.selection, work)
            if before is not None and before.view != view.id:
                self._leave(before)
            if lacking(sweep) and self._may(view.id, work, sweep):
                self._begin(view.id, work)

    def part(self, view: MergeView) -> FirstPart | None:
        """The look at a part of the view's pictures; None where it is at all of them, as the sweep's own first step."""
        if len(view.need_pictures()) <= PICTURES:
            return None
        return self._parts.open(view.id, lambda: FirstPart(view, self._runner))

    def found(self, view: MergeView, sweep: Sweep) -> dict[str, Any] | None:
        """`images` of `whole` pictures, and `points`: figures by alpha, A at 1. None of another mixture than an average
        of two, before all are known, and once the curve has them.
        """
        if len(view.arena) != 2 or view.obstacle or not view.need_pictures().labelled or not lacking(sweep):
            return None
        part = self.part(view)
        if part is None or not part.settled:
            return None
        named = {MIDDLE: MIDDLE, **dict(zip(ENDS, (1, 0), strict=True))}
        points = {
            named[point]: {name: figures[name] for name in ("miou", "pixel_accuracy", "loss")}
            for point, figures in part.points.items()
        }
        return {"images": part.images, "whole": part.whole, "points": points}

    def still(self, viewer: object, chosen: Selection | None) -> None:
        """`viewer` has chosen this, on whatever page: a look at something else ends."""
        with self._lock:
            look = self._watched.get(viewer)
            if look is not None and (chosen is None or _pair(look.selection) != _pair(chosen)):
                self.leave(viewer)

    def leave(self, viewer: object) -> None:
        """`viewer` looks at no curve any more."""
        with self._lock:
            look = self._watched.pop(viewer, None)
            if look is not None:
                self._leave(look)

    def make_way(self, view: MergeView) -> None:
        """Somebody measures the curve: there is no first look any more."""
        with self._lock:
            self._begun.setdefault(view.id, Curve((), ""))
            self._left.discard(view.id)
            part = self.part(view)
            if part is not None and part.state == "running":
                part.cancel()

    def _may(self, id: str, work: Work, sweep: Sweep) -> bool:
        if id in self._left:
            return work is sweep or sweep.state in _QUIET
        return id not in self._begun and sweep.state in _QUIET

    def _begin(self, id: str, work: Work) -> None:
        self._left.discard(id)
        if isinstance(work, Sweep):
            work.want(STEP)
        else:
            work.begin()
        self._begun[id] = work.study

    def _leave(self, look: _Look) -> None:
        """End it, where nobody else watches it and nobody has asked for more than it since."""
        work = look.work
        watched = any(other.view == look.view for other in self._watched.values())
        if not watched and work.state == "running" and not work.stopping and self._begun.get(look.view) is work.study:
            self._left.add(look.view)
            work.cancel()


def lacking(sweep: Sweep) -> bool:
    """Whether one of the ends or the middle is not known on all pictures."""
    return not {*ENDS, MIDDLE} <= set(sweep.points)


def only_first(sweep: Sweep) -> bool:
    """Whether nothing is known of the curve but its ends and its middle."""
    return set(sweep.points) <= {*ENDS, 0.0, MIDDLE, 1.0}


def _pair(selection: Selection) -> tuple[Any, ...]:
    return selection.a, selection.b, selection.source, selection.split, selection.buffers
