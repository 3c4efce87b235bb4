"""Who answers the steps of a study: a protocol whose tasks are plain values, and the thread that does it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.errors import UsageError
from fusionlib.question import Question, Told
from fusionlib.runs.runner import Place, Runner


@dataclass(frozen=True)
class Task:
    """Questions about one dataset, found out in one pass. With `fresh` what is known from before does not count."""

    questions: tuple[Question, ...]
    fresh: bool = False

    @property
    def data(self) -> str:
        """The content key of the pictures."""
        return self.questions[0].data


class Executor(Protocol):
    """Answers tasks; opens the pictures by their content key and builds the networks from their recipes itself, so that
    it may be in another process.
    """

    def run(self, task: Task, progress: Progress) -> Sequence[Told]:
        """The answers, in the order of the questions. Progress is in forward passes, and may raise `Cancelled`. Raises
        what builds and passes raise.
        """
        ...


class HereExecutor:
    """Answers on the calling thread, by the runner of this process.

    Networks are kept for the next task as long as it is about the same ones: other datasets may be next. `say` is told
    what goes on before the first pass.
    """

    def __init__(
        self, runner: Runner, pictures: Mapping[str, DecodedCache], say: Callable[[str], None] | None = None
    ) -> None:
        self.runner, self.pictures, self.say = runner, pictures, say
        self._networks: dict[str, Any] = {}
        self._present: set[str] = set()
        self._anew: set[Place] = set()

    def run(self, task: Task, progress: Progress) -> list[Told]:
        """Raises `UsageError` where nobody has chosen such data."""
        pictures = self.pictures.get(task.data)
        if pictures is None:
            raise UsageError("No data is chosen", "a dataset", "Choose one on the Workspace page")
        here = {recipe.content for one in task.questions for recipe in one.recipes}
        if not here <= self._present:
            self._networks.clear()
            self._present = here
        return self.runner.ask(
            task.questions,
            pictures,
            progress,
            fresh=task.fresh,
            networks=self._networks,
            anew=self._anew,
            say=self.say,
        )
