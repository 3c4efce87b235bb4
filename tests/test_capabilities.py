"""What the program may ask of a merge method is declared and explained in its contract, and means what it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from helpers import arena_of, tiny_registered, tiny_tensors

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, merging, parameters_of
from fusionlib.merging.average import average_rows
from fusionlib.merging.build import build_method

ROOT = Path(__file__).resolve().parent.parent
NAMES = METHODS.names()


def declared() -> dict[str, str]:
    """Every public attribute of `MergeMethod` with its explanation, read from the source."""
    tree = ast.parse(Path(merging.__file__).read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "MergeMethod").body
    found = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            found[node.target.id] = str(text.value) if isinstance(text, ast.Constant) else ""
    return {name: text for name, text in found.items() if not name.startswith("_")}


def undeclared(kind: type) -> set[str]:
    """Public attributes of a method that are neither its parameters, nor in the contract, nor hooks of its family."""
    own = {name for base in kind.__mro__[:-1] for name in vars(base) if not name.startswith("_")}
    hooks = {name for base in kind.__mro__ for name in getattr(base, "__abstractmethods__", ())}
    return own - {item.name for item in parameters_of(kind)} - set(declared()) - hooks


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory):
    with tiny_registered():
        yield arena_of(tmp_path_factory.mktemp("arena"), tiny_tensors(1), tiny_tensors(2))


def test_every_capability_is_explained() -> None:
    assert {"needs", "statistics", "tensorwise", "wanted", "shares", "update"} <= set(declared())
    assert [name for name, text in declared().items() if not text] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_method_has_no_capability_that_the_contract_does_not_know(name: str) -> None:
    assert issubclass(METHODS.get(name), MergeMethod)
    assert undeclared(METHODS.get(name)) == set()


def test_an_unknown_capability_is_seen() -> None:
    class Odd(METHODS.get("isotropic")):
        likes_snow = True

    assert undeclared(Odd) == {"likes_snow"}


def test_nobody_looks_into_a_method_for_what_is_not_declared() -> None:
    asked = re.compile(r"\b(?:getattr|hasattr)\((?:method|built|METHODS[^,]*), \"|isinstance\((?:method|built),")
    files = [path for part in ("merging", "engine", "statistics") for path in (ROOT / "fusionlib" / part).rglob("*.py")]
    files += [*(ROOT / "fusionlib" / "studio").glob("*.py"), *(ROOT / "fusionlib" / "cli").glob("*.py")]
    assert [path.name for path in files if asked.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_flags_say_what_the_methods_do(name: str) -> None:
    kind = METHODS.get(name)
    assert kind.tensorwise == (kind.tensor_shares is not MergeMethod.tensor_shares)
    assert kind.version >= 1 and kind.needs in ("weights", "architecture", "pictures")
    assert not kind.for_each_anchor or "anchor" in {item.name for item in parameters_of(kind) if item.checkpoint}
    for count in (2, 3):
        assert set(kind.defaults(count)) <= {item.name for item in parameters_of(kind)}
    numbers = [item.default for item in parameters_of(kind) if item.checkpoint]
    assert numbers or kind().anchor is None, "who leads can be chosen"


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).needs == "weights"])
def test_a_merge_is_as_many_networks_as_is_said(arena: Arena, name: str) -> None:
    method = build_method(name, METHODS.get(name).defaults(2))
    assert len(method(arena).weights) == method.networks(len(arena))


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).streams])
def test_what_streams_is_one_weighted_average(arena: Arena, name: str) -> None:
    method = build_method(name, METHODS.get(name).defaults(2))
    plain = average_rows(arena, method.shares(2), torch.empty_like(arena.weights[0]))
    assert torch.equal(method(arena).weights[0], plain)


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).needs == "weights"])
def test_an_update_is_the_merge_itself_or_nothing_is_written(arena: Arena, name: str) -> None:
    method = build_method(name, METHODS.get(name).defaults(2))
    out = torch.full_like(arena.weights[0], 7.0)
    if method.update(arena, out, None) is None:
        assert bool((out == 7).all())
    else:
        assert torch.equal(out, method(arena).weights[0])


def test_a_swap_says_who_gives_what() -> None:
    assert build_method("head_swap", {}).remark("ab") == "backbone of a, head of b"
    assert build_method("head_swap", {"head": 2}).remark("abc").endswith("head of c; the others take no part")
