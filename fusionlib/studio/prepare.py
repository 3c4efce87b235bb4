"""Frames of a story, made before it is told: afterwards it plays without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fusionlib.checkpoints.choices import SAME, WRITTEN
from fusionlib.contracts import METHODS
from fusionlib.engine.jobs import Job
from fusionlib.errors import FusionError, UsageError, shown
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import POLICIES
from fusionlib.runs.desk import Plan, RunDesk
from fusionlib.runs.links import parsed
from fusionlib.runs.story import Step
from fusionlib.studio.frame_wish import FrameWish
from fusionlib.studio.layers import profile_of
from fusionlib.studio.mixtures import Mixture
from fusionlib.studio.plans import lease
from fusionlib.studio.view import MergeView, Selection

PICTURED = ("", "layers", "errors")
"""Pages whose views show frames."""

STEPS_OF_ALPHA = 20
"""Between 0 and 1 in steps of 0.05."""

DOUBTS = ("entropy", "margin")
"""Lenses that need more than labels; they are drawn in the browser, which asks for it."""


@dataclass(frozen=True)
class Pictured:
    """A frame of a view: what a step with pictures shows."""

    view: MergeView
    wish: FrameWish


class Preparation(Job):
    """Makes the frames of a story and keeps them in the home folder; what is there is not made again.

    `done` and `total` count frames. `problems` are steps that could not be prepared, and why; `missing` are frames that
    found no room.
    """

    def __init__(self, open_view: Callable[[Selection], MergeView], desk: RunDesk) -> None:
        super().__init__("Prepare the story")
        self._open, self._desk = open_view, desk
        self.problems: list[str] = []
        self.made = self.missing = 0
        self.steps: tuple[Step, ...] = ()
        """Those that were prepared last."""

    def begin(self, steps: Sequence[Step]) -> None:
        """Prepare these in the background."""
        if self.state != "running":
            self.lease = lease(self._desk, Plan("frames", ()), *(step.link for step in steps))
            self.start(lambda _: self._prepare(tuple(steps)))

    def shown(self, step: Step) -> Pictured | None:
        """What a step shows; None of a page without pictures. Raises `FusionError` where that is not here."""
        page, state = parsed(step.link)
        if page not in PICTURED or not {"a", "b"} <= set(state):
            return None
        view = self._open(_selection(state))
        if view.obstacle or view.pictures is None:
            raise UsageError(str(view.obstacle), "a network and pictures", "Choose data")
        index = _whole(state, "picture") - 1
        if not 0 <= index < len(view.pictures):
            raise UsageError(f"Picture {index + 1}", f"1 to {len(view.pictures)}", "Choose another picture")
        doubt = any(f"lens-{lens}" in state.get("look", [""])[0].split("~") for lens in DOUBTS)
        return Pictured(view, FrameWish(index, _mixture(view, page, state), doubt=doubt))

    def _prepare(self, steps: tuple[Step, ...]) -> None:
        self.problems, self.made, self.missing, self.steps = [], 0, 0, steps
        wanted = self._wanted(steps)
        for done, one in enumerate(wanted):
            self.progress(done, len(wanted))
            self.made += one.view.prepare(one.wish)
        self.progress(len(wanted), len(wanted))
        for view in {one.view.id: one.view for one in wanted}.values():
            if view.prepared is not None:
                view.prepared.look()
        self.missing = sum(not one.view.has_prepared(one.wish) for one in wanted)

    def _wanted(self, steps: Sequence[Step]) -> list[Pictured]:
        """Frames of steps, each once: the steps' own mixtures first."""
        own, others = {}, {}
        for number, step in enumerate(steps, 1):
            try:
                found = self.shown(step)
            except FusionError as error:
                self.problems.append(f"Step {number}, {step.title}: {error.one_line}")
                continue
            for wanted in _around(found) if found else ():
                first = found is not None and wanted.wish.mixture == found.wish.mixture
                (own if first else others).setdefault(wanted.wish.key(wanted.view.id), wanted)
        return list({**own, **others}.values())


def _around(shown: Pictured) -> Iterator[Pictured]:
    """The frame that is shown, the checkpoints alone, and of an average of two the others along alpha."""
    yield shown
    for end in shown.view.ends:
        yield Pictured(shown.view, replace(shown.wish, pane=end))
    if isinstance(shown.wish.mixture, float):
        for step in range(STEPS_OF_ALPHA + 1):
            yield Pictured(shown.view, replace(shown.wish, mixture=step / STEPS_OF_ALPHA))


def _selection(state: dict[str, list[str]]) -> Selection:
    first = {name: texts[0] for name, texts in state.items()}
    buffers, dtype = first.get("buffers", "average"), first.get("dtype")
    if buffers not in POLICIES:
        raise UsageError(f"Buffer policy {shown(buffers)}", f"one of {', '.join(POLICIES)}", "Choose another")
    kept = dtype if dtype in WRITTEN and dtype != SAME else None
    more = tuple(state.get("more", ()))
    return Selection(first["a"], first["b"], first.get("data", ""), first.get("split"), buffers, more, kept)


def _mixture(view: MergeView, page: str, state: dict[str, list[str]]) -> Mixture:
    """The mixture of a step. Raises `UsageError` where a link says none."""
    kind = "layers" if page == "layers" else state.get("mix", ["alpha"])[0]
    if kind == "alpha" and len(view.arena) == 2:
        return _share(state)
    if kind == "layers":
        return _profile(view, _object(state, "profile"))
    name = "linear" if kind == "alpha" else kind
    if name not in METHODS.names():
        raise UsageError(
            f"Mixture {shown(name)}", f"alpha, layers, {', '.join(METHODS.names())}", "Open the view again"
        )
    method = build_method(name, _object(state, "parameters"))
    method.shares(len(view.arena))
    return method


def _profile(view: MergeView, wish: dict[str, Any]) -> Mixture:
    """The profile of a link; equal weights, with which a page begins, are not in it."""
    count = len(view.arena)
    names = view.units["levels"]["block"]["names"] if "weights" not in wish else ()
    rows = wish.get("weights", [[1 / count] * count for _ in names])
    return profile_of(view.arena.layout, wish.get("level", "block"), rows, wish.get("anchor", 0), count)


def _object(state: dict[str, list[str]], name: str) -> dict[str, Any]:
    try:
        found = json.loads(state.get(name, ["{}"])[0])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{name} {shown(state.get(name))}", "a JSON object", "Open the view again")
    return found


def _share(state: dict[str, list[str]]) -> float:
    try:
        share = float(state.get("alpha", ["0.5"])[0])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"alpha {shown(state['alpha'])}", "a number from 0 to 1", "Open the view again")
    return share


def _whole(state: dict[str, list[str]], name: str) -> int:
    text = state.get(name, ["1"])[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
