"""Task vectors: what each checkpoint has learned since a common base."""

from __future__ import annotations

from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.errors import UsageError


def tasks_of(arena: Arena, base: int) -> tuple[int, ...]:
    """Numbers of the checkpoints other than the base. Raises `UsageError` where the base is not there or is alone."""
    if not 0 <= base < len(arena):
        raise UsageError(f"Base {base} of {len(arena)} checkpoints", f"a number from 0 to {len(arena) - 1}", "Correct the base")
    if len(arena) < 2:
        raise UsageError("A base alone", "a base checkpoint and at least one that was trained from it", "Add a checkpoint")
    return tuple(number for number in range(len(arena)) if number != base)


def task_shares(count: int, base: int) -> tuple[float, ...]:
    """Equal weights for all but the base: what running statistics follow. A base without any other keeps all."""
    if count == 1:
        return (1.0,)
    return tuple(0.0 if number == base else 1 / (count - 1) for number in range(count))


def statistics_from_tasks(arena: Arena, base: int, out: Tensor) -> None:
    """Mean running statistics of the tasks in `out`: a base plus scaled differences could make a variance negative."""
    tasks = tasks_of(arena, base)
    for entry in arena.layout.entries:
        if entry.kind == "buffer":
            rows = [arena.weights[number, entry.offset:entry.end] for number in tasks]
            view = out[entry.offset:entry.end]
            view.copy_(rows[0])
            for seen, row in enumerate(rows[1:], start=2):
                view.lerp_(row, 1 / seen)
