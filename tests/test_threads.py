"""torch's threads are told to spin briefly before torch loads, wherever it is loaded from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT

SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
WATCH = """
import builtins, os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("at torch:", os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
"""


def _at_torch(program: str, **own: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS} | own
    done = subprocess.run(
        [sys.executable, "-c", WATCH + program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return next(line for line in done.stdout.splitlines() if line.startswith("at torch"))


@pytest.mark.parametrize(
    "program",
    [
        "import app",
        "import fusionlib.cli; fusionlib.cli.main(['methods'])",
        "import fusionlib.studio",
        "sys.path.insert(0, 'tests'); import conftest, torch",
    ],
)
def test_every_entrance_sets_it_before_torch_loads(program: str) -> None:
    assert _at_torch(program) == "at torch: 5000 None"


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "passive"}])
def test_the_users_own_setting_wins(own: dict[str, str]) -> None:
    assert (
        _at_torch("import fusionlib.studio", **own)
        == f"at torch: {own.get('GOMP_SPINCOUNT')} {own.get('OMP_WAIT_POLICY')}"
    )
