"""What the command line loads before it computes anything: help texts and refusals do not wait for torch."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

from fusionlib.cli import VERBS

HEAVY = {"torch", "numpy", "scipy", "streamlit", "plotly", "pandas", "pydantic", "PIL", "yaml", "tqdm"}
PROGRAM = f"""
import io, sys
from contextlib import redirect_stdout, redirect_stderr
from fusionlib.cli import main

def loads(*arguments):
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            main(arguments)
        except SystemExit as ended:
            status = ended.code
    print(*arguments, status, out.getvalue().count("\\n") > 1, *{HEAVY} & sys.modules.keys())

loads("--help")
loads("--version")
loads("merg")
for verb in {list(VERBS)}:
    print(verb, f"fusionlib.cli.{{verb}}" in sys.modules)
    loads(verb, "--help")
    loads(verb, "--no-such-option")
import fusionlib.contracts, fusionlib.recipe, fusionlib.registry, fusionlib.question
import fusionlib.studies.choices, fusionlib.studies.grid, fusionlib.studies.vary
print("plans", *{{"torch", "numpy"}} & sys.modules.keys())
"""


def test_help_and_refusals_load_their_own_verb_and_nothing_that_computes() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "--help 0 True",
        "--version 0 False",
        "merg 2 False",
        *(
            line
            for verb in VERBS
            for line in (f"{verb} False", f"{verb} --help 0 True", f"{verb} --no-such-option 2 False")
        ),
        "plans",
    ]


def test_the_table_has_every_verb() -> None:
    modules = (ROOT / "fusionlib" / "cli").glob("*.py")
    assert {path.stem for path in modules if "\ndef add_arguments(" in path.read_text(encoding="utf-8")} == set(VERBS)


def test_scipy_is_loaded_by_the_method_that_uses_it() -> None:
    """It takes half a second, a third of torch."""
    for path in (ROOT / "fusionlib").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "\nimport scipy" not in text and "\nfrom scipy" not in text, path
