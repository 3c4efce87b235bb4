"""What the Explore page looks at: checkpoints, a dataset and a buffer policy; it answers frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch

from fusionlib.architectures.nearest import WITHOUT, Explanation, explain
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.contracts import STATISTICS, Architecture, MergeMethod, Sample
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import UNLABELLED, LabelSpace, label_space
from fusionlib.engine.blend import CALIBRATION_PICTURES, Blend
from fusionlib.engine.build import Built
from fusionlib.engine.identity import Network
from fusionlib.engine.learners import LastAnswers
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.observe import target_mapping
from fusionlib.engine.recipes import calibration_of
from fusionlib.engine.statistics import Kept, recall
from fusionlib.engine.turns import InOrder, Superseded
from fusionlib.engine.worker import FRAME, JOB, Run, Worker, at_once
from fusionlib.errors import ArchitectureError, FusionError, UsageError
from fusionlib.imaging.png import encode_grey, encode_picture, encode_rgb
from fusionlib.merging.linear import Linear
from fusionlib.recipe import Recipe, Source
from fusionlib.runs.frames import PreparedFrames
from fusionlib.runs.maps import Maps
from fusionlib.studies.path import MergePath
from fusionlib.studio.frame import Frame, seen
from fusionlib.studio.frame_wish import MERGE, FrameWish, check_picture
from fusionlib.studio.inside import Inside, LearnersAnswer, offered, refuse_several
from fusionlib.studio.layers import describe
from fusionlib.studio.mixtures import Mixture, method_name, mixture_key, parameters_set
from fusionlib.studio.recent import Recent
from fusionlib.studio.selection import LETTERS, Selection, view_key
from fusionlib.studio.several import Several

STEP_PIXELS = 1 << 19
"""A larger picture passes through the network stage by stage, so that others' frames can go in between."""

_READERS = ThreadPoolExecutor(2, "prepared")
"""Who reads prepared frames: whoever asks for one need not wait for the disk."""


class MergeView:
    """Mixtures of two or more checkpoints on the pictures of one dataset.

    Made once per content and shared by sessions.
    """

    def __init__(
        self,
        selection: Selection,
        sources: Sequence[Source],
        arena: Arena,
        architecture: tuple[Architecture, int] | None,
        pictures: DecodedCache | None,
        worker: Worker,
        device: torch.device,
        precision: str,
        recent: Recent | None = None,
        statistics: Kept | None = None,
        build: Callable[[Recipe], Built] | None = None,
        maps: Maps | None = None,
    ) -> None:
        written = arena.written_in(written_dtype(selection.dtype))
        # Where that is what the files have, it is the same view.
        self.selection = replace(selection, dtype=None) if written is arena else selection
        self.sources = tuple(sources)
        self.arena, self.pictures, self.worker = written, pictures, worker
        self.device, self.precision, self._known = device, precision, architecture
        self._lock = InOrder()
        self.recent = Recent() if recent is None else recent
        self.statistics, self._build = statistics, build
        self._together: tuple[float | str, Built] | None = None
        self._statistics: dict[str, Any] = {}  # what was found, by what was wanted
        self._blend: Blend | None = None
        self._answers = LastAnswers()
        self.id = view_key(
            arena.fingerprints, self.selection.buffers, self.selection.dtype, pictures, architecture, precision, device
        )
        self.prepared = None if maps is None or pictures is None else PreparedFrames(maps, self.id, pictures)

    @property
    def architecture(self) -> Architecture | None:
        """The network; None where nobody knows it."""
        return self._known[0] if self._known else None

    @property
    def network(self) -> Network | None:
        """The same with its class count."""
        return self._known

    @property
    def turned(self) -> str:
        """The id of the view of the same checkpoints in the opposite order."""
        one, prints = self.selection, self.arena.fingerprints[::-1]
        return view_key(prints, one.buffers, one.dtype, self.pictures, self._known, self.precision, self.device)

    @property
    def obstacle(self) -> str | None:
        """Why pictures cannot be shown, in words; None when they can."""
        if self._known is None:
            return (
                f"No model code is known for these checkpoints, so there are no pictures: {self.unknown.what}."
                f" Comparing, merging and exporting work. {self.unknown.do}, to see masks."
            )
        return (
            None if self.pictures is not None else "No data is loaded: choose data on the Workspace page to see masks."
        )

    @cached_property
    def unknown(self) -> Explanation:
        """Why nobody knows the network, where that is so."""
        return explain(self.arena.shapes)

    @property
    def ends(self) -> tuple[str, ...]:
        """The letters of the checkpoints, a pane each."""
        return tuple(LETTERS[: len(self.arena)])

    @cached_property
    def source_space(self) -> LabelSpace:
        """The network's own classes."""
        architecture, classes = self._need_network()
        return label_space(architecture.label_space(classes))

    @cached_property
    def space(self) -> LabelSpace:
        """The classes shown and measured: the annotation's, or the network's where there is no annotation."""
        own = self.need_pictures().label_space
        return self.source_space if own is UNLABELLED or own.name == UNLABELLED.name else own

    @cached_property
    def inside(self) -> dict[str, Any] | None:
        """The learners inside the network, see `fusionlib.studio.inside.offered`."""
        return offered(*self._known) if self._known else None

    @cached_property
    def outside(self) -> bool:
        """Whether the network has classes that are none of `space`; not where nobody knows, which frames say."""
        try:
            mapping = target_mapping(self.source_space, self.space, torch.device("cpu"))
        except FusionError:
            return False
        return mapping is not None and bool((mapping < 0).any())

    def new_blend(self) -> Blend:
        """A network of its own for a frame or a job.

        Runs on the calling thread; no torch kernels besides allocation.
        """
        architecture, classes = self._need_network()
        network = BoundNetwork(
            architecture,
            classes,
            self.arena.layout,
            self.arena.integers[0],
            device=self.device,
            precision=self.precision,
        )
        return Blend(self.arena, network, self.selection.buffers, calibration=self.pictures)

    def uniform(self, alpha: float) -> Linear:
        """`alpha A + (1 - alpha) mean(others)`: of two checkpoints `alpha A + (1 - alpha) B`."""
        others = len(self.arena) - 1
        return Linear(alpha) if others == 1 else Linear(weights=(alpha, *((1 - alpha) / others,) * others))

    def recipe(self, mixture: Mixture) -> Recipe:
        """What the view shows at an alpha, or of a layer profile, as a recipe."""
        if not isinstance(mixture, MergeMethod):
            return self.path.at(mixture)
        calibration = calibration_of(self.pictures, "recalibrate") if mixture.needs == "pictures" else None
        recipe = self.path.merge(method_name(mixture), parameters_set(mixture))
        return recipe if calibration is None else recipe.model_copy(update={"calibration": calibration})

    def ensemble(self, alpha: float) -> Recipe:
        """The networks of the view as they are, answering together: `alpha A + (1 - alpha) mean(others)`."""
        return self.path.ensemble(alpha)

    def alone(self, pane: str) -> Recipe:
        """The checkpoint of a pane as it is, with its own statistics."""
        return self.path.alone(self.ends.index(pane))

    @cached_property
    def path(self) -> MergePath:
        """What the view's merges are made of."""
        chosen = self.selection
        return MergePath(self.sources, chosen.buffers, chosen.dtype, calibration_of(self.pictures, chosen.buffers))

    @cached_property
    def units(self) -> dict[str, Any]:
        """Levels, units, cosines and preset curves, as JSON values; read from the weights at the first look."""
        return describe(self.arena)

    def informed(self, method: MergeMethod) -> MergeMethod:
        """The method with the statistics that it wants. Raises `UsageError` where pictures must be looked at first."""
        if not method.statistics:
            return method
        wanted = [
            (want.statistic, want.members, sorted(want.options.items())) for want in method.wanted(len(self.arena))
        ]
        key = repr(wanted)
        if key not in self._statistics:
            self._statistics = {key: self._recalled(method).found}  # of one at a time: Fisher is as large as the arena
        found = self._statistics[key]
        return method if found is None else method.informed(found)

    def knows(self, method: MergeMethod) -> bool:
        """Whether nothing has to be looked at before a method can merge."""
        try:
            self.informed(method)
        except UsageError:
            return False
        return True

    def _recalled(self, method: MergeMethod) -> MergeMethod:
        known = recall(
            method,
            self.arena,
            self._known,
            self.pictures,
            CALIBRATION_PICTURES,
            worker=self.worker,
            store=self.statistics,
        )
        if known is None:
            what = " and ".join(STATISTICS.get(name).title for name in method.statistics)
            raise UsageError(f"The {what} of these checkpoints is not known yet", "a look at pictures", "Press Measure")
        return known

    def picture(self, index: int) -> bytes:
        """Picture `index` as PNG or JPEG."""
        return encode_picture(self._sample(index).image)

    def truth(self, index: int) -> bytes | None:
        """Ground truth of picture `index` as a grey PNG of ids (255 void), or None."""
        truth = self._sample(index).truth
        return None if truth is None else encode_grey(truth)

    def frame(
        self, index: int, mixture: Mixture, pane: str = MERGE, doubt: bool = False, inside: Inside | None = None
    ) -> Frame:
        """What `ask` promises, once it is there."""
        return self.ask(FrameWish(index, mixture, pane, doubt, inside)).result()

    def ask(self, wish: FrameWish, session: str = "", generation: int = 0) -> Future[Frame]:
        """The frame of a wish. A very large picture is reduced first (`scale` among the figures, which are then those
        of the reduced one). `session` gets its frames in turn with others. The future raises `Superseded` where it has
        asked for a newer one of this pane. Raises `UsageError` for a wish that nobody can have.
        """
        turns, line = self.worker.turns, (self.id, wish.pane)
        wish = self._checked(wish)
        key = wish.key(self.id)
        if (known := self.recent.get(key)) is not None:
            turns.note(session, line, generation)
            found: Future[Frame] = Future()
            found.set_result(known)
            return found

        def run(call: Callable[[], Any]) -> Any:
            def unless_overtaken() -> Any:
                turns.check(session, line, generation)
                begun = time.perf_counter()
                try:
                    return call()
                finally:
                    turns.charge(session, time.perf_counter() - begun)

            return self.worker.run(unless_overtaken, FRAME)

        def made() -> Future[Frame]:
            return turns.ask(session, line, generation, lambda: self._render(wish, run))

        if self.prepared is None or not self.prepared.has(key):
            return made()
        turns.note(session, line, generation)
        return _READERS.submit(lambda: self._read(key) or made().result())

    def has_prepared(self, wish: FrameWish) -> bool:
        """Whether a frame is in the home folder."""
        return self.prepared is not None and self.prepared.has(wish.key(self.id))

    def prepare(self, wish: FrameWish) -> bool:
        """Keep a frame in the home folder; whether it had to be made. Frames that somebody looks at go first."""
        wish = self._checked(wish)
        if self.prepared is None or self.has_prepared(wish):
            return False
        frame = self._render(wish, lambda call: self.worker.run(call, JOB))
        self.prepared.keep(wish.key(self.id), frame.png, frame.about)
        return True

    def _read(self, key: tuple) -> Frame | None:
        found = self.prepared.find(key) if self.prepared else None
        return None if found is None else self.recent.keep(key, Frame(*found), len(found[0]))

    def _render(self, wish: FrameWish, run: Run) -> Frame:
        key, mixture, pane, inside = wish.key(self.id), wish.mixture, wish.pane, wish.inside
        sample = self.need_pictures().load(wish.index)
        method = mixture if isinstance(mixture, MergeMethod) else self.uniform(mixture)
        # Only profiles are changed block by block; keeping what a pass leaves between blocks would slow an alpha down.
        resume = pane == MERGE and method.tensorwise
        with self._lock:  # one network can be only one mixture at a time
            if (known := self.recent.get(key)) is not None:  # another session has asked for the same
                return known
            self._blend = blend = self._blend or self.new_blend()
            network: BoundNetwork | Several | LearnersAnswer = blend.network
            clock = [time.perf_counter()]
            if pane == MERGE and method.networks(len(self.arena)) > 1:
                refuse_several(inside)
                network = Several(self._built(mixture))
            elif pane == MERGE:
                blend.set(self.informed(method), run)
                network = LearnersAnswer(blend.network, inside, self._answers) if inside else network
            else:
                blend.set_alone(self.ends.index(pane), run)
            clock.append(time.perf_counter())
            if sample.image.size > 3 * STEP_PIXELS:
                maps, figures = self._look(network, sample, resume, wish.doubt, run)
            else:
                maps, figures = run(lambda: self._look(network, sample, resume, wish.doubt, at_once))
            notes = list(network.notes if isinstance(network, Several) else blend.notes)
            began = blend.network.trail.began if resume and not inside else None
        clock.append(time.perf_counter())
        png = encode_rgb(*maps)
        clock.append(time.perf_counter())
        spans = [round(1000 * (late - early), 2) for early, late in pairwise(clock)]
        alpha = None if isinstance(mixture, MergeMethod) else mixture
        frame = Frame(
            png,
            {
                "alpha": alpha,
                **figures,
                "ms": dict(zip(("merge", "forward", "encode"), spans, strict=True)),
                "from": began,
                "notes": notes,
                "scale": sample.scale,
            },
        )
        return self.recent.keep(key, frame, len(png))

    def _built(self, mixture: Mixture) -> Built:
        """Several networks that answer together, made once for each mixture."""
        if self._build is None:
            raise UsageError(
                "A merge that is several networks", "the studio, which builds them", "Choose another method"
            )
        key = mixture_key(mixture)
        if self._together is None or self._together[0] != key:
            self._together = key, self._build(self.recipe(mixture))
        return self._together[1]

    def _look(
        self, network: BoundNetwork | Several | LearnersAnswer, sample: Sample, resume: bool, doubt: bool, run: Run
    ) -> tuple[Any, dict[str, Any]]:
        return seen(network, sample, (self.source_space, self.space), self.device, resume, doubt, run)

    def _sample(self, index: int) -> Sample:
        pictures = self.need_pictures()
        return pictures.load(check_picture(index, len(pictures)))

    def _checked(self, wish: FrameWish) -> FrameWish:
        return wish.checked(self.ends, len(self.need_pictures()))

    def _need_network(self) -> tuple[Architecture, int]:
        if self._known is None:
            raise ArchitectureError(
                f"No model code is known for these checkpoints: {self.unknown.what}",
                "the network that they belong to",
                f"{self.unknown.do}; {WITHOUT}",
            )
        return self._known

    def need_pictures(self) -> DecodedCache:
        """The pictures. Raises `UsageError` where no data is chosen."""
        if self.pictures is None:
            raise UsageError("No data is chosen", "a dataset", "Choose one on the Workspace page")
        return self.pictures


__all__ = ["LETTERS", "Frame", "FrameWish", "MergeView", "Selection", "Superseded", "view_key"]
