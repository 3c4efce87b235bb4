"""What methods must find out: estimated once, stored by content, found again by other processes, with progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import MEMORY, Memory, TinyArchitecture, album, arena_of, informed, tiny_registered, tiny_tensors, worker

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, STATISTICS, MergeMethod, Mixture, Progress, Subject, Wanted, parameters_of
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.statistics import _Finder, find, work
from fusionlib.errors import ArchitectureError, Cancelled, UsageError
from fusionlib.merging.average import average_rows
from fusionlib.merging.fisher import Fisher
from fusionlib.merging.rebasin import Rebasin
from fusionlib.question import Tally
from fusionlib.runs.statistics import StatisticsStore

NAMES = STATISTICS.names()
WANTING = [name for name in METHODS.names() if METHODS.get(name).statistics]
STRENGTH = ("weights", "architecture", "pictures")


@pytest.fixture(autouse=True, scope="module")
def known_network() -> Iterator[None]:
    with tiny_registered():
        yield


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return arena_of(tmp_path, *(tiny_tensors(seed) for seed in (1, 2, 3)))


def found(method: MergeMethod, arena: Arena, store: Any = None, **more: Any) -> MergeMethod:
    return find(method, arena, pictures=more.pop("pictures", None) or album(), worker=worker(), store=store, **more)


def same(one: MergeMethod, other: MergeMethod) -> bool:
    """Whether two know the same to the bit."""
    assert one.found and other.found and set(one.found) == set(other.found)
    return all(
        set(table) == set(other.found[key]) and all(torch.equal(table[name], other.found[key][name]) for name in table)
        for key, table in one.found.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_statistics_declare_themselves(name: str) -> None:
    item = STATISTICS.get(name)
    assert item.title and item.summary and item.source and type(item).__doc__ and item.version >= 1
    assert item.needs in STRENGTH and item.grain in ("checkpoint", "pair", "set")
    assert (item.cost > 0) == (item.needs == "pictures")


@pytest.mark.parametrize("name", WANTING)
def test_a_method_needs_what_its_statistics_need_and_has_their_options(name: str) -> None:
    kind = METHODS.get(name)
    needs = [STATISTICS.get(statistic).needs for statistic in kind.statistics]
    assert kind.needs == max(needs, key=STRENGTH.index)
    options = {option for statistic in kind.statistics for option in STATISTICS.get(statistic).options}
    assert options <= {item.name for item in parameters_of(kind)}


@pytest.mark.parametrize("name", WANTING)
def test_what_was_found_lies_on_the_cpu_and_is_the_same_again(arena: Arena, name: str) -> None:
    method = METHODS.get(name)()
    first, second = found(method, arena), found(method, arena)
    assert same(first, second) and first.found
    assert set(first.found) == {(want.statistic, want.members) for want in method.wanted(3)}
    for table in first.found.values():
        assert table and all(value.device.type == "cpu" for value in table.values())
        assert all(bool(torch.isfinite(value.double()).all()) for value in table.values())


@pytest.mark.parametrize("name", WANTING)
def test_another_process_finds_it_again_and_estimates_nothing(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    method = METHODS.get(name)()
    first = found(method, arena, StatisticsStore(tmp_path / "kept"))
    files = sorted((tmp_path / "kept").iterdir())
    assert len(files) == len(method.wanted(3))
    for statistic in method.statistics:
        monkeypatch.setattr(
            STATISTICS.get(statistic), "estimate", lambda *_: pytest.fail("estimated again"), raising=True
        )
    again = found(METHODS.get(name)(), replace(arena), StatisticsStore(tmp_path / "kept"))
    assert same(first, again) and sorted((tmp_path / "kept").iterdir()) == files


def test_a_damaged_file_is_estimated_anew_and_replaced(arena: Arena, tmp_path: Path) -> None:
    store = StatisticsStore(tmp_path / "kept")
    first = found(Fisher(), arena, store)
    for file in (tmp_path / "kept").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert same(first, found(Fisher(), arena, StatisticsStore(tmp_path / "kept"))) and not store.notes
    assert all(file.stat().st_size > 100 for file in (tmp_path / "kept").iterdir())


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(arena: Arena, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    store = StatisticsStore(tmp_path / "kept")
    assert same(found(Fisher(), arena, store), found(Fisher(), arena))
    assert store.notes == ("3 statistics of these checkpoints could not be kept: a file is where a folder should be",)


def keys(arena: Arena, method: MergeMethod | None = None, **more: Any) -> set[str]:
    """Under which keys something was stored."""
    store = Memory()
    found(method or Fisher(), arena, store, **more)
    return set(store.tables)


def test_the_key_is_of_what_decides_the_values_and_of_nothing_else(arena: Arena, monkeypatch) -> None:
    plain = keys(arena)
    assert len(plain) == 3 and keys(replace(arena, names=("x", "y", "z"), fingerprints=("0", "1", "2"))) == plain
    assert keys(arena, Fisher(lambdas=(0.2, 0.3, 0.5), anchor=2, normalise=False)) == plain
    assert keys(arena.only([2, 0, 1])) == plain
    others = [
        keys(arena, Fisher(seed=1)),
        keys(arena, count=1),
        keys(arena, pictures=album(seed=1)),
        keys(replace(arena, weights=arena.weights * 1.5)),
    ]
    monkeypatch.setattr(STATISTICS.get("fisher"), "version", 2, raising=True)
    others.append(keys(arena))
    monkeypatch.undo()
    monkeypatch.setattr(TinyArchitecture, "code", "other code", raising=False)
    others.append(keys(arena))
    assert all(not plain & other for other in others) and len(set().union(*others)) == 3 * len(others)


def test_the_same_checkpoint_twice_is_looked_at_once(tmp_path: Path) -> None:
    store = Memory()
    found(Fisher(), arena_of(tmp_path, *[tiny_tensors(1)] * 3), store)
    assert store.puts == 1


def test_checkpoints_without_weight_are_not_looked_at(arena: Arena) -> None:
    assert {want.members for want in Fisher(lambdas=(0.5, 0.0, 0.5)).wanted(3)} == {(0,), (2,)}
    assert {want.members for want in Rebasin(anchor=2).wanted(3)} == {(2, 0), (2, 1)}
    assert Rebasin(alpha=1.0).wanted(3) == ()
    method = found(Fisher(lambdas=(0.5, 0.0, 0.5)), arena)
    assert torch.isfinite(method(arena).weights).all()


def test_progress_is_in_forward_passes_and_grows(arena: Arena) -> None:
    seen: list[tuple[int, int]] = []
    found(Fisher(), arena, progress=lambda done, total: seen.append((done, total)))
    total = STATISTICS.get("fisher").cost * 3 * 2
    assert {whole for _, whole in seen} == {total} == {work(Fisher(), 3, 2)}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and seen[-1][0] == total
    assert work(Rebasin(), 3, 2) == 0


@pytest.mark.parametrize("name", WANTING)
def test_a_cancel_ends_it_between_two_steps_and_what_was_whole_stays(arena: Arena, name: str) -> None:
    store, calls = Memory(), []

    def until_the_last(done: int, total: int) -> None:
        calls.append(done)
        if store.puts == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        found(METHODS.get(name)(), arena, store, progress=until_the_last)
    assert store.puts == 1
    seen = len(calls)
    found(METHODS.get(name)(), arena, store, progress=lambda done, total: calls.append(done))
    assert store.puts == len(METHODS.get(name)().wanted(3)) and len(calls) > seen


def test_what_is_missing_is_said_before_any_work(arena: Arena, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give --data"):
        find(Fisher(), arena, worker=worker())
    odd = arena_of(tmp_path / "odd", {"w": torch.ones(3)}, {"w": torch.zeros(3)})
    with pytest.raises(ArchitectureError, match="--model"):
        found(Fisher(), odd)
    with pytest.raises(UsageError, match="a number from 0 to 2"):
        found(Rebasin(anchor=7), arena)
    for method in (Fisher(), Rebasin()):
        with pytest.raises(UsageError, match="of these checkpoints"):
            method(replace(arena))


def test_a_method_that_knows_asks_no_more(arena: Arena) -> None:
    method = informed(Fisher(), arena)
    assert found(method, arena, None, progress=lambda *_: pytest.fail("asked again")) is method
    assert MEMORY.puts


def test_a_changed_picture_keeps_nothing(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()

    def changed(self: DecodedCache) -> None:
        raise UsageError("changed", "the same", "again")

    monkeypatch.setattr(DecodedCache, "verify", changed)
    with pytest.raises(UsageError):
        found(Fisher(), arena, store)
    assert store.puts == 0


class Spread:
    """The largest distance between two of a set: one table for all of them."""

    title, summary, source = "spread", "How far apart they are", "made for this test"
    version, needs, grain, options, cost = 1, "weights", "set", ("power",), 0

    def estimate(self, subject: Subject, options: Mapping[str, Any], progress: Progress) -> dict[str, torch.Tensor]:
        progress(0, 0)
        first = subject.arena.weights[0]
        return {"first": first.clone(), "spread": torch.cdist(*[subject.arena.weights] * 2).max() ** options["power"]}


@dataclass(frozen=True)
class Shrunk(MergeMethod):
    """The mean, divided by the spread."""

    title: ClassVar = "Shrunk"
    statistics: ClassVar = ("spread",)
    power: float = 1.0

    def shares(self, count: int) -> tuple[float, ...]:
        return (1 / count,) * count

    def __call__(self, arena: Arena, out: torch.Tensor | None = None) -> Mixture:
        spread = self.table("spread", *range(len(arena)))["spread"]
        out = torch.empty_like(arena.weights[0]) if out is None else out
        return Mixture(average_rows(arena, self.shares(len(arena)), out).div_(spread)[None], torch.ones(1))


@pytest.fixture
def spread() -> Iterator[None]:
    STATISTICS.put("spread", Spread())
    yield
    del STATISTICS._items["spread"]


@pytest.mark.usefixtures("spread")
def test_a_set_has_one_table_whatever_the_order(arena: Arena) -> None:
    store = Memory()
    rows = [found(Shrunk(), arena.only(order), store)(arena.only(order)).weights[0] for order in ([0, 1, 2], [2, 0, 1])]
    assert store.puts == 1 and torch.equal(*rows)
    found(Shrunk(power=2.0), arena, store)
    assert store.puts == 2


FIGURES: Mapping[str, tuple[int, tuple[float, ...]]] = {
    "fisher": (1, (3.562967778688791, -0.09109474056413736, 1.6944756022551661)),
    "gram": (1, (14.826171525293242, -1.927966005149679, -1.7464880555822258)),
    "permutation": (1, (16.73320053068151, 6.655582611041528, 11.479414091375121)),
}
"""Version of each statistic, and three sums over what it finds out about tiny checkpoints."""


@pytest.mark.parametrize("name", NAMES)
def test_values_move_with_the_version_alone(tmp_path: Path, name: str) -> None:
    defaults = {item.name: item.default for _, kind in METHODS.items() for item in parameters_of(kind)}
    given = {**defaults, "labels": "exact", "restarts": 2}
    statistic, arena = STATISTICS.get(name), arena_of(tmp_path, tiny_tensors(1), tiny_tensors(2))
    members = (0,) if statistic.grain == "checkpoint" else (0, 1)
    want = Wanted(name, members, {key: given[key] for key in statistic.options})
    finder = _Finder(arena, None, album(size=(8, 12)), None, worker(), None, Tally())
    table = finder.table(want, lambda done, total: None)
    flat = torch.cat([table[key].double().flatten() for key in sorted(table)])
    steps = torch.arange(len(flat), dtype=torch.float64)
    sums = (float(flat.norm()), float(flat @ torch.cos(steps)), float(flat @ torch.sin(1.7 * steps)))
    assert name in FIGURES, f"a new statistic: {sums}"
    version, expected = FIGURES[name]
    assert statistic.version == version and sums == pytest.approx(expected, rel=1e-3), "values moved: raise the version"
