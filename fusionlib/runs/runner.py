"""Answers questions: what is known from the tables, the rest by one pass for all measures of the same networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import torch

from fusionlib.contracts import MEASURES, Progress, State
from fusionlib.data.cache import DecodedCache
from fusionlib.data.labels import LabelSpace
from fusionlib.engine.build import Builder, Built, forwards_of
from fusionlib.engine.observe import Pass, Task, look_through
from fusionlib.errors import DataError, UsageError
from fusionlib.imaging.png import pack_labels
from fusionlib.measures import states
from fusionlib.question import Question, Tally, Told, figures_of
from fusionlib.recipe import Recipe
from fusionlib.runs.answers import Answer, Answers, Remembered, Subject, labels_key, short
from fusionlib.runs.desk import RunDesk
from fusionlib.runs.passes import Passes, PassesHere
from fusionlib.runs.picturewise import Asked, Picturewise, Rows, Seen

CPU = torch.device("cpu")

BASIC = ("confusion", "loss")
"""What is asked of a network where nobody says otherwise."""

Place = tuple[Any, ...]
"""Where an answer lies: networks, measure and data."""


class Runner:
    """One for all that is measured in a process: builds networks, runs passes, keeps and tells answers.

    Every torch call goes through the builder's worker, so that live frames go before any batch; forward passes are
    carried out by `passes`, which may be other processes.
    """

    def __init__(self, builder: Builder, answers: Answers, passes: Passes | None = None) -> None:
        self.builder, self.answers, self.worker = builder, answers, builder.worker
        self.passes = PassesHere() if passes is None else passes
        self.picturewise = Picturewise(answers)
        self.desk = RunDesk(answers.database)
        self.tally = Tally()
        """Forward passes of this process, run and spared."""
        self._counted: set[str] = set()

    def ask(
        self,
        questions: Sequence[Question],
        pictures: DecodedCache,
        progress: Progress | None = None,
        *,
        fresh: bool = False,
        networks: dict[str, Built] | None = None,
        anew: set[Place] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> list[Told]:
        """The answers to questions about these pictures, in order: one pass for all of them together.

        With `fresh` nothing that is known counts but what is in `anew`, where all that is measured is put: equal
        networks of one piece of work are looked at once. `networks`, by build key, are those that whoever asks keeps
        for the next question: what is built is put there, and what is there is not built again. `say` is told what goes
        on before the first pass. Progress is in forward passes, and may raise `Cancelled`: pictures that are finished
        by then are known the next time. Of a measure that keeps maps a picture without its map is not known. Raises
        what builds and passes raise, before any pass.
        """
        return self._ask(questions, pictures, progress, fresh, networks, Rows(self.answers), anew, say)

    def _ask(
        self,
        questions: Sequence[Question],
        pictures: DecodedCache,
        progress: Progress | None,
        fresh: bool,
        networks: dict[str, Built] | None,
        rows: Rows,
        anew: set[Place] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> list[Told]:
        tally, begun = self.tally, time.perf_counter()
        target = self._target(questions, pictures)
        builts = {} if networks is None else networks
        steps = _Steps(tally, progress, sum(map(forwards_of, _distinct(questions))) * len(pictures), say)
        asked = [self._identified(question, target, builts, steps) for question in questions]
        anew, data = set() if anew is None else anew, pictures.fingerprint()
        told = [
            None
            if (fresh and (*one.place, data) not in anew) or self.picturewise.unmapped(one, pictures)
            else self._known(one, pictures)
            for one in asked
        ]
        left = [one for one, answer in zip(asked, told, strict=True) if answer is None]
        try:
            took = self._measure(left, target, pictures, builts, steps, fresh, rows) if left else 0.0
        finally:
            tally.seconds += time.perf_counter() - begun
        anew |= {(*one.place, data) for one in left}
        merges = {merge.build: merge for one in asked for merge in one.merges}
        tally.known += sum(merge.forwards for merge in merges.values()) * len(pictures) - steps.passed
        tally.known += self._making({build: merge for build, merge in merges.items() if build not in builts})
        return [answer or self._found(one, pictures, took) for one, answer in zip(asked, told, strict=True)]

    def spare(self, recipes: Iterable[Recipe], pictures: DecodedCache) -> None:
        """Count the passes of networks whose figures somebody wanted and found."""
        merges = {merge.build: merge for merge in self.answers.builds(map(self.builder.memo, recipes)).values()}
        self.tally.known += sum(merge.forwards for merge in merges.values()) * len(pictures) + self._making(merges)

    def _making(self, merges: Mapping[str, Remembered]) -> int:
        """Passes that making networks would take, each counted once: it is made once for all data."""
        new = {build: merge for build, merge in merges.items() if build not in self._counted}
        self._counted |= new.keys()
        return sum(merge.passes for merge in new.values())

    def measure(
        self,
        recipe: Recipe,
        pictures: DecodedCache,
        progress: Progress | None = None,
        *,
        measures: Sequence[str] = BASIC,
        fresh: bool = False,
    ) -> dict[str, Any]:
        """Figures of one network by several measures, in one table; `images` and `tiled` beside them. As `ask`."""
        questions = [Question((recipe,), pictures.fingerprint(), name) for name in measures]
        return figures_of(self.ask(questions, pictures, progress, fresh=fresh))

    def recall(
        self, recipes: Sequence[Recipe], pictures: DecodedCache, measures: Sequence[str] = BASIC
    ) -> list[dict[str, Any] | None]:
        """The same of several networks, without running anything: None for those of which something is not known."""
        data = pictures.fingerprint()
        told = self.known([Question((one,), data, name) for one in recipes for name in measures], pictures)
        groups = [told[start : start + len(measures)] for start in range(0, len(told), len(measures))]
        return [None if None in group else figures_of(filter(None, group)) for group in groups]

    def need_masks(self, pictures: DecodedCache) -> None:
        """Raises `DataError` for pictures that nothing can be held against."""
        if not pictures.labelled:
            raise DataError(
                f"{pictures.title} has no masks",
                "labelled pictures to measure on",
                "Choose data with masks; pictures without them can still be looked at",
            )

    def known(self, questions: Sequence[Question], pictures: DecodedCache) -> list[Told | None]:
        """The answers for which nothing has to run, neither a pass nor a merge; None for the others."""
        return [None if one is None else self._known(one, pictures) for one in self._placed(questions, pictures)]

    def finished(self, questions: Sequence[Question], pictures: DecodedCache) -> list[int]:
        """On how many of the pictures the network of each question was looked at for it: an interrupted pass leaves the
        others.
        """
        keys = {short(pictures.picture_key(index)) for index in range(len(pictures))}
        return [
            0
            if one is None or one.measure.grain != "picture"
            else len(self.answers.pictures(*one.place) & keys & self._mapped(one, keys))
            for one in self._placed(questions, pictures)
        ]

    def _mapped(self, one: Asked, keys: set[bytes]) -> Set[bytes]:
        """Those of these pictures that lack no map that the measure would keep."""
        return keys if one.maps is None else self.answers.maps.pictures(one.maps)

    def pictures(
        self, question: Question, pictures: DecodedCache, indices: Sequence[int] | None = None
    ) -> Sequence[State] | None:
        """The state of every picture, or of those with these numbers, in order, without running anything; None where
        one is not known. Of a measure that keeps maps each has its `MAP`, unpacked when it is looked at.

        Their sum is what the figures of the question follow from: intervals and rankings are arithmetic over them.
        Raises `UsageError` for a measure that keeps none of single pictures, `DataError` for files that have changed.
        """
        _need_states(question)
        (one,) = self._placed([question], pictures)
        return None if one is None else self.picturewise.whole(one, pictures, indices, {})

    def subject(self, recipes: Sequence[Recipe], pictures: DecodedCache) -> Subject | None:
        """Under what lies what follows from the label maps of these networks, in this order; None where one of them was
        never built.
        """
        (one,) = self._placed([Question(tuple(recipes), pictures.fingerprint(), "labels")], pictures)
        return None if one is None else one.subject

    def look_into(
        self, question: Question, pictures: DecodedCache, progress: Progress | None = None
    ) -> Sequence[State]:
        """As `pictures`; what is not known is measured, by one pass as of `ask`. Of maps that have no room in the home
        folder, too.
        """
        _need_states(question)
        (one,) = self._placed([question], pictures)
        seen: Seen = {}
        if one is not None and one.maps is not None:
            seen |= {
                (one.maps, key): packed for key, packed in self.picturewise.maps(one, pictures, _all(pictures)).items()
            }
        self._ask([question], pictures, progress, False, None, Rows(self.answers, seen))
        (one,) = self._placed([question], pictures)
        found = None if one is None else self.picturewise.whole(one, pictures, None, seen)
        if found is None:
            raise DataError(
                f"States of {question.measure} that another process removed meanwhile",
                "a home folder with room for them",
                "Ask again, or give a larger --home-mb",
            )
        return found

    def _placed(self, questions: Sequence[Question], pictures: DecodedCache) -> list[Asked | None]:
        """Where the answers to questions lie; None for those about a network that was never built."""
        if not questions:
            return []
        recipes = {id(recipe): recipe for question in questions for recipe in question.recipes}
        memos = {place: self.builder.memo(recipe) for place, recipe in recipes.items()}
        merges = self.answers.builds(memos.values())
        found: list[Asked | None] = []
        for question in questions:
            there = [merges.get(memos[id(recipe)]) for recipe in question.recipes]
            if None in there:
                found.append(None)
            else:
                found.append(self._asked(question, there, self._target([question], pictures)))  # type: ignore[arg-type]
        return found

    def _target(self, questions: Sequence[Question], pictures: DecodedCache) -> LabelSpace:
        """What labels count as: the annotation's classes, without masks the networks' own."""
        if pictures.labelled:
            return pictures.label_space
        if any(MEASURES.get(question.measure).needs == "masks" for question in questions):
            self.need_masks(pictures)
        spaces = {space.names: space for one in questions for space in map(self.builder.space, one.recipes)}
        if len(spaces) > 1:
            raise UsageError(
                "Networks of different classes on pictures without masks", "one label space", "Choose data with masks"
            )
        return next(iter(spaces.values()))

    def _identified(self, question: Question, target: LabelSpace, builts: dict[str, Built], steps: _Steps) -> Asked:
        merges = []
        for recipe in question.recipes:
            memo = self.builder.memo(recipe)
            merges.append(self.answers.build(memo) or self._remembered(self._build(recipe, builts, steps), memo))
        return self._asked(question, merges, target)

    def _remembered(self, built: tuple[Built, int], memo: str) -> Remembered:
        network, passes = built
        found = Remembered(network.key, network.notes, network.seconds, network.forwards, passes)
        self.answers.keep_build(memo, found)
        return found

    def _build(self, recipe: Recipe, builts: dict[str, Built], steps: _Steps) -> tuple[Built, int]:
        """The network of a recipe, and what finding out what it needs takes in passes, those that were spared too."""
        tally = self.tally
        run, known = tally.run, tally.known
        steps.say("preparing the network")
        built = self.builder.build(recipe, steps.preparing, tally)
        steps.prepared()
        builts[built.key] = built
        passes = tally.run + tally.known - run - known
        if built.key in self._counted:
            tally.known = known
        self._counted.add(built.key)
        return built, passes

    def _asked(self, question: Question, merges: Sequence[Remembered], target: LabelSpace) -> Asked:
        labels = " ".join(labels_key(self.builder.space(recipe), target)[:16] for recipe in question.recipes)
        builds = tuple(merge.build for merge in merges)
        subject = Subject(builds, labels, self.builder.precision, self.builder.device.type)
        return Asked(question, MEASURES.get(question.measure), subject, tuple(merges), target.count)

    def _known(self, one: Asked, pictures: DecodedCache) -> Told | None:
        found = self.answers.find(*one.place, one.question.data)
        if found is None and one.measure.grain == "picture":
            found = self._summed(one, pictures)
        return None if found is None else self._told(one, found, known=True)

    def _found(self, one: Asked, pictures: DecodedCache, took: float) -> Told:
        """The answer after a pass: from the tables, into which it went."""
        picturewise = one.measure.grain == "picture"
        found = self._summed(one, pictures) if picturewise else self.answers.find(*one.place, one.question.data)
        assert found is not None, "a pass leaves a state of every picture"
        return replace(self._told(one, found, known=False), took=took)

    def _told(self, one: Asked, found: Answer, *, known: bool) -> Told:
        notes = tuple(dict.fromkeys(note for merge in one.merges for note in merge.notes))
        seconds = sum(merge.seconds for merge in one.merges)
        return Told(one.question, found.figures, found.images, found.tiled, known, one.subject.builds, notes, seconds)

    def _summed(self, one: Asked, pictures: DecodedCache) -> Answer | None:
        """Figures out of the states of pictures, in their order, and kept; None where one is missing, or damaged."""
        found = self.picturewise.states(one, pictures, _all(pictures))
        if found is None:
            return None
        total = states.add([state for state, _ in found])
        answer = Answer(one.measure.compute(total), len(found), sum(tiles > 0 for _, tiles in found))
        self._keep(one, answer, pictures)
        return answer

    def _keep(self, one: Asked, answer: Answer, pictures: DecodedCache) -> None:
        self.answers.keep(*one.place, one.question, pictures.spec, answer)

    def _measure(
        self,
        left: Sequence[Asked],
        target: LabelSpace,
        pictures: DecodedCache,
        builts: dict[str, Built],
        steps: _Steps,
        fresh: bool,
        rows: Rows,
    ) -> float:
        """One pass for all that is asked and not known, and for what every pass over masks feeds; its seconds."""
        recipes = {build: recipe for one in left for build, recipe in _networks(one)}
        order = list(recipes)
        networks = [builts.get(build) or self._build(one, builts, steps)[0] for build, one in recipes.items()]
        asked = {one.place: one for one in left}
        for build, recipe in recipes.items() if pictures.labelled else ():
            for one in self._always(build, recipe, left[0].question.data, target):
                asked.setdefault(one.place, one)
        tasks = [self._task(one, order, pictures, rows, fresh) for one in asked.values()]
        work = Pass(networks, target, pictures, [task for task in tasks if task.wanted], self.worker)
        passes = work.total

        def reading(done: int, total: int) -> None:
            steps.say(f"reading picture {done + 1:,} of {total:,}")
            steps(0, passes)  # where somebody cancels

        look_through(pictures, work.indices, reading if steps.heard else None)
        steps.say("")

        def along(done: int, total: int) -> None:
            rows.flush()  # before the next picture begins: whatever ends the process, a finished one is known
            steps(done, total)

        begun = time.perf_counter()
        try:
            self.passes.run(work, along)
        finally:
            rows.flush()
        took = time.perf_counter() - begun
        pictures.verify()
        for one, task in zip(asked.values(), tasks, strict=True):
            if one.measure.grain == "split" and (state := task.state) is not None:
                figures = self.worker.run(lambda one=one, state=state: one.measure.compute(state))
                self._keep(one, Answer(figures, len(pictures), 0), pictures)
        return took

    def _always(self, build: str, recipe: Recipe, data: str, target: LabelSpace) -> list[Asked]:
        """The measures of one network that every pass over masks feeds, whoever asks."""
        names = [name for name, measure in MEASURES.items() if measure.always and measure.networks == "one"]
        return [self._asked(Question((recipe,), data, name), [Remembered(build)], target) for name in names]

    def _task(self, one: Asked, order: Sequence[str], pictures: DecodedCache, rows: Rows, fresh: bool) -> Task:
        wanted = frozenset(range(len(pictures)))
        if one.measure.grain == "split":
            wanted = wanted if fresh or not self.answers.find(*one.place, one.question.data) else frozenset()
        elif not fresh:
            there = self.answers.pictures(*one.place)
            if one.maps is not None:
                there &= self.answers.maps.pictures(one.maps)
            wanted = frozenset(index for index in wanted if short(pictures.picture_key(index)) not in there)

        def keep(index: int, state: State, tiles: int) -> None:
            sums = {name: tensor for name, tensor in state.items() if name != states.MAP}
            rows.add((*one.place, pictures.picture_key(index), states.pack(sums), tiles))
            if one.maps is not None:
                rows.add_map(one.maps, short(pictures.picture_key(index)), pack_labels(state[states.MAP].numpy()))

        return Task(one.measure, tuple(map(order.index, one.subject.builds)), wanted, keep)


def _all(pictures: DecodedCache) -> range:
    return range(len(pictures))


def _need_states(question: Question) -> None:
    """Raises `UsageError` for a measure that keeps no states of single pictures."""
    if MEASURES.get(question.measure).grain != "picture":
        raise UsageError(
            f"States of single pictures of {question.measure}", "a measure of grain picture", "Ask another measure"
        )


def _networks(one: Asked) -> list[tuple[str, Recipe]]:
    """Build keys of a question with their recipes."""
    return list(zip(one.subject.builds, one.question.recipes, strict=True))


def _distinct(questions: Iterable[Question]) -> list[Recipe]:
    """The networks that questions are about, each once."""
    return list({recipe.content: recipe for question in questions for recipe in question.recipes}.values())


class _Steps:
    """Progress of building networks, `ahead` passes before they are measured, then of the passes, which it counts."""

    def __init__(
        self, tally: Tally, progress: Progress | None, ahead: int, say: Callable[[str], None] | None = None
    ) -> None:
        self._tally, self._progress, self._ahead, self._say = tally, progress, ahead, say
        self.passed = self._before = self._building = 0

    @property
    def heard(self) -> bool:
        """Whether somebody wants to know what goes on before the first pass."""
        return self._say is not None

    def say(self, what: str) -> None:
        """What goes on while no pass does."""
        if self._say is not None:
            self._say(what)

    def preparing(self, done: int, total: int) -> None:
        """So much of a build is done, in forward passes' worth of work."""
        self._building = total
        if self._progress is not None:
            self._progress(self._before + done, self._before + total + self._ahead)

    def prepared(self) -> None:
        """A build has come to its end."""
        self._before, self._building = self._before + self._building, 0

    def __call__(self, done: int, total: int) -> None:
        self._tally.run += done - self.passed
        self.passed = done
        if self._progress is not None:
            self._progress(self._before + done, self._before + total)
