"""Working off a study: what it asks is answered, step by step, and what is told lets it ask on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fusionlib.contracts import Progress, Study
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.build import forwards_of
from fusionlib.engine.jobs import Job, Lease
from fusionlib.errors import Cancelled, ChangedDataError, FusionError
from fusionlib.question import Known, Question, Refused, Step, Told
from fusionlib.recipe import Recipe
from fusionlib.runs.executor import Executor, HereExecutor, Task
from fusionlib.runs.runner import Runner


class Work(Job):
    """One study and what is known of it, worked off in a background thread for whoever looks.

    `pictures` are its datasets by content key. What was found out stays known, here and in the tables: worked off
    again, or replaced by a wider study, it goes on from there. Progress is in forward passes.
    """

    def __init__(
        self,
        title: str,
        study: Study,
        runner: Runner,
        pictures: Mapping[str, DecodedCache],
        lease: Lease | None = None,
    ) -> None:
        super().__init__(title)
        self.study, self.runner, self.datasets, self.lease = study, runner, pictures, lease
        self.known: dict[Question, Told | Refused] = {}
        self.current = ""
        """What the pass under way is about."""
        self.fresh = False
        self.executor: Executor | None = None
        """Who answers; None: a thread of this process."""
        self._costs: dict[tuple[str, str], int] = {}
        self._finished: dict[tuple[str, str], int] = {}
        """Pictures that a pass over a network left behind when it was interrupted, when it was last asked."""
        self._contents: dict[int, tuple[str, Recipe]] = {}

    def begin(self, study: Study | None = None, *, fresh: bool = False) -> None:
        """Begin or go on in the background, with a study in place of the present one where it is given.

        `fresh`: what is known does not count. What could not be answered is tried again.
        """
        self.study = self.study if study is None else study
        if self.state != "running":
            self.fresh = fresh
            self._finished = {} if fresh else self._finished
            known = {} if fresh else dict(self.known)  # a copy: others may be recalling something meanwhile
            self.known = {one: told for one, told in known.items() if isinstance(told, Told)}
        self.start(self._work_off)

    def run(self, study: Study | None = None, progress: Progress | None = None, *, fresh: bool = False) -> None:
        """The same, and wait. Raises `UsageError` where the study as a whole failed; an interrupt cancels."""
        self.study = self.study if study is None else study
        if not fresh:
            self._spare()
        self.begin(fresh=fresh)
        self.follow(progress, "a measurement that runs through")

    def recall(self) -> None:
        """Take what the tables know, without running anything: others may have measured it since."""
        tried: set[Question] = set()
        while new := [one for one in self._unknown() if one not in tried]:
            tried |= set(new)
            self.known |= self.recalled(new)
        self._finished = self._left_behind()

    def _left_behind(self) -> dict[tuple[str, str], int]:
        """Pictures of networks that are finished already, of what is asked and not known: for all that is asked."""
        found: dict[tuple[str, str], int] = {}
        by_data: dict[str, list[Question]] = {}
        for one in self._unknown():
            by_data.setdefault(one.data, []).append(one)
        for key, asked in by_data.items():
            with suppress(FusionError):  # measuring says why
                counts = self.runner.finished(asked, self.datasets[key]) if key in self.datasets else [0] * len(asked)
                for one, count in zip(asked, counts, strict=True):
                    for place in {(self._content(recipe), key) for recipe in one.recipes}:
                        found[place] = min(count, found.get(place, count))
        return found

    def recalled(self, questions: Iterable[Question]) -> dict[Question, Told]:
        """Answers that are in the tables; nothing runs."""
        by_data: dict[str, list[Question]] = {}
        for one in questions:
            by_data.setdefault(one.data, []).append(one)
        found = [told for key, asked in by_data.items() for told in self._there(asked, self.datasets[key])]
        return {told.question: told for told in found}

    def _there(self, asked: Sequence[Question], pictures: DecodedCache) -> list[Told]:
        """What the tables know; nothing of a network that cannot be made: to measure it says why."""
        try:
            return [told for told in self.runner.known(asked, pictures) if told is not None]
        except FusionError:
            return [told for one in asked for told in self._there([one], pictures)] if len(asked) > 1 else []

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to find out."""
        return next(self._left(), None) is None

    def table(self) -> dict[str, Any]:
        """What is known so far, as JSON values."""
        return self.study.table(dict(self.known))

    def status(self) -> dict[str, Any]:
        """State and progress as JSON values; `done` and `total` count forward passes."""
        return {
            "state": self.state,
            "message": self.message,
            "done": self.done,
            "total": self.total,
            "fraction": self.done / self.total if self.total else 0.0,
            "seconds_left": self.seconds_left,
        }

    def cost(self) -> int:
        """Forward passes until all is known, as far as that can be told now."""
        return self._passes(self._left())

    def told(self) -> None:
        """Called after every answer."""

    def further(self, done: int) -> int | None:
        """Find out what no question asks, where the study cannot go on without it: forward passes done by then, after
        `done` before; None where there is nothing.
        """
        return None

    def more(self) -> Callable[[Job], Any] | None:
        """The study may have grown while the last step was being finished."""
        return None if self.settled else self._work_off

    def _left(self) -> Iterator[Step]:
        """Steps of which something is not known."""
        known = dict(self.known)
        return (step for step in self.study.steps(known) if any(one not in known for one in step.questions))

    def _unknown(self) -> list[Question]:
        return [one for step in self._left() for one in step.questions if one not in self.known]

    def _work_off(self, _: Job) -> None:
        executor = self.executor or HereExecutor(self.runner, self.datasets, self._say)
        done = 0
        try:
            while True:
                if left := list(self._left()):
                    done = self._answer(left[0], left[1:], done, executor)
                elif (further := self.further(done)) is not None:
                    done = further
                else:
                    break
            if self.done < self.total:  # what was expected, and turned out to be known
                self.progress(self.total, self.total)
        finally:
            self.current = self.stage = ""

    def _say(self, stage: str) -> None:
        self.stage = stage

    def _answer(self, step: Step, later: list[Step], done: int, executor: Executor) -> int:
        """Find out one step; forward passes done by then."""
        self.current = step.title
        asked = [one for one in step.questions if one not in self.known]
        ahead, passed = self._ahead(step, later, len(self.datasets.get(asked[0].data, ()))), 0

        def along(part: int, whole: int) -> None:
            nonlocal passed
            passed = whole
            self.stage = "" if part else self.stage
            self.progress(done + part, done + whole + ahead)

        self.stage = "preparing"
        self.progress(done, done + self._passes([step]) + ahead)
        try:
            found = executor.run(Task(tuple(asked), self.fresh), along)
        except (Cancelled, ChangedDataError):  # which is the same for whatever else is asked of these pictures
            raise
        except Exception as error:
            if not self.study.goes_on:
                raise
            self.known |= dict.fromkeys(asked, _refused(error))
            return done
        self.known |= {told.question: told for told in found}
        self.told()
        return done + passed

    def _ahead(self, step: Step, later: list[Step], images: int) -> int:
        """Forward passes after this step, as far as they can be told."""
        return self._passes([step, *later]) - self._passes([step]) + self.expected(images)

    def expected(self, images: int) -> int:
        """Forward passes of what the study expects to ask later, after a step over so many pictures."""
        return self.study.later(dict(self.known)) * images

    def _passes(self, steps: Iterable[Step]) -> int:
        """Forward passes that steps take, each network of a dataset once."""
        left = (one for step in steps for one in step.questions if one not in self.known)
        asked = ((recipe, one.data) for one in left for recipe in one.recipes)
        costs = {(self._content(recipe), data): self._cost(recipe, data) for recipe, data in asked}
        return sum(costs.values())

    def _cost(self, recipe: Recipe, data: str) -> int:
        """Forward passes of a network over a dataset, and what making it takes in passes."""
        key = self._content(recipe), data
        if key not in self._costs:
            images, making = len(self.datasets.get(data, ())), 0
            with suppress(FusionError):  # measuring says why
                making = self.runner.builder.merger.preparing(recipe, images)
            self._costs[key] = forwards_of(recipe) * images + making
        return self._costs[key] - forwards_of(recipe) * self._finished.get(key, 0)

    def _content(self, recipe: Recipe) -> str:
        """What tells a network from others, found out once: what is left is counted anew after every step."""
        if id(recipe) not in self._contents:
            content = hashlib.sha256(recipe.content.encode()).hexdigest()
            self._contents[id(recipe)] = content, recipe  # held, so that no other gets its id
        return self._contents[id(recipe)][0]

    def _spare(self) -> None:
        """Count the passes of networks whose figures are wanted and here already."""
        there: dict[str, dict[str, Recipe]] = {}
        for step in self.study.steps(dict(self.known)):
            for one in step.questions:
                if one in self.known:
                    there.setdefault(one.data, {}).update({recipe.content: recipe for recipe in one.recipes})
        for key, recipes in there.items():
            self.runner.spare(recipes.values(), self.datasets[key])


def _refused(error: Exception) -> Refused:
    if isinstance(error, FusionError):
        return Refused(error.one_line)
    return Refused(f"{type(error).__name__}: {error}", applies=True)


__all__ = ["Known", "Work"]
