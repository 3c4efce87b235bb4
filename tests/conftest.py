"""What several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import fusionlib  # noqa: F401 - before torch, whose threads it tells how to wait
from fusionlib.contracts import ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real checkpoints and pictures: `FUSION_DATA`, or ../shared/data beside the project."""
    folder = Path(os.environ.get("FUSION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set FUSION_DATA to its folder")
    return folder


@pytest.fixture
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", dict(ARCHITECTURES._items))
