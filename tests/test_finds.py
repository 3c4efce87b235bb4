"""What a search found is a row wherever its checkpoints are compared, told how it was chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.sharing import Sharing
from fusionlib.cli import main
from fusionlib.contracts import STRATEGIES
from fusionlib.runs import finds
from fusionlib.runs.database import Database
from fusionlib.studies.compare import FOUND, Row
from fusionlib.studio import Choices, Comparison, Options, SearchWork, Studio
from fusionlib.studio.comparison_classes import best_merge, class_rows
from fusionlib.studio.finds import weights_text
from fusionlib.studio.wanted import Wanted
from pages.widgets import server
from tests.helpers import counted_forwards, tiny_file, tiny_registered, until
from tests.page_tools import button, opened, text, tiny_files
from tests.test_intervals import unlike


class Bench:
    """Three checkpoints, pictures to choose by and pictures to report on, and one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = [tiny_file(folder / "files", name, seed) for seed, name in enumerate("abc")]
        self.select, self.report = (unlike(folder / name, count) for name, count in (("near", 3), ("far", 6)))
        for picture in (folder / "far" / "images").iterdir():  # one of them is in both
            picture.write_bytes((folder / "near" / "images" / "ash.png").read_bytes())
        self.studio = self.again()

    def again(self) -> Studio:
        """A process of its own on the same home."""
        given = Options(demo=False, home=self.folder / "home", device="cpu", checkpoints=(self.folder / "files",))
        return Studio(given)

    def pictures(self, spec: str) -> Any:
        return self.studio.workspace.open_pictures(spec, None)

    def search(self, strategy: str, names: str = "abc", **more: Any) -> SearchWork:
        wanted = Wanted(strategy, **more)
        files = [self.studio.workspace.get(name).checkpoint for name in names]
        work = self.studio.searches.of(files, [self.pictures(self.select)], [self.pictures(self.report)], wanted)
        work.measure()
        return work

    def compared(self, names: str = "abc", spec: str = "", **choices: Any) -> Comparison:
        given = Choices(**{"groups": ("methods", "searches"), "methods": ("isotropic",), **choices})
        files = [self.studio.workspace.get(name).checkpoint for name in names]
        return self.studio.comparisons.of(files, self.pictures(spec or self.report), given)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with tiny_registered():
        yield Bench(tmp_path)


def found_in(comparison: Comparison) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in comparison.snapshot()["rows"] if row["group"] == "search"}


def test_what_was_found_is_a_row_with_the_figures_of_the_report(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in(bench.compared()) == {}
    work = bench.search("grid", settings={"step": 0.5})
    best = work.snapshot()["best"]
    passes = counted_forwards(monkeypatch)
    comparison = bench.compared()
    (name,) = found_in(comparison)
    assert name == "search grid on folder:near" and passes == []
    comparison.measure()
    row = found_in(comparison)[name]
    assert (row["state"], row["miou"], row["loss"]) == ("measured", best["report"]["miou"], best["report"]["loss"])
    assert row["ece"] is not None and row["select"]["miou"] == best["select"]["miou"]
    shares = [f"{one} {share:.3g}" for one, share in zip("abc", best["weights"], strict=True) if share]
    words = ", ".join(shares) if len(shares) > 1 else f"{shares[0][0]} alone"
    assert f"{words}; step 0.5, chosen by mIoU, " in row["note"]
    assert row["note"].endswith("; 1 of these 6 pictures chose it: optimistic")
    assert work.best is not None and comparison.strategies()[0] == ["grid"]
    rows = {one.name: one for one in comparison.rows()}
    made = comparison.recipe_of(rows[name])
    assert made.parameters == work.best.parameters and made.checkpoints == work.best.checkpoints


def test_pictures_that_chose_it_are_told(bench: Bench) -> None:
    bench.search("grid", "ab", settings={"step": 0.5})
    comparison = bench.compared("ab", bench.select)
    comparison.measure()
    assert "3 of these 3 pictures chose it: optimistic" in next(iter(found_in(comparison).values()))["note"]


def test_finds_of_a_pair_belong_to_every_set_that_holds_it_in_any_order(bench: Bench) -> None:
    bench.search("grid", "ab", settings={"step": 0.5})
    (row,) = found_in(bench.compared("cba")).values()
    assert set(row["members"]) <= {"a", "b"}
    assert found_in(bench.compared("bc")) == {} == found_in(bench.compared("ab", groups=("methods",)))
    assert found_in(bench.compared("ab", sharing=Sharing())) == {}


def test_what_was_found_is_told_in_words() -> None:
    names = ["night", "fog", "rain"]
    assert weights_text(Row(FOUND, "", "single", (1,)), names) == "fog alone"
    assert weights_text(Row(FOUND, "", "linear", (2, 0), parameters={"alpha": 0.25}), names) == "rain 0.25, night 0.75"
    assert weights_text(Row(FOUND, "", "linear", (0, 1, 2), parameters={"weights": [0.5, 0, 0.5]}), names) == (
        "night 0.5, rain 0.5"
    )
    profile = {"weights": {"stem": [1, 0], "head": [0, 1]}, "anchor": 0}
    assert weights_text(Row(FOUND, "", "profile", (0, 1), parameters=profile), names) == (
        "a weight for each of 2 units of night, fog"
    )


def test_one_network_found_again_for_another_report_is_one_row(bench: Bench) -> None:
    bench.search("grid", "ab", settings={"step": 0.5})
    bench.report = bench.select
    bench.search("grid", "ab", settings={"step": 0.5})
    assert len(bench.studio.answers.database.read("SELECT * FROM finds")) == 2
    assert len(found_in(bench.compared("ab"))) == 1


def test_the_best_merge_is_held_against_the_best_single_network() -> None:
    rows = [
        {"group": "single", "name": "night", "miou": 0.5},
        {"group": "methods", "name": "linear", "miou": 0.2},
        {"group": "methods", "name": "slerp", "miou": 0.4},
        {"group": "methods", "name": "fisher", "miou": None},
    ]
    assert best_merge(rows) == "slerp" and best_merge(rows[:1]) is None


def test_what_does_not_take_the_set_is_not_left_to_try(bench: Bench) -> None:
    bench.search("walk", "ab")
    tried, left = bench.compared("abc").strategies()
    assert tried == ["walk"] and not {"walk", "adaptive", "evolve"} & set(left) and "grid" in left


def test_another_process_finds_it_and_searches_of_one_title_are_numbered(bench: Bench) -> None:
    bench.search("grid", "ab", settings={"step": 0.5})
    bench.search("grid", "ab", settings={"step": 0.25})
    bench.search("grid", "ab", settings={"step": 0.5}, score="loss")
    bench.studio = bench.again()
    names = {
        "search grid by cross-entropy on folder:near",
        "search grid on folder:near",
        "search grid on folder:near (2)",
    }
    assert set(found_in(bench.compared("ab"))) == names


@pytest.mark.parametrize(("strategy", "networks"), [("swa", 1), ("greedy-ensemble", 3), ("learned-by-layer", 1)])
def test_soups_profiles_and_ensembles_are_measured_as_they_were_found(
    bench: Bench, strategy: str, networks: int
) -> None:
    settings = {"epochs": 1} if strategy == "learned-by-layer" else {}
    best = bench.search(strategy, settings=settings).snapshot()["best"]
    comparison = bench.compared()
    comparison.measure()
    (row,) = found_in(comparison).values()
    assert row["state"] == "measured" and row["miou"] == pytest.approx(best["report"]["miou"], abs=1e-12)
    assert row["forwards"] in (1, networks) and (row["forwards"] > 1) == best["ensemble"]
    if strategy == "swa":  # its statistics come from the pictures that it was chosen by, not from those of the table
        assert "statistics measured on up to 3 pictures of folder:" in row["note"]
        assert row["name"] not in comparison.whole() and "--count 3" in row["command"]


def test_every_gain_has_its_interval_and_every_class_its_change(bench: Bench) -> None:
    bench.search("grid", settings={"step": 0.5})
    comparison = bench.compared()
    comparison.measure()
    rows = {row.name: row for row in comparison.rows()}
    alone = [comparison.recipe_of(row) for row in rows.values() if row.group == "single"]
    for row in comparison.snapshot()["rows"]:
        if row["group"] == "single":
            assert row["interval"] is None
            continue
        chance = comparison.intervals.of(alone, [comparison.recipe_of(rows[row["name"]])], comparison.pictures)
        assert chance.interval is not None
        assert row["interval"] == pytest.approx([100 * end for end in chance.interval], abs=1e-9)
        assert row["inside_noise"] == (row["interval"][0] <= 0 <= row["interval"][1])
        classes = class_rows(comparison, row["name"])
        figures = comparison.figures(rows[row["name"]])
        assert figures is not None and [one["row"] for one in classes] == figures["iou"]
        for one in classes:
            assert one["change"] is None or one["change"] == one["row"] - one["single"]
            assert one["interval"] is None or one["interval"][0] <= one["interval"][1]
    assert class_rows(comparison, "nobody") == []


def test_what_is_no_find_is_passed_over(bench: Bench) -> None:
    bench.search("grid", "ab", settings={"step": 0.5})
    database: Database = bench.studio.answers.database
    (value,) = (row[0] for row in database.read("SELECT value FROM finds"))
    members = [bench.studio.workspace.get(name).checkpoint.fingerprint for name in "ab"]  # type: ignore[union-attr]
    broken: list[Any] = ["", "[]", "{}", "{" * 9999, json.dumps({**json.loads(value), "strategy": "magic"})]
    broken += [json.dumps({**json.loads(value), "recipe": {"checkpoints": []}})]
    broken += [json.dumps({**json.loads(value), "pictures": 3})]
    find = json.loads(value)
    broken += [json.dumps({**find, "select": {**find["select"], "miou": wrong}}) for wrong in ("much", float("nan"))]
    broken += [json.dumps({**find, "score": []}), json.dumps({**find, "strategy": ["grid"]})]
    other = {**find["recipe"]["checkpoints"][0], "fingerprint": "0" * 64}
    broken += [json.dumps({**find, "recipe": {**find["recipe"], "method": "single", "checkpoints": [other]}})]
    for number, one in enumerate(broken):
        database.write("INSERT INTO finds VALUES (?, ?, ?, 0)", [(str(number), json.dumps(sorted(members)), one)])
    database.write("INSERT INTO finds VALUES ('x', '{', '{}', 0)", [()])
    assert set(found_in(bench.compared("ab"))) == {"search grid on folder:near"}


def test_the_oldest_finds_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finds, "MOST", 3)
    kept = finds.Finds(Database(tmp_path / "f.sqlite", finds.SCHEMA))
    for number in range(5):
        kept.put(str(number), ["b", "a"], {"number": number})
    assert [one["number"] for one in kept.among("abc")] == [2, 3, 4] and kept.among("a") == []
    assert kept.there("4") and not kept.there("0")


def test_compare_searches_first_and_tells_classes(bench: Bench, capsys: pytest.CaptureFixture) -> None:
    given = ["compare", *map(str, bench.files), "--data", bench.report, "--home", str(bench.folder / "other")]
    given += ["--methods", "isotropic"]
    main([*given, "--search", "swa,greedy", "--select", bench.select, "--classes", "--json"])
    found = json.loads(capsys.readouterr().out)
    rows = [row["name"] for row in found["rows"] if row["group"] == "search"]
    assert rows == ["search greedy on folder:near", "search swa on folder:near"]
    assert {one["class"] for one in found["classes"]["classes"]} and found["classes"]["row"] not in ("a", "b", "c")
    main([*given, "--classes"])
    told = capsys.readouterr().out
    assert "search swa on folder:near" in told and "class by class" in told and " 95 %" in told
    for wrong, said in (
        (["--search", "magic"], "magic"),
        (["--select", bench.select], "--search"),
        (["--search", "greedy", "--rows", "methods"], "--rows methods"),
        (["--search", "greedy", "--shared"], "--shared"),
    ):
        with pytest.raises(SystemExit):
            main([*given, *wrong])
        assert said in capsys.readouterr().err
    main([*given[:3], *given[4:], "--search", "walk,adaptive", "--rows", "searches", "--json"])
    assert len([row for row in json.loads(capsys.readouterr().out)["rows"] if row["group"] == "search"]) == 2


def test_the_page_shows_what_was_found_and_leads_to_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened("compare.py", tmp_path / "home", monkeypatch) as start:
        files = tiny_files(tmp_path / "files")
        app: AppTest = start("--checkpoints", str(files), "--data", unlike(tmp_path / "data", 5))
        app.multiselect[0].set_value(["c0", "c1"]).run()
        assert "No search of these has been finished" in text(app)
        button(app, "Search for a better mixture").click().run()
        assert not app.exception and app.button_group(key="part").value == "search"
        app.selectbox(key="strategy").set_value("walk").run()
        button(app, "forward passes").click().run()
        work = list(server.studio().searches._works._works.values())[-1]
        until(lambda: work.state == "done")
        app.button_group(key="part").set_value("table").run()
        button(app, "rows on").click().run()
        comparison = list(server.studio().comparisons._works._works.values())[-1]
        until(lambda: comparison.state == "done")
        app.run()
        assert not app.exception and "Searched so far: walk." in text(app)
        assert f"{len(STRATEGIES.names()) - 1} strategies are left" in text(app)
        table = next(item.value for item in app.dataframe if "row" in item.value.columns)
        (line,) = (row for row in table.to_dict("records") if "search walk on folder:data" in row["row"])
        assert line["where chosen (%)"] > 0 and " to " in line["95 % of the gain"]
        assert any(" = " in row and "search" in row for row in table["row"]) or line["kind"] == "merge"
        classes = next(item.value for item in app.dataframe if "change (points)" in item.value.columns)
        assert classes["change (points)"].dropna().is_monotonic_decreasing
