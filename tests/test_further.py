"""More of the demo: what the manifest names is there, and joins the workspace on request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.errors import UsageError, WriteError
from fusionlib.lab.manifest import read_run
from fusionlib.studio import Options, Studio
from fusionlib.studio import further as more
from fusionlib.studio.demo import DEMO, manifest
from fusionlib.studio.further import Further, further, open_further


def test_what_is_shipped_is_what_the_manifest_says() -> None:
    listed = {run for one in manifest().get("further", ()) for run in one["runs"]}
    assert listed == {path.name for path in DEMO.iterdir() if path.is_dir()}
    for one in further():
        for folder in one.folders():
            record = read_run(folder)
            assert record is not None
            points = {point.file: point.sha256 for point in record.points}
            files = sorted(folder.glob("*.safetensors"))
            assert files and all(open_checkpoint(path).fingerprint == points[path.name] for path in files)
    assert sum(path.stat().st_size for path in DEMO.rglob("*")) < 40 << 20


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    demo = tmp_path / "demo"
    for run in ("one", "two"):
        (demo / run).mkdir(parents=True)
        (demo / run / "run.json").write_text(json.dumps({"run": run}))
    listed = [{"name": "pair", "title": "A pair", "about": "Two runs", "runs": ["one", "two"]}]
    gone = {"name": "gone", "title": "Gone", "about": "No folder", "runs": ["three"]}
    monkeypatch.setattr(more, "manifest", lambda: {"further": [*listed, gone]})
    monkeypatch.setattr(Further.folders, "__defaults__", (demo,))
    return demo


def test_runs_are_copied_once_and_what_is_there_stays(shipped: Path, tmp_path: Path) -> None:
    (one,) = further()
    trained = tmp_path / "home" / "lab"
    assert not one.opened(trained) and one.bytes() == sum(path.stat().st_size for path in shipped.rglob("run.json"))
    (trained / "one").mkdir(parents=True)
    (trained / "one" / "run.json").write_text("mine")
    open_further("pair", trained)
    assert one.opened(trained) and (trained / "one" / "run.json").read_text() == "mine"
    assert json.loads((trained / "two" / "run.json").read_text()) == {"run": "two"}
    with pytest.raises(UsageError, match="one of pair"):
        open_further("gone", trained)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WriteError):
        open_further("pair", blocked / "lab")


def test_checkpoints_join_the_workspace(tmp_path: Path) -> None:
    for one in further():
        studio = Studio(Options(home=tmp_path, device="cpu"))
        before = {item.name for item in studio.workspace.items}
        open_further(one.name, studio.workspace.trained)
        studio.workspace.refresh_checkpoints()
        joined = [item for item in studio.workspace.items if item.name not in before]
        assert joined and all(item.checkpoint is not None and item.architecture is not None for item in joined)
        assert {item.name.split("/")[0] for item in joined} == set(one.runs)
