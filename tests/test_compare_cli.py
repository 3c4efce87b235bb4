"""`compare` from the command line: its JSON contract, its table, and one line for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionlib.cli import main
from tests.helpers import folder_data, tiny_file, tiny_registered

COLUMNS = {
    "name",
    "group",
    "method",
    "parameters",
    "buffers",
    "members",
    "anchor",
    "miou",
    "pixel_accuracy",
    "loss",
    "ece",
    "kl",
    "precision",
    "recall",
    "forwards",
    "latency_ms",
    "memory_mb",
    "merge_seconds",
    "evaluation_seconds",
    "gain",
    "interval",
    "inside_noise",
    "select",
    "state",
    "note",
    "barriers",
    "command",
    "guesses",
    "verdict",
}


@pytest.fixture
def given(tmp_path: Path) -> Iterator[list[str]]:
    with tiny_registered():
        files = [str(tiny_file(tmp_path, f"c{seed}", seed)) for seed in range(3)]
        yield [
            "compare",
            *files,
            "--data",
            f"folder:{folder_data(tmp_path / 'data', 3)}",
            "--home",
            str(tmp_path / "home"),
        ]


def test_json(capsys: pytest.CaptureFixture, given: list[str]) -> None:
    main(
        [*given, "--limit", "2", "--anchor", "2", "--methods", "layerwise,slerp", "--rows", "methods,buffers", "--json"]
    )
    found = json.loads(capsys.readouterr().out)
    assert all(set(row) == COLUMNS for row in found["rows"])
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows)[:5] == ["c0", "c1", "c2", "layerwise", "slerp"] and len(rows) == 9
    assert found["images"] == 2 and found["anchor"] == rows["layerwise"]["anchor"] == "c2"
    assert found["best"] in rows and rows[found["best"]]["miou"] == max(
        row["miou"] for row in rows.values() if row["miou"] is not None
    )
    assert rows["layerwise"]["forwards"] == 1 and 0 <= rows["layerwise"]["ece"] <= 1
    assert rows["slerp"]["state"] == "not applicable"
    assert all(path in rows["layerwise"]["command"] for path in given[1:4])


def test_commands_name_the_data_and_remarks_who_takes_part(capsys: pytest.CaptureFixture, given: list[str]) -> None:
    main(
        [
            *given,
            "--limit",
            "2",
            "--methods",
            "fisher,head_swap",
            "--anchor",
            "1",
            "--rows",
            "methods,subsets",
            "--json",
        ]
    )
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert f"{given[4]} {given[5]} --limit 2" in rows["fisher"]["command"]
    assert rows["head_swap"]["note"].endswith("backbone of c1, head of c0; the others take no part")
    leaders = {
        name: row["anchor"]
        for name, row in rows.items()
        if row["group"] == "subsets" and "the best of these" in row["note"]
    }
    assert list(leaders) == ["subsets: c0 + c2, layerwise"] and leaders["subsets: c0 + c2, layerwise"] in ("c0", "c2")


def test_a_temperature_is_a_row(capsys: pytest.CaptureFixture, given: list[str]) -> None:
    main([*given, "--rows", "temperature", "--json"])
    *singles, row = json.loads(capsys.readouterr().out)["rows"]
    assert len(singles) == 3 and set(row) == COLUMNS and row["group"] == "temperature"
    assert row["state"] == "measured" and row["miou"] == max(one["miou"] for one in singles)
    main([*given, "--rows", "temperature"])
    shown = capsys.readouterr().out
    assert f"\n{row['name']}  " in shown and "T fitted on 2 of 3 pictures\n" in shown


def test_the_table_for_people(capsys: pytest.CaptureFixture, given: list[str]) -> None:
    main([*given, "--methods", "isotropic,ties"])
    shown = capsys.readouterr().out
    assert "mIoU" in shown and "isotropic" in shown and "ties: not applicable" in shown and shown.count("  best") == 1


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--methods", "magic"], "magic"),
        (["--rows", "all"], "all"),
        (["--anchor", "7"], "Anchor 7"),
        (["--buffers", "x"], "buffer policy"),
        (["--split", "nowhere"], "nowhere"),
        (["--try", "magic"], "magic"),
        (["--try", "ties density=9"], "density"),
        (["--try", ""], "merge method"),
    ],
)
def test_wrong_arguments_are_one_line(
    capsys: pytest.CaptureFixture, given: list[str], more: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*given, *more])
    message = capsys.readouterr().err.strip()
    assert caught.value.code == 2 and "\n" not in message and expected in message


def test_rows_of_your_own_on_what_is_shared(capsys: pytest.CaptureFixture, given: list[str]) -> None:
    main(
        [
            *given,
            "--methods",
            "isotropic",
            "--anchor",
            "1",
            "--exclude",
            "stem.*",
            "--try",
            "linear weights=0.2,0.5,0.3",
            "--try",
            "layerwise anchor=2 granularity=block",
            "--try",
            "linear weights=0.5,0.5",
            "--json",
        ]
    )
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    weighted, ramp = rows["linear: weights c0 0.2, c1 0.5, c2 0.3"], rows["layerwise: anchor c2, granularity block"]
    assert weighted["members"] == ["c1", "c0", "c2"] and weighted["parameters"]["weights"] == [
        0.5,
        0.2,
        0.3,
    ], "weights follow the order"
    assert (
        weighted["loss"] != rows["isotropic"]["loss"]
        and ramp["members"][0] == "c2"
        and ramp["parameters"]["anchor"] == 0
    )
    assert rows["linear: weights 0.5/0.5"]["state"] == "not applicable"
    assert "--exclude 'stem.*'" in weighted["command"] and any(
        "shared" in note for note in [weighted["note"], ramp["note"]]
    )
