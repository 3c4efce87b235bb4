"""The README's command lines, one after the other, as somebody pastes them."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from string import Template

import pytest

from fusionlib.cli import VERBS, main
from fusionlib.contracts import ARCHITECTURES, DATASETS
from fusionlib.guide import as_markdown
from fusionlib.guide.tables import opens

ROOT = Path(__file__).parents[1]
SMALL = {"DATA": "streets:all:2@val", "SELECT": "streets:all:2@train"}
"""In place of what takes longer."""


def lines() -> list[str]:
    """The block of the section on the command line."""
    said = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## Without a browser\n.*?```bash\n(.*?)```", said, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_command_lines_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    values: dict[str, str] = {}
    for line in lines():
        words = shlex.split(Template(line).substitute(values), comments=True)
        if words[:3] != ["python", "-m", "fusionlib"]:
            values |= dict(word.split("=", 1) for word in words)
            values |= {name: value for name, value in SMALL.items() if name in values}
            continue
        main(words[3:])
        assert capsys.readouterr().out.strip(), line
    assert {"merged.safetensors", "recipe.yaml", "report.html"} <= set(os.listdir(tmp_path))
    assert "night + fog, alpha 0.5" in (tmp_path / "report.html").read_text(encoding="utf-8")


OPENS = re.compile(r"(?<=<!-- opens -->\n).*(?=<!-- /opens -->)", re.DOTALL)


def with_table(readme: str) -> str:
    """The README with the table of what opens as it follows from the registries."""
    return OPENS.sub(lambda _: f"{as_markdown(opens())}\n", readme)


def test_what_opens_is_what_is_registered() -> None:
    said = (ROOT / "README.md").read_text(encoding="utf-8")
    assert OPENS.search(said) and said == with_table(said), "python tests/test_readme.py writes it"
    assert all(f"`{name}`" in said for name in ARCHITECTURES.names_in_files())
    assert all(f"`{name}:" in said for name in DATASETS.names_in_files())


def test_the_block_says_nothing_but_verbs() -> None:
    verbs = [line.split()[3] for line in lines() if line.startswith("python")]
    assert len(verbs) == len(set(verbs)) > 6 and set(verbs) <= set(VERBS)


if __name__ == "__main__":
    (ROOT / "README.md").write_text(with_table((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
