"""What the verbs that list things hold: measures, studies, results and runs; methods have tests of their own."""

# ruff: noqa: F811 - fixtures
from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_cli import place, refused, said  # noqa: F401 - fixtures

from fusionlib.cli import main
from fusionlib.contracts import MEASURES, METHODS, REGIMES, STUDIES


def opened(place: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(place / "home" / "results.sqlite", isolation_level=None))


def test_whatever_is_registered_is_listed_with_parameters_version_and_citation(place: Path, said) -> None:
    for verb, registry in (
        ("methods", METHODS),
        ("measures", MEASURES),
        ("studies", STUDIES),
        ("regimes", REGIMES),
    ):
        listing = said(verb)
        assert list(listing) == [verb]
        assert [entry["name"] for entry in listing[verb]] == list(registry.names())
        for entry in listing[verb]:
            assert entry["title"] and entry["summary"] and entry["citation"] and entry["version"] >= 1
            assert isinstance(entry["parameters"], list)
    (sweep,) = (entry for entry in said("studies")["studies"] if entry["name"] == "sweep")
    assert {"name": "parameter", "type": "str"} in sweep["parameters"]
    figures = {entry["name"]: entry["figures"] for entry in said("measures")["measures"]}
    assert {"name", "label", "unit", "better", "digits", "help", "each"} == set(figures["loss"][0])
    assert {entry["name"] for entry in said("measures")["measures"] if entry["maps"]} == {"labels", "confidence_bins"}


def test_results_are_listed_shown_and_pruned(place: Path, said, refused) -> None:
    assert said("results", "list") == {"results": [], "maps": {"count": 0, "bytes": 0}}
    measured = said("sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.5")
    listed = said("results", "list")["results"]
    wanted = {"key", "recipe", "data", "measure", "version", "figures"}
    assert all(wanted <= set(one) for one in listed)
    assert {one["measure"] for one in listed} == {"confusion", "loss"} and len({one["key"] for one in listed}) == 3
    assert {one["data"] for one in listed} == {"folder:town"}
    halves = [one for one in listed if one["recipe"][0]["parameters"] == {"alpha": 0.5}]
    assert [one["figures"]["miou"] for one in halves if one["measure"] == "confusion"] == [
        measured["points"][1]["miou"]
    ]
    shown = said("results", "show", halves[0]["key"][:10])["results"]
    assert {one["measure"] for one in shown} == {"confusion", "loss"} and {one["key"] for one in shown} == {
        halves[0]["key"]
    }
    assert len(said("results", "list", "--limit", "2")["results"]) == 2
    assert "one key" in refused("results", "show", "nothing") and "a key with show" in refused("results", "show")
    assert said("results", "prune")["pruned"] == {"answers": 0, "states": 0, "maps": 0, "subjects": 0}
    with opened(place) as table:
        table.execute("UPDATE answers SET version = 99 WHERE measure = 'loss'")
        table.execute("UPDATE states SET version = 99 WHERE measure = 'loss'")
    pruned = said("results", "prune")["pruned"]
    assert pruned["answers"] == 3 and pruned["states"] == 9
    again = said("sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.5")
    assert again["points"] == measured["points"] and again["forward_passes"] == 9, "what is gone is measured again"


def test_runs_are_listed_with_what_tells_them_apart(place: Path, said, refused, capsys) -> None:
    assert said("runs") == {"runs": []}
    said("evaluate", "a.pth", "--data", "folder:town")
    said("sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.5", "--buffers", "gaussian")
    listed = said("runs", "list")["runs"]
    assert [one["kind"] for one in listed] == ["sweep", "evaluate"]
    for one in listed:
        assert {"id", "kind", "state", "done", "total", "seconds_left", "owner"} <= set(one)
        assert one["state"] == "done" and one["folder"] == str(place) and one["done"] == one["total"]
    assert listed[0]["arguments"][:3] == ["sweep", "a.pth", "b.pth"]
    main(["runs"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(listed[0]["id"]) and "--buffers gaussian" in lines[1]
    assert "the id of a run" in refused("runs", "cancel", "nothing") and "resume ID" in refused("runs", "resume")
    assert "is done" in refused("runs", "cancel", listed[0]["id"])


def test_a_run_is_gone_on_with_from_another_folder(
    place: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    said,
    refused,
) -> None:
    whole = said("sweep", "a.pth", "b.pth", "--data", "folder:town", "--step", "0.5")
    (run,) = said("runs")["runs"]
    with opened(place) as table:
        table.execute("UPDATE runs SET state = 'failed'")
        table.execute("DELETE FROM answers")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    resumed = said("runs", "resume", run["id"])
    assert resumed["resumed"]["points"] == whole["points"] and resumed["forward_passes"] == 0
    assert Path.cwd().name.startswith("elsewhere")
    with opened(place) as table:
        table.execute("UPDATE runs SET state = 'cancelled'")
    main(["runs", "resume", run["id"]])
    lines = capsys.readouterr().out.splitlines()
    (again,) = said("runs")["runs"]
    assert again["arguments"].count("--home") == 1, "where the run was found"
    assert lines[0].split()[:2] == ["alpha", "mIoU"] and lines[-1].startswith(
        "No forward passes run, 9 spared, known from before"
    )
    with opened(place) as table:
        plan = json.dumps({"kind": "sweep", "arguments": run["arguments"], "folder": "/nowhere"})
        table.execute("UPDATE runs SET state = 'failed', plan = ?", (plan,))
    assert "/nowhere" in refused("runs", "resume", run["id"])
    with opened(place) as table:
        table.execute("UPDATE runs SET plan = '{}'")
    assert "one that a verb can go on with" in refused("runs", "resume", run["id"])
