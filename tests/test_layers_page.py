"""The Layers page through Streamlit's own test harness: what it shows without a browser, and what it says where
something is missing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from test_pages import box, captions, start  # noqa: F401 - the fixture

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from pages.widgets import server, viewer
from pages.widgets.diagnostics_tables import as_csv
from pages.widgets.layers_panel import contribution_rows


def layers(app):
    app.switch_page("layers.py").run()
    assert not app.exception
    return app


def test_the_page_opens_on_equal_weights_and_offers_the_profile(start) -> None:  # noqa: F811
    app = layers(start())
    assert next(item.value for item in app.markdown) == "# Explore"
    assert "A profile of 29 weights by block" in captions(app)
    assert any("method: profile" in item.value for item in app.code)


def test_a_profile_of_the_session_is_what_is_exported(start) -> None:  # noqa: F811
    app = start()
    app.session_state["layer-profile"] = json.dumps(
        {"level": "part", "anchor": 1, "weights": [[1, 0], [0.25, 0.75]], "locked": []}
    )
    layers(app)
    assert "2 weights by part" in captions(app) and "anchor B" in captions(app)
    next(item for item in app.button if item.label == "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    written = open_checkpoint(next((server.studio().options.home / "exports").glob("*profile-*.safetensors")))
    a = server.studio().workspace.get(str(box(app, "Checkpoint A").value)).checkpoint
    name = next(iter(written.tensors))
    assert a is not None and torch.equal(written.read(name), a.read(name)), "the backbone is A's"


def test_a_link_brings_a_drawn_profile_and_a_drawn_profile_makes_the_link(start) -> None:  # noqa: F811
    drawn = '{"level":"part","anchor":1,"weights":[[1.0,0.0],[0.25,0.75]]}'
    app = start()
    app.switch_page("layers.py")
    app.query_params["profile"] = drawn
    app.run()
    assert "2 weights by part" in captions(app) and app.query_params["profile"] in (drawn, [drawn])
    app.session_state["layer-profile"] = json.dumps(
        {"level": "part", "anchor": 0, "weights": [[0.5, 0.5], [0.5, 0.5]], "locked": []}
    )
    app.run()
    assert "profile" not in app.query_params, "equal weights are what a page begins with"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"level": "block", "weights": [7]}', '{"level": "<script>", "weights": []}', "null"]
)
def test_whatever_the_browser_reports_the_page_goes_on(start, text: str) -> None:  # noqa: F811
    app = start()
    app.session_state["layer-profile"] = text
    assert "A profile of 29 weights by block" in captions(layers(app))


def test_an_unknown_network_is_still_merged_layer_by_layer(start, tmp_path: Path) -> None:  # noqa: F811
    for value in (1.0, 3.0):
        table = {"first.weight": torch.full((4, 4), value), "second.weight": torch.full((4,), value)}
        save_tensors(tmp_path / f"w{value:g}.safetensors", table)
    app = start("--no-demo", "--checkpoints", str(tmp_path), "--data", "streets:clear:2")
    app.session_state["layer-profile"] = json.dumps(
        {"level": "block", "anchor": 0, "weights": [[1, 0], [0.5, 0.5]], "locked": []}
    )
    assert "No model code" in captions(layers(app))
    next(item for item in app.button if item.label == "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    written = open_checkpoint(next((tmp_path / "home" / "exports").glob("*.safetensors")))
    a = server.studio().workspace.get(str(box(app, "Checkpoint A").value)).checkpoint
    assert a is not None and torch.equal(written.read("first.weight"), a.read("first.weight"))
    assert (written.read("second.weight") == 2).all()


def test_an_empty_workspace_says_what_to_do(start) -> None:  # noqa: F811
    assert any("--checkpoints" in item.value for item in layers(start("--no-demo")).info)


def test_contributions_become_rows_of_percentage_points() -> None:
    found = {
        "level": "block",
        "names": ["x", "y"],
        "weights": [[0.5, 0.5], [1.0, 0.0]],
        "base": 0.3,
        "whole": 0.4,
        "only": [0.35, None],
        "without": [0.38, 0.4],
    }
    assert contribution_rows(found, ("one", "two")) == [
        {"block": "x", "A one": 0.5, "B two": 0.5, "alone": 5.0, "left out": -2.0},
        {"block": "y", "A one": 1.0, "B two": 0.0, "alone": None, "left out": 0.0},
    ]
    assert (
        as_csv(contribution_rows({**found, "names": ["=x()", "y"]}, ("one", "two")))
        .splitlines()[1]
        .startswith("'=x(),0.5,")
    )


def test_every_table_to_take_away_is_written_in_the_one_place_that_defuses_formulas() -> None:
    pages = Path(viewer.__file__).parents[1]
    writers = {
        path.name
        for path in pages.rglob("*.py")
        if re.search(r"^(import|from) csv\b|to_csv", path.read_text(), re.MULTILINE)
    }
    assert writers == {"diagnostics_tables.py"}
