"""The verdict beside every merge: read once, never in the way, on the pages' route and on the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from starlette.applications import Starlette

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.cli import main
from fusionlib.cli.sweep import other_best
from fusionlib.contracts import METHODS
from fusionlib.diagnostics.bootstrap import units_of
from fusionlib.diagnostics.evidence import FEW, weight_evidence
from fusionlib.diagnostics.survey import survey
from fusionlib.diagnostics.verdict import judge
from fusionlib.studies.grid import path_summary
from fusionlib.studio import Selection, outlook
from fusionlib.studio.intervals import Chance
from fusionlib.studio.outlook import OutlookDesk, averages, curve_evidence, gravest
from pages.widgets import server
from pages.widgets.routes import live_routes
from tests.helpers import (
    folder_data,
    request,
    tiny_checkpoints,
    tiny_file,
    tiny_registered,
    tiny_tensors,
    tiny_world,
    until,
)
from tests.page_tools import button, opened, tiny_files


def relative(folder: Path, name: str, seed: int, by: float = 0.3, **more: torch.Tensor) -> Path:
    """A checkpoint that has moved away from that of `seed` by normal noise of this share of each tensor's deviation."""
    noise = torch.Generator().manual_seed(99)
    save_tensors(
        folder / f"{name}.safetensors",
        {
            key: (
                tensor + by * tensor.std(correction=0) * torch.randn(tensor.shape, generator=noise)
                if tensor.is_floating_point()
                else tensor
            )
            for key, tensor in {**tiny_tensors(seed), **more}.items()
        },
    )
    return folder / f"{name}.safetensors"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been read, files or packed rows, in order."""
    done: list[str] = []
    for name in ("survey", "survey_arena"):
        read = getattr(outlook, name)
        monkeypatch.setattr(outlook, name, lambda *given, name=name, read=read: (done.append(name), read(*given))[1])
    return done


def test_a_pair_is_read_once_whatever_its_order_and_place(tmp_path: Path, reads: list[str]) -> None:
    desk, (a, b, c) = OutlookDesk(), tiny_checkpoints(tmp_path, 3)
    assert desk.remembered(a.fingerprint, b.fingerprint) is None and reads == []
    ((names, found),) = desk.of_files([a, b])
    assert names == ("c0", "c1") and found == weight_evidence(survey([a, b]), 0, 1, runs=False, matches=False)
    assert [name for name, _ in desk.of_files([b, a])] == [("c1", "c0")] and reads == ["survey"]
    assert len(desk.of_files([a, b, c])) == 3 and reads == ["survey"] * 2
    desk.of_files([c, b])
    assert reads == ["survey"] * 2 and desk.remembered(b.fingerprint, c.fingerprint) is not None


def test_what_is_known_of_a_network_decides_the_advice_and_is_not_remembered_with_the_pair(tmp_path: Path) -> None:
    desk, files = OutlookDesk(), tiny_checkpoints(tmp_path, 2)
    assert "--model" in gravest(desk.of_files(files))["advice"]
    desk = OutlookDesk()
    with tiny_registered():
        assert (
            gravest(desk.of_files(files))["advice"]
            == "do not merge; try permutation matching or an ensemble of outputs"
        )


def test_numbers_that_are_not_finite_leave_no_verdict(tmp_path: Path) -> None:
    bad = relative(tmp_path, "bad", 0, extra=torch.tensor([float("nan")]))
    files = [open_checkpoint(bad), open_checkpoint(relative(tmp_path, "good", 0, extra=torch.ones(1)))]
    assert OutlookDesk().of_files(files) == [] == OutlookDesk().soon(files, 20)


def test_the_gravest_pair_of_several_is_named(tmp_path: Path) -> None:
    files = [
        open_checkpoint(path)
        for path in (tiny_file(tmp_path, "a", 1), relative(tmp_path, "near", 1), tiny_file(tmp_path, "far", 2))
    ]
    one, several = gravest(OutlookDesk().of_files(files[:2])), gravest(OutlookDesk().of_files(files))
    assert one["line"].startswith("measure to know: convolutions 0.9") and one["pair"] == ["a", "near"]
    assert (
        several["line"].startswith(f"do not merge, {' + '.join(several['pair'])}: separate runs")
        and several["pair"][1] == "far"
    )


def test_reading_in_the_background_answers_nothing_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, read = threading.Event(), outlook.survey
    monkeypatch.setattr(outlook, "survey", lambda checkpoints: (gate.wait(20), read(checkpoints))[1])
    desk, files = OutlookDesk(), tiny_checkpoints(tmp_path, 2)
    assert desk.soon(files, 0) is None and desk.soon(files, 0.01) is None
    gate.set()
    assert until(lambda: desk.soon(files, 0)) == desk.of_files(files)


def test_a_curve_decides_what_the_weights_leave_open(tmp_path: Path) -> None:
    def figures(miou: float) -> dict:
        return {
            "miou": miou,
            "pixel_accuracy": miou,
            "loss": 1.0,
            "blind": {"miou": 0.03, "pixel_accuracy": 0.3, "drawn_miou": 0.05},
        }

    known = weight_evidence(
        survey([open_checkpoint(relative(tmp_path, "x", 1, 0.2)), open_checkpoint(tiny_file(tmp_path, "y", 1))]), 0, 1
    )
    found = {"a": figures(0.42), "b": None, "points": [], "images": FEW}
    assert curve_evidence(known, found, "xy") == known
    found |= {"b": figures(0.40)}
    assert curve_evidence(known, found, "xy").gain is None and len(curve_evidence(known, found, "xy").ends) == 2
    asked, few = [], units_of(["drive"] * FEW)
    for middle, level in ((0.44, "measure to know"), (0.415, "no difference"), (0.2, "do not merge")):
        found["points"] = [
            {"alpha": 0.0, **figures(0.9)},
            {"alpha": 0.5, **figures(middle)},
            {"alpha": 0.97, **figures(0.419)},
        ]
        judged = curve_evidence(known, found, "xy")
        assert judge(judged).level == level, (
            "an end under another policy is no merge, and neither is what is nearly an end"
        )
        assert judged.gain == pytest.approx(middle - 0.42) and judged.best_alpha == 0.5 and judged.pictures == FEW
        for interval, other in ((None, level), ((0.01, 0.03), "merge"), ((-0.01, 0.03), "no difference")):
            judged = curve_evidence(
                known, found, "xy", lambda alphas, interval=interval: (asked.append(alphas), Chance(few, interval))[1]
            )
            assert judge(judged).level == other and judged.units == few and asked[-1] == [0.5]


def test_a_path_without_masks_or_merges_has_no_gain() -> None:
    ends = [{"alpha": 0.0, "miou": 0.1}, {"alpha": 1.0, "miou": 0.2}]
    assert path_summary(ends) == {"best": None, "gain": None, "unrefined": []}
    assert path_summary([ends[0], {"alpha": 0.5, "miou": None}, ends[1]])["gain"] is None


def test_the_verdict_concerns_methods_that_average_weights_as_they_are() -> None:
    assert {name for name in METHODS.names() if not averages(name)} == {"ensemble", "head_swap", "rebasin", "samples"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """A tiny world behind the live routes, and a function that asks for the verdict on a selection."""
    with tiny_world(tmp_path, count=2) as world:
        tiny_file(tmp_path / "files", "c", 3)
        world.studio.workspace.refresh()
        monkeypatch.setattr(server, "_studio", world.studio)
        app, session = Starlette(routes=live_routes()), world.studio.live.open()

        def ask(a: str, b: str, *more: str) -> dict:
            view = world.studio.view(Selection(a, b, world.source, None, more=more))
            world.studio.live.grant(session, view)
            return request(app, "GET", f"/live/{session.key}/{view.id}/verdict").json()

        yield world, ask


def test_the_route_tells_strangers_and_equals_apart_and_reads_each_pair_once(page, reads: list[str]) -> None:
    _, ask = page
    assert ask("a", "b")["line"].startswith("do not merge: separate runs, convolutions ")
    assert ask("a", "a")["line"] == "do not merge: the same weights"
    assert ask("b", "a")["pair"] == ["b", "a"] and reads == ["survey_arena"] * 2
    assert ask("a", "b", "c")["line"].startswith("do not merge, ")


def test_a_measured_curve_speaks_beside_the_formula(page) -> None:
    world, ask = page
    assert ask("a", "b")["measured"] is False
    world.studio.sweep(world.studio.view(Selection("a", "b", world.source, None))).measure(0.5)
    found = ask("a", "b")
    assert found["measured"] is True and found["evidence"]["pictures"] == 2
    assert found["level"] in ("merge", "no difference", "do not merge") and "separate runs" not in found["line"]


def test_the_verdict_of_a_view_waits_for_no_frame_and_no_frame_for_it(page, monkeypatch: pytest.MonkeyPatch) -> None:
    world, ask = page
    gate, read = threading.Event(), outlook.survey_arena
    monkeypatch.setattr(outlook, "survey_arena", lambda arena: (gate.wait(20), read(arena))[1])
    view = world.studio.view(Selection("a", "b", world.source, None))
    asked = threading.Thread(target=ask, args=("a", "b"), daemon=True)
    asked.start()
    assert view.frame(0, 0.25).png and asked.is_alive()
    world.studio.worker.run(lambda: gate.set())
    asked.join(20)
    assert not asked.is_alive()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[dict[str, str]]:
    with tiny_registered():
        yield {
            "a": str(tiny_file(tmp_path, "a", 1)),
            "near": str(relative(tmp_path, "near", 1)),
            "far": str(tiny_file(tmp_path, "far", 2)),
            "wide": str(tiny_file(tmp_path, "wide", 1, classes=7)),
        }


def test_inspect_has_a_verdict(capsys, files, tmp_path: Path) -> None:
    assert said(capsys, "inspect", files["a"], files["near"])["verdict"]["level"] == "measure to know"
    assert said(capsys, "inspect", files["a"], files["far"])["verdict"]["level"] == "do not merge"
    assert not any(
        "verdict" in said(capsys, "inspect", files["a"], *more) for more in ([], [files["far"], "--no-finite"])
    )
    unlike = said(capsys, "inspect", files["a"], files["wide"])["verdict"]
    assert unlike["line"] == "do not merge: their tensors differ"
    shared = said(capsys, "inspect", files["a"], files["wide"], "--shared")["verdict"]
    assert "differ" not in shared["line"] and shared["evidence"]["worst_block"]["block"] in ("stem", "body")
    assert said(capsys, "inspect", files["a"], files["wide"], "--rename", "x*=y*", "--shared")["verdict"] is None
    bad = relative(tmp_path, "bad", 1, **{"body.bias": torch.full((8,), float("nan"))})
    assert said(capsys, "inspect", files["a"], str(bad))["verdict"] is None


def test_merge_has_a_verdict_and_says_it(capsys, files, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "m.safetensors"), "--home", str(tmp_path / "home")]
    main(["merge", files["a"], files["a"], *out])
    assert "From the weights alone: do not merge: the same weights; `diagnose` says more" in capsys.readouterr().out
    assert said(capsys, "merge", files["a"], files["near"], *out)["verdict"]["level"] == "measure to know"
    assert said(capsys, "merge", files["a"], files["near"], files["far"], *out)["verdict"]["pair"][1] == "far"
    for method in ("rebasin", "head_swap"):
        assert (
            said(capsys, "merge", "--method", method, "--checkpoints", files["a"], files["far"], *out)["verdict"]
            is None
        )
    main(["merge", "--method", "head_swap", "--checkpoints", files["a"], files["far"], *out])
    assert "weights alone" not in capsys.readouterr().out
    layers = said(capsys, "merge", "--method", "layerwise", "--checkpoints", files["a"], files["wide"], *out)["verdict"]
    assert layers is not None and "differ" not in layers["line"], "that method merges what is shared by itself"


def test_sweep_judges_what_it_has_measured(capsys, files, tmp_path: Path) -> None:
    data = ["--data", f"folder:{folder_data(tmp_path / 'data', 2)}", "--step", "0.25", "--home", str(tmp_path / "home")]
    found = said(capsys, "sweep", files["a"], files["near"], *data)
    verdict = found["verdict"]
    assert verdict["measured"] and verdict["evidence"]["pictures"] == 2
    best = max(point["miou"] for point in found["points"][1:-1])
    if not verdict["evidence"]["guessing"]:
        assert verdict["evidence"]["gain"] == pytest.approx(best - max(found["a"]["miou"], found["b"]["miou"]))
    main(["sweep", files["a"], files["near"], *data])
    assert f"Measured: {verdict['line']}; `diagnose` says more" in capsys.readouterr().out


def test_compare_says_what_the_weights_say_of_each_pair(capsys, files, tmp_path: Path) -> None:
    arguments = [
        "compare",
        files["a"],
        files["near"],
        files["far"],
        "--data",
        f"folder:{folder_data(tmp_path / 'data', 1)}",
        "--rows",
        "subsets",
        "--home",
        str(tmp_path / "home"),
    ]
    rows = {row["name"]: row["verdict"] for row in said(capsys, *arguments)["rows"]}
    assert rows["subsets: a + near, isotropic"]["level"] == "measure to know"
    assert (
        rows["subsets: a + far, isotropic"]["level"]
        == rows["subsets: near + far, layerwise"]["level"]
        == "do not merge"
    )
    assert rows["subsets: a + near + far, isotropic"] is None and rows["a"] is None


def test_the_compare_page_has_one_line_for_the_set_and_a_column_for_its_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_files(tmp_path / "files", 2)
    relative(folder, "near", 1)
    with opened("compare.py", tmp_path / "home", monkeypatch) as start:
        app = start("--checkpoints", str(folder), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
        app.multiselect[0].set_value(["c1", "near"]).run()
        assert not app.exception
        link = app.get("page_link")[0].proto
        assert (
            "measure to know" in link.label.replace("\\", "")
            and link.page == "diagnostics"
            and "set=near" in link.query_string
        )
        app.multiselect[0].set_value(["c0", "c1", "near"]).run()
        app.button_group(key="rows").set_value(["subsets"]).run()
        assert "do not merge, c0" in app.get("page_link")[0].proto.label.replace("\\", "")
        button(app, "rows on 1 picture").click().run()
        comparison = next(reversed(server.studio().comparisons._works._works.values()))
        until(lambda: comparison.state == "done")
        app.run()
        table = next(item.value for item in app.dataframe if "row" in item.value.columns).set_index("row")
        source = server.studio().workspace.sources[0].name
        report = server.studio().diagnosis(["c0", "c1", "near"], source, None).report()
        for pair in report["pairs"]:
            assert pair["verdict"]["measured"]
            row = table[table.index.str.startswith(f"subsets: {pair['a']} + {pair['b']}, isotropic")].iloc[0]
            assert row["verdict"] == pair["verdict"]["level"]


def test_a_network_that_guesses_is_said_to_wherever_it_is_measured(capsys, tmp_path: Path) -> None:
    """All of its answers are one class, so that it has exactly what that class everywhere has."""
    constant = {
        name: torch.zeros_like(tensor) if name == "head.weight" else tensor for name, tensor in tiny_tensors(1).items()
    }
    constant["head.bias"] = torch.tensor([9.0, 0.0, 0.0])
    with tiny_registered():
        for name in ("x", "y"):
            save_tensors(
                tmp_path / f"{name}.safetensors", {**constant, "stem.weight": constant["stem.weight"] + (name == "y")}
            )
        files = [str(tmp_path / f"{name}.safetensors") for name in ("x", "y")]
        data = ["--data", f"folder:{folder_data(tmp_path / 'data', 2)}", "--home", str(tmp_path / "home")]
        found = said(capsys, "evaluate", files[0], *data)
        assert found["guesses"] and found["blind"]["class"] == 0 and found["blind"]["miou"] == found["miou"]
        main(["evaluate", files[0], *data])
        assert "This is guessing: the commonest class everywhere has mIoU" in capsys.readouterr().out
        report = said(capsys, "diagnose", *files, *data, "--step", "0.5")
        assert [one["guesses"] for one in report["singles"]] == [True, True]
        verdict = report["pairs"][0]["verdict"]
        assert verdict["line"] == "do not merge: both networks guess" and verdict["evidence"]["guessing"] == ["x", "y"]
        rows = said(capsys, "compare", *files, *data, "--methods", "isotropic")["rows"]
        assert all(
            row["guesses"] and row["note"].startswith("guesses: no better than the commonest class") for row in rows
        )


def test_sweep_explains_a_best_alpha_that_it_did_not_measure(capsys, files, tmp_path: Path) -> None:
    data = ["--data", f"folder:{folder_data(tmp_path / 'data', 2)}", "--home", str(tmp_path / "home")]
    fine = said(capsys, "sweep", files["a"], files["near"], *data, "--step", "0.05")
    judged = fine["verdict"]["evidence"]["best_alpha"]
    step = 0.3 if round(judged / 0.3, 6) % 1 else 0.35
    coarse = said(capsys, "sweep", files["a"], files["near"], *data, "--step", str(step))
    assert coarse["forward_passes"] == 0 and judged not in [point["alpha"] for point in coarse["points"]]
    assert coarse["verdict"]["evidence"]["best_alpha"] == judged
    main(["sweep", files["a"], files["near"], *data, "--step", str(step)])
    earlier = next(point for point in fine["points"] if point["alpha"] == judged)
    line = f"alpha {judged:g}: known from an earlier run, mIoU {100 * earlier['miou']:.2f} %"
    assert line in capsys.readouterr().out.splitlines()


def test_one_best_alpha_or_both_explained() -> None:
    verdict = {"evidence": {"best_alpha": 0.75}}
    curve = {"parameter": "alpha", "best": {"alpha": 0.75, "miou": 0.5}}
    assert other_best(curve, verdict, ()) == "" == other_best(curve, None, ())
    near = other_best({**curve, "best": {"alpha": 0.95, "miou": 0.5}}, verdict, ())
    assert "alpha 0.95 is marked" in near and "alpha 0.1 to 0.9, of which alpha 0.75 is the best" in near


def test_a_curve_over_alpha_by_vary_is_judged_as_measured(capsys, files, tmp_path: Path) -> None:
    data = ["--data", f"folder:{folder_data(tmp_path / 'data', 2)}", "--home", str(tmp_path / "home")]
    found = said(capsys, "sweep", files["a"], files["near"], *data, "--vary", "alpha=0:1:0.25")
    usual = said(capsys, "sweep", files["a"], files["near"], *data, "--step", "0.25")
    assert usual["verdict"]["measured"]
    assert found["verdict"] == usual["verdict"]
