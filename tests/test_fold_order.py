"""Equal questions are equal bytes: the order in which checkpoints are named decides nothing, in any method, file or
view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, TinyArchitecture, informed, pictures, saved, tiny_registered, tiny_tensors, with_posteriors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.contracts import METHODS, parameters_of
from fusionlib.engine.blend import Blend
from fusionlib.engine.build import Builder
from fusionlib.engine.ensemble import OutputEnsemble
from fusionlib.engine.merge import Merger
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Worker
from fusionlib.merging.average import fold_order
from fusionlib.merging.buffers import merged_integers, settle
from fusionlib.merging.build import build_method
from fusionlib.merging.choices import RULES
from fusionlib.merging.linear import Linear
from fusionlib.merging.profile import LayerProfile
from fusionlib.studio import write_recipe
from fusionlib.studio.export import run_recipe

POLICIES = ("average", "gaussian", "anchor")
WEIGHTS = (0.2, 0.3, 0.5)
PROFILE = {"stem": (0.1, 0.7, 0.2), "head": (0.6, 0.0, 0.4), "norm2": (0.0, 1.0, 0.0)}
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "linear": {"weights": WEIGHTS},
    "fisher": {"lambdas": WEIGHTS},
    "profile": {"weights": PROFILE, "rest": WEIGHTS},
    "rebasin": {"alpha": 0.4, "restarts": 1},
    "layerwise": {"first_weight": 0.4},
    "slerp": {"alpha": 0.3},
    "ties": {"density": 0.5},
}
"""What a method is tried with beside the numbers of checkpoints, which every method that has some is tried with."""


@pytest.fixture(autouse=True, scope="module")
def known_network():
    with tiny_registered():
        yield


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    folder = tmp_path_factory.mktemp("three")
    return [saved(folder / f"{seed}.safetensors", tiny_tensors(seed)) for seed in (1, 2, 3)]


def parameters_for(name: str, order: Sequence[int]) -> dict[str, Any]:
    """The method's parameters for checkpoints named in another order: whose they are stays the same."""
    places = [item.name for item in parameters_of(METHODS.get(name)) if item.checkpoint]
    numbers = {place: number + 1 for number, place in enumerate(places)}
    if name == "slerp":
        return {"alpha": (0.3, 1 - 0.3)[order[0]]}

    def turned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {unit: turned(row) for unit, row in value.items()}
        return tuple(value[number] for number in order) if isinstance(value, tuple) else value

    return {key: turned(value) for key, value in GIVEN.get(name, {}).items()} | {
        place: list(order).index(number) for place, number in numbers.items()
    }


def merged(name: str, policy: str, checkpoints: Sequence[Checkpoint], order: Sequence[int]) -> dict[str, torch.Tensor]:
    """Every tensor of the merge of checkpoints named in `order`; of a method that gives several networks each one's."""
    arena, method = (
        with_posteriors(Arena.pack([checkpoints[number] for number in order])),
        build_method(name, parameters_for(name, order)),
    )
    method = informed(method, arena)
    mixture = method(arena)
    for row in mixture.weights:
        settle(policy, arena, method, row, list(order).index(1))
    floats = {
        f"{number} {key}": view
        for number, row in enumerate(mixture.weights)
        for key, view in arena.layout.views(row).items()
    }
    return floats | merged_integers(policy, arena, method, list(order).index(1))


def differing(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> list[str]:
    assert set(one) == set(other)
    return [name for name in one if one[name].dtype != other[name].dtype or not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", METHODS.names())
def test_any_order_of_the_checkpoints_gives_the_same_bytes(three: list[Checkpoint], name: str, policy: str) -> None:
    members = three[:2] if name == "slerp" else three
    orders = list(permutations(range(len(members))))
    first = merged(name, policy, members, orders[0])
    for order in orders[1:]:
        assert differing(first, merged(name, policy, members, order)) == [], order


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda values: sum(values) > 0.1),
    st.permutations(range(4)),
)
def test_weights_follow_their_checkpoints_even_where_a_file_is_named_twice(
    three: list[Checkpoint], values, order
) -> None:
    shares, members = [value / sum(values) for value in values], [*three, three[0]]
    rows = [
        Linear(weights=tuple(shares[number] for number in numbers))(
            Arena.pack([members[number] for number in numbers])
        ).weights[0]
        for numbers in (range(4), order)
    ]
    assert torch.equal(*rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alpha_and_its_complement_are_one_question(tmp_path: Path, dtype: torch.dtype) -> None:
    a, b = (saved(tmp_path / f"{seed}.safetensors", tiny_tensors(seed, dtype=dtype)) for seed in (1, 2))
    for alpha in (0.1, 0.3, 0.35, 0.7, 0.9):
        one, other = Linear(alpha)(Arena.pack([a, b])), Linear(1 - alpha)(Arena.pack([b, a]))
        assert torch.equal(one.weights, other.weights)
        builder = Builder(Merger(Worker("alpha"), torch.device("cpu")))
        builder.merger.sources.know([a, b])
        first = write_recipe([a, b], "linear", {"alpha": alpha}, "average")
        second = write_recipe([b, a], "linear", {"alpha": 1 - alpha}, "average")
        assert builder.memo(first) == builder.memo(second) and builder.build(first).key == builder.build(second).key


def test_the_order_is_that_of_the_fingerprints_and_leaves_out_who_has_no_weight() -> None:
    assert fold_order(["c", "a", "b"], [0.5, 0.2, 0.3]) == [(1, 0.2), (2, 0.3), (0, 0.5)]
    assert fold_order(["c", "a", "b"], [0.5, 0.0, 0.5]) == [(2, 0.5), (0, 0.5)]
    assert fold_order(["a", "b"], [1 - 0.7, 0.7]) == [(0, 0.3), (1, 0.7)]
    assert fold_order(["a", "b"], [1 - 1e-14, 1e-14]) == [(0, 1.0)]
    assert fold_order(["a", "a"], [0.7, 0.3]) == [(1, 0.3), (0, 0.7)]


# --- files that differ in more than their numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "isotropic", "profile", "slerp", "dare", "ties", "task_arithmetic"])
def test_files_that_list_their_tensors_in_other_orders(tmp_path: Path, three: list[Checkpoint], name: str) -> None:
    save_file(tiny_tensors(1), tmp_path / "sorted.safetensors")
    members = [open_checkpoint(tmp_path / "sorted.safetensors"), *three[1:]][: 2 if name == "slerp" else 3]
    assert list(members[0].tensors) != list(members[1].tensors)
    orders = list(permutations(range(len(members))))
    first = merged(name, "gaussian", members, orders[0])
    assert [order for order in orders if differing(first, merged(name, "gaussian", members, order))] == []


def test_files_of_other_dtypes_give_the_narrowest_that_holds_all(tmp_path: Path) -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32)
    opened = {
        kind: saved(tmp_path / f"{kind}.safetensors", tiny_tensors(1 + number, dtype=kind))
        for number, kind in enumerate(kinds)
    }
    worker = Worker("dtypes")
    for members, expected in (
        (kinds, torch.float32),
        (kinds[:2], torch.float32),
        (kinds[1:], torch.float32),
        (kinds[:1] * 2, kinds[0]),
    ):
        files = []
        for order in (members, members[::-1]):
            checkpoints = [opened[kind] for kind in order]
            for method in ("linear", "isotropic"):  # streamed and in memory
                given = {"weights": [1 / len(order)] * len(order)} if method == "linear" else {}
                recipe = write_recipe(checkpoints, method, given, "gaussian")
                files.append(
                    open_checkpoint(
                        run_recipe(
                            recipe, checkpoints, tmp_path / f"m{len(files)}.safetensors", worker=worker, device=CPU
                        ).path
                    )
                )
        assert {info.dtype for info in files[0].tensors.values() if info.dtype.is_floating_point} == {expected}
        tables = [{name: file.read(name) for name in file.tensors} for file in files]
        assert [number for number, table in enumerate(tables) if differing(tables[0], table)] == []


def test_a_wide_end_of_a_path_to_a_narrow_one_stays_what_it_is(tmp_path: Path) -> None:
    narrow, wide = (
        saved(tmp_path / f"{seed}.safetensors", tiny_tensors(seed, dtype=dtype))
        for seed, dtype in ((1, torch.float16), (2, torch.float32))
    )
    recipe = write_recipe([narrow, wide], "linear", {"alpha": 0.0}, "average")
    out = run_recipe(recipe, [narrow, wide], tmp_path / "m.safetensors", worker=Worker("ends"), device=CPU).path
    written = open_checkpoint(out)
    assert (
        differing(
            {name: written.read(name) for name in written.tensors}, {name: wide.read(name) for name in wide.tensors}
        )
        == []
    )


# --- exports, streams and views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["average", "gaussian"])
def test_exports_streams_and_views_agree_whoever_is_named_first(
    tmp_path: Path, three: list[Checkpoint], policy: str
) -> None:
    worker, tables = Worker("orders"), []
    for number, order in enumerate(permutations(range(3))):
        checkpoints, weights = [three[place] for place in order], tuple(WEIGHTS[place] for place in order)
        for method, parameters in (
            ("linear", {"weights": list(weights)}),  # streamed, and in memory
            ("profile", {"rest": list(weights), "anchor": order.index(0)}),
        ):
            recipe = write_recipe(checkpoints, method, parameters, policy)
            file = open_checkpoint(
                run_recipe(
                    recipe, checkpoints, tmp_path / f"{method}{number}.safetensors", worker=worker, device=CPU
                ).path
            )
            tables.append({name: file.read(name) for name in file.tensors})
        arena = Arena.pack(checkpoints)
        blend = Blend(arena, BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU), policy)
        unit = {"stem": tuple(float(place == 1) for place in order)}
        for drag in (
            Linear(weights=weights),
            LayerProfile(weights=unit, rest=weights),
            LayerProfile(rest=weights, anchor=order.index(0)),
        ):
            blend.set(drag, lambda call: call())
        tables.append(dict(blend.network.module.state_dict()))
    assert [number for number, table in enumerate(tables) if differing(tables[0], table)] == []


@pytest.mark.parametrize("rule", RULES)
def test_an_output_ensemble_answers_alike_in_every_order(three: list[Checkpoint], rule: str) -> None:
    networks, prints = [], [item.fingerprint for item in three]
    for item in three:
        arena = Arena.pack([item])
        networks.append(BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU))
        networks[-1].load(arena.weights[0])
    images = pictures(1)
    answers = [
        OutputEnsemble(
            [networks[place] for place in order],
            [WEIGHTS[place] for place in order],
            rule,
            [prints[place] for place in order],
        ).logits(images)
        for order in permutations(range(3))
    ]
    assert all(torch.equal(answers[0], other) for other in answers[1:])


@pytest.mark.real
def test_two_real_epochs_merge_to_the_same_file_both_ways(real_data: Path, tmp_path: Path) -> None:
    folder, worker = real_data / "checkpoints" / "enet-cityscapes", Worker("real")
    pair = [
        open_checkpoint(next(path for path in sorted(folder.iterdir()) if number in path.name))
        for number in ("30", "35")
    ]
    for method, policy in (("linear", "average"), ("linear", "gaussian"), ("isotropic", "average")):
        files = []
        for order in (pair, pair[::-1]):
            recipe = write_recipe(order, method, {}, policy)
            files.append(
                open_checkpoint(
                    run_recipe(recipe, order, tmp_path / f"{len(files)}.safetensors", worker=worker, device=CPU).path
                )
            )
        assert len(files[0].tensors) == 622
        assert differing(*({name: file.read(name) for name in file.tensors} for file in files)) == []
