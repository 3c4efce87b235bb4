"""The layers of the library: imports point downwards, and modules stay small and explained."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "errors": 0,
    "plain_yaml": 0,
    "listing": 0,
    "registry": 0,
    "parameters": 0,
    "description": 0,
    "contracts": 0,
    "atomic": 0,
    "recipe": 0,
    "question": 0,
    "candidate": 0,
    "quiet": 0,
    "checkpoints": 1,
    "architectures": 1,
    "data": 1,
    "merging": 2,
    "statistics": 2,
    "measures": 2,
    "diagnostics": 2,
    "charts": 3,
    "imaging": 2,
    "engine": 3,
    "options": 4,
    "runs": 4,
    "studies": 5,
    "guide": 6,
    "lab": 5,
    "studio": 6,
    "report": 6,
    "cli": 7,
    "__main__": 8,
}
FOUNDATION = {
    "errors",
    "plain_yaml",
    "listing",
    "registry",
    "parameters",
    "description",
    "contracts",
    "atomic",
    "recipe",
    "question",
    "candidate",
    "quiet",
}
"""The one layer whose modules may use one another, in this order."""
PAGES = 8

LIBRARY = sorted((ROOT / "fusionlib").rglob("*.py"))
FRONT = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
STUDIES = [path for path in LIBRARY if "studies" in path.parent.parts]


def dotted(path: Path) -> str:
    """The name by which a module is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported anywhere in a module, functions included, but not for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(ast.Module(node.orelse, []))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (f"{start}{alias.name}" for alias in node.names)
        else:
            yield from imported(node)


def imports_of(path: Path) -> set[str]:
    """The same with relative names written out."""
    folders = path.relative_to(ROOT).parent.parts
    names = set()
    for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
        bare = name.lstrip(".")
        level = len(name) - len(bare)
        names.add(".".join((*folders[: len(folders) - level + 1], bare)) if level else name)
    return names


def part_of(path: Path) -> str:
    """The name below fusionlib/ that has a place in the layers."""
    return path.relative_to(ROOT / "fusionlib").parts[0].removesuffix(".py")


def trespasses(path: Path) -> list[str]:
    own = part_of(path)
    wrong = []
    for name in imports_of(path):
        other = name.split(".")[1] if name.startswith("fusionlib.") else None
        if other is None or other in (own, "__version__"):
            continue
        if other not in LAYERS or (LAYERS[other] >= LAYERS[own] and not {own, other} <= FOUNDATION):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_from_lower_layers_only_and_never_streamlit(path: Path) -> None:
    if path.parent == ROOT / "fusionlib" and path.name == "__init__.py":
        assert not {name for name in imports_of(path) if name.startswith("fusionlib")}
        return
    assert part_of(path) in LAYERS, "a new part of the library needs a place in the layers"
    assert not trespasses(path)
    heads = {name.split(".")[0] for name in imports_of(path)}
    assert not heads & {"streamlit", "pages", "app"}


@pytest.mark.parametrize("path", FRONT, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_hold_no_torch(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "torchvision"}


@pytest.fixture(scope="module")
def loading_torch() -> dict[str, bool]:
    """Whether torch is there once a module of the studies has been imported; all of them in one process, in order."""
    program = (
        "import importlib, json, sys\nfound = {}\n"
        "for name in sys.argv[1:]:\n    importlib.import_module(name)\n    found[name] = 'torch' in sys.modules\n"
        "print(json.dumps(found))"
    )
    command = [sys.executable, "-c", program, *map(dotted, STUDIES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_study_loads_no_torch(loading_torch: dict[str, bool], path: Path) -> None:
    assert loading_torch[dotted(path)] is False


def modules() -> dict[str, Path]:
    """Dotted name to file of everything that is ours."""
    return {dotted(path): path for path in [*LIBRARY, *FRONT]}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach one another: what is left when whatever imports nothing has been taken away."""
    left = {name: set(others) for name, others in arrows.items()}
    while ends := [name for name, others in left.items() if not others & set(left)]:
        for name in ends:
            del left[name]
    found = []
    for name in left:
        reached, waiting = set(), [name]
        while waiting:
            waiting += [other for other in left[waiting.pop()] if other in left and other not in reached]
            reached |= set(waiting)
        if name in reached:
            found.append(reached)
    return found


def test_no_module_reaches_itself() -> None:
    known = modules()

    def module_of(name: str) -> str | None:
        parts = name.split(".")
        return next((one for count in range(len(parts), 0, -1) if (one := ".".join(parts[:count])) in known), None)

    arrows = {
        name: {other for imported in imports_of(path) if (other := module_of(imported)) not in (None, name)}
        for name, path in known.items()
    }
    assert circles(arrows) == []  # type: ignore[arg-type]


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [{"b", "c"}, {"b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_the_walk_sees_imports_in_functions_and_skips_those_for_type_checkers() -> None:
    code = (
        "import a.b\nif TYPE_CHECKING:\n    import c\nelse:\n    import e\ndef f():\n    from d import x, y\n    from ."
        " import z\n"
    )
    assert set(imported(ast.parse(code))) == {"a.b", "d.x", "d.y", "e", ".z"}


def test_an_upward_arrow_and_a_sideways_one_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "fusionlib" / "data" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from fusionlib.studio import Studio\nfrom fusionlib.checkpoints.reader import x\nfrom fusionlib.errors import"
        " y\nfrom .labels import z\nfrom ..merging.linear import w\n"
    )
    assert sorted(trespasses(path)) == [
        "fusionlib.checkpoints.reader.x",
        "fusionlib.merging.linear.w",
        "fusionlib.studio.Studio",
    ]


def words_imported(tree: ast.AST) -> set[str]:
    """Every part of the dotted names in a module's imports, those for type checkers alone too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found |= {word for name in names for word in name.split(".")}
    return found


def networks_named(tree: ast.AST) -> set[str]:
    """How a module names networks: the package that holds them, the registry, or what is filed there."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imports = words_imported(tree)
    return (names | imports) & {"ARCHITECTURES", "Architecture"} | imports & {"architectures"}


@pytest.mark.parametrize("path", sorted((ROOT / "fusionlib/checkpoints").rglob("*.py")), ids=lambda path: path.name)
def test_reading_and_packing_know_no_network(path: Path) -> None:
    assert not networks_named(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted((ROOT / "fusionlib/architectures").rglob("*.py")), ids=lambda path: path.name)
def test_networks_know_no_files(path: Path) -> None:
    assert "checkpoints" not in words_imported(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("from fusionlib.contracts import ARCHITECTURES as known", {"ARCHITECTURES"}),
        ("from fusionlib import contracts\ncontracts.ARCHITECTURES.get('enet')", {"ARCHITECTURES"}),
        ("if TYPE_CHECKING:\n    from fusionlib.contracts import Architecture", {"Architecture"}),
        ("def f():\n    from fusionlib import architectures", {"architectures"}),
        ("import fusionlib.architectures.recognise as r", {"architectures"}),
        ("from ..architectures.recognise import recognise", {"architectures"}),
        ("from fusionlib.contracts import Permutation\nreport.architectures, 'ARCHITECTURES'", set()),
    ],
)
def test_a_named_network_is_seen(code: str, seen: set[str]) -> None:
    assert networks_named(ast.parse(code)) == seen


@pytest.mark.parametrize("path", [*LIBRARY, *FRONT], ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_for_and_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert text.count("\n") <= 450
