"""Curves over a parameter of a merge method: from files and what was wished to a study, worked off as one run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionlib.checkpoints.choices import SAME
from fusionlib.checkpoints.reader import Checkpoint
from fusionlib.checkpoints.rounding import written_dtype
from fusionlib.checkpoints.sharing import Sharing, unlike
from fusionlib.contracts import METHODS, MergeMethod, Progress, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import identities
from fusionlib.engine.jobs import Lease
from fusionlib.engine.recipes import source_of, write_recipe
from fusionlib.errors import UsageError
from fusionlib.measures.annotation import annotation_warnings
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import check_policy
from fusionlib.recipe import Recipe, Shared
from fusionlib.runs.desk import Plan
from fusionlib.runs.runner import Runner
from fusionlib.runs.work import Work
from fusionlib.studies.vary import Vary, check_map
from fusionlib.studio.desk import WorkDesk
from fusionlib.studio.plans import lease
from fusionlib.studio.workspace import Workspace


@dataclass(frozen=True)
class Wish:
    """`method` with its other `parameters`, and the values that one of them is to have."""

    method: str
    parameters: Mapping[str, Any]
    parameter: str
    values: tuple[float, ...]
    buffers: str = "average"
    dtype: str | None = None
    second: str = ""
    second_values: tuple[float, ...] = ()

    @property
    def points(self) -> int:
        """How many networks it is about."""
        return len(self.values) * (len(self.second_values) if self.second else 1)

    def checked(self) -> Wish:
        """Itself. Raises `UsageError` where a parameter is both set and varied, or another takes its place, and for a
        map of too many points.
        """
        for name in filter(None, (self.parameter, self.second)):
            if name in self.parameters:
                raise UsageError(
                    f"Both --set {name} and a curve over {name}",
                    "one of the two",
                    f"Leave --set {name} out, or vary another parameter",
                )
        if self.second:
            check_map((self.parameter, self.values), (self.second, self.second_values))
        if "alpha" in (self.parameter, self.second) and self.parameters.get("weights"):
            raise UsageError(
                "--set weights and a curve over alpha",
                "one of the two: weights take the place of alpha",
                "Leave one out",
            )
        return self

    def against_mean(self, count: int) -> bool:
        """Whether the value is the weight of the first of more than two checkpoints, where their method is an average:
        of two alone alpha says it all.
        """
        if self.second:
            return False
        names = {item.name for item in parameters_of(METHODS.get(self.method))}
        return self.parameter == "alpha" and count > 2 and METHODS.get(self.method).streams and "weights" in names


def varied(
    files: Sequence[Checkpoint], wish: Wish, runner: Runner, open_pictures: Callable[[], Sequence[DecodedCache]]
) -> tuple[Vary, Mapping[str, DecodedCache]]:
    """The study of a wish, and its datasets by content key; those of merges that look at pictures are the first.

    Whatever does not fit is said before data is read: `UsageError` for a value that the method refuses, `LayoutError`
    for checkpoints that are not alike, `ArchitectureError` for an unknown network.
    """
    merger, count = runner.builder.merger, len(files)
    over = wish.parameter, wish.values
    also = {"second": wish.second, "second_values": wish.second_values}
    study = Vary(_unread(files, wish), *over, (), wish.against_mean(count), **also)
    methods = [_checked(study.recipe_at(*place)) for place in study.places]
    places = [anchor_of(method, count) for method in methods]
    merger.sources.know(files)
    merger.network(study.recipe_at(*study.places[0]))
    sharing = unlike(files, places[0]) if methods[0].takes_unlike else None
    if not methods[0].whole_checkpoints:
        shared = None if sharing is None else Shared(rename=dict(sharing.rename), exclude=sharing.exclude)
        merger.arena(study.recipe.model_copy(update={"shared": shared}), places[0])
    opened = open_pictures()
    for one in opened:
        runner.need_masks(one)
    first = opened[0]
    merger.sources.know(pictures=first)
    recipe = _written(files, wish, study, first, sharing)
    data = tuple((one.fingerprint(), one.spec) for one in opened)
    study = Vary(recipe, *over, data, study.against_mean, **also)
    return study, {one.fingerprint(): one for one in opened}


class VariedWork(Work):
    """Curves over a parameter, measured in the background; points that others have measured are known."""

    def __init__(
        self,
        files: Sequence[Checkpoint],
        wish: Wish,
        runner: Runner,
        open_pictures: Callable[[], Sequence[DecodedCache]],
    ) -> None:
        self.wish, self.names = wish.checked(), [one.name for one in files]
        study, pictures = varied(files, wish, runner, open_pictures)
        super().__init__(f"sweep {', '.join(self.names)}", study, runner, pictures, _lease(study, runner))
        self.recall()
        if self.settled:
            self.state = "done"

    @property
    def whole(self) -> bool:
        """Whether all of the checkpoints' tensors are merged, and not only what they share."""
        assert isinstance(self.study, Vary)
        return self.study.recipe.shared is None

    def view_at(self, *place: float) -> dict[str, Any]:
        """The merge at a value, or a pair, as a row of a comparison says it: `method`, `parameters`, `buffers`."""
        assert isinstance(self.study, Vary)
        recipe = self.study.recipe_at(*place)
        return {"method": recipe.method, "parameters": dict(recipe.parameters), "buffers": recipe.buffers}


class VariedDesk:
    """The varied parameters of a process: one work per content, whichever page or session asks."""

    def __init__(self, workspace: Workspace, runner: Runner) -> None:
        self._workspace, self._runner = workspace, runner
        self._works: WorkDesk[VariedWork] = WorkDesk()

    def open(self, names: Sequence[str], data: Sequence[tuple[str, str | None]], wish: Wish) -> VariedWork:
        """The curves of checkpoints of the workspace on its data, by short name and split. Nothing is measured yet."""
        self._workspace.refresh_models()
        items = [self._workspace.get(name) for name in names]
        opened = [item.checkpoint for item in items if item.checkpoint is not None]
        pictures = [self._workspace.pictures(*one) for one in dict.fromkeys(data)]
        networks = identities((item.architecture for item in items), pictures[0].label_space)
        prints = [*(one.fingerprint for one in opened), *(one.fingerprint() for one in pictures)]
        key = hashlib.sha256("\n".join([*names, *prints, str(wish), *networks]).encode()).hexdigest()
        found = self._works.open(key, lambda: VariedWork(opened, wish, self._runner, lambda: pictures))
        if found.state != "running":
            found.recall()
        return found


def measure(
    study: Vary,
    runner: Runner,
    pictures: Mapping[str, DecodedCache],
    progress: Progress | None = None,
    *,
    fresh: bool = False,
) -> dict[str, Any]:
    """The table of the study, each curve with its `classes`, `images` and `warnings`.

    A run: whoever asks for the same elsewhere follows. Progress may raise `Cancelled`; what was measured is kept.
    """
    work = Work("sweep", study, runner, pictures, _lease(study, runner))
    work.run(progress=progress, fresh=fresh)
    table = work.table()
    for curve, (key, _) in zip(table["curves"], study.data, strict=True):
        classes = list(pictures[key].label_space.names)
        curve |= {
            "classes": classes,
            "images": len(pictures[key]),
            "warnings": annotation_warnings(curve["points"][0], classes),
        }
    return table


def _unread(files: Sequence[Checkpoint], wish: Wish) -> Recipe:
    """The recipe as far as it can be told without pictures."""
    check_policy(wish.buffers)
    written_dtype(wish.dtype)
    return Recipe(
        method=wish.method,
        parameters=dict(wish.parameters),
        buffers=wish.buffers,
        dtype=None if wish.dtype == SAME else wish.dtype,  # type: ignore[arg-type]
        checkpoints=tuple(map(source_of, files)),
    )


def _checked(recipe: Recipe) -> MergeMethod:
    """The method of a recipe. Raises `UsageError` where its parameters do not fit, or not so many checkpoints."""
    method = build_method(recipe.method, recipe.parameters)
    method.shares(len(recipe.checkpoints))
    return method


def _written(
    files: Sequence[Checkpoint], wish: Wish, study: Vary, pictures: DecodedCache, sharing: Sharing | None
) -> Recipe:
    """The recipe with the pictures that it looks at, where it does; its parameters are those that do not vary."""
    parameters = study.recipe_at(*study.places[0]).parameters
    whole = write_recipe(files, wish.method, parameters, wish.buffers, pictures, sharing=sharing, dtype=wish.dtype)
    return whole.model_copy(update={"parameters": dict(wish.parameters)})


def _lease(study: Vary, runner: Runner) -> Lease:
    content = (_content(study), runner.builder.precision, runner.builder.device.type)
    return lease(runner.desk, Plan("sweep", ()), *content)


def _content(study: Vary) -> str:
    """What tells a study from others, wherever its files lie and whatever its values are: these share their points."""
    recipe = study.recipe.without_folders()
    sources = tuple(one.model_copy(update={"path": "-"}) for one in recipe.checkpoints)
    data = " ".join(sorted(key for key, _ in study.data))
    return f"{recipe.model_copy(update={'checkpoints': sources}).content} {study.parameter} {study.second} {data}"
