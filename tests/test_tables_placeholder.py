"""A cell that holds nothing never reads None."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "pages"
WITHOUT_GAPS = {"errors-table", "broken", "findings", "differences", "data-table", "compare-sharing"}
"""Tables whose cells are texts that are always there."""


@pytest.mark.parametrize("path", sorted(PAGES.rglob("*.py")), ids=lambda path: path.stem)
def test_every_table_says_what_stands_for_nothing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".dataframe"):
            given = {one.arg: ast.unparse(one.value).strip("'\"") for one in node.keywords}
            assert "placeholder" in given or given.get("key") in WITHOUT_GAPS, f"line {node.lineno}"
