"""A merge whose numbers do not fit its file is refused by name, wherever it is made; written wider it is what the
preview shows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from streamlit.testing.v1 import AppTest

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.choices import WRITTEN
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.checkpoints.rounding import fits, round_to_dtype, rounded, written_dtype
from fusionlib.checkpoints.sources import open_sources
from fusionlib.contracts import METHODS
from fusionlib.engine.blend import Blend
from fusionlib.engine.network import BoundNetwork
from fusionlib.errors import CheckpointError, MergeError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.merging.linear import Linear
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.stream import stream_merge
from fusionlib.recipe import read_recipe
from fusionlib.studio import Choices, Own, Selection, write_recipe
from pages.widgets import server
from tests.helpers import (
    CPU,
    TinyArchitecture,
    World,
    folder_data,
    informed,
    pictures,
    saved,
    tiny_file,
    tiny_registered,
    tiny_tensors,
    tiny_world,
    until,
)
from tests.page_tools import MAIN, button, opened, text
from tests.test_cli import place, refused, said  # noqa: F401 - fixtures

NARROW = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
ONE_FILE = [name for name in METHODS.names() if METHODS.get(name)().networks(2) == 1]
IMAGES = pictures(2)


def run(call):
    return call()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with tiny_world(tmp_path_factory.mktemp("world"), count=2) as opened:
        yield opened


# --- what fits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "last", "first_out"),
    [
        (torch.float16, 65519.0, 65520.0),
        (torch.float8_e4m3fn, 464.0, 464.01),
        (torch.float8_e5m2, 61439.0, 61440.0),
        (torch.bfloat16, 3.3961e38, 3.3962e38),
        (torch.float32, 3.4028234e38, float("inf")),
    ],
)
def test_a_type_holds_what_it_rounds_to_its_largest_number_and_nothing_beyond(
    dtype: torch.dtype, last: float, first_out: float
) -> None:
    most = torch.finfo(dtype).max
    for sign in (1, -1):
        values = torch.tensor([0.0, sign * last, 1.0])
        assert fits(values, dtype) and rounded("w", values, dtype).float()[1] == sign * most
        for bad in (first_out, 1e39, float("nan")):
            with pytest.raises(MergeError, match="w would hold"):
                rounded("w", torch.tensor([0.0, sign * bad, 1.0]), dtype)
    assert fits(torch.empty(0), dtype)
    assert fits(torch.tensor([1e-30, -1e-30]), dtype), "what is too small becomes zero"


def test_the_message_says_what_does_not_fit_and_what_to_do() -> None:
    with pytest.raises(MergeError) as caught:
        rounded("body.weight", torch.tensor([[1.0, 2.0], [100000.0, -3e38]]), torch.float16)
    assert caught.value.got == "body.weight would hold 100000, which does not fit float16"
    assert caught.value.needs == "numbers up to 65504" and "--dtype float32" in caught.value.do
    for values, dtype in (([float("inf")], torch.float16), ([float("nan")], torch.float32), ([1e300], torch.float32)):
        with pytest.raises(MergeError) as caught:
            rounded("w", torch.tensor(values, dtype=torch.float64), dtype)
        assert "float32" not in caught.value.do, "float32 would not help"


def test_what_lies_between_tensors_is_no_number_of_the_merge(tmp_path: Path) -> None:
    checkpoint = saved(
        tmp_path / "w.safetensors", {"a": torch.ones(3).half(), "b": torch.ones(5).half(), "c": torch.ones(2)}
    )
    layout = Arena.pack([checkpoint]).layout
    flat = torch.full((layout.size,), torch.nan)
    for name, view in layout.views(flat).items():
        view.fill_({"a": 1 / 3, "b": 1e-9, "c": 1 / 3}[name])
    round_to_dtype(layout, flat)
    assert layout.view(flat, "a")[0] == torch.tensor(1 / 3).half() and layout.view(flat, "c")[0] == torch.tensor(1 / 3)
    layout.view(flat, "b")[4] = 7e4
    with pytest.raises(MergeError, match="b would hold 70000"):
        round_to_dtype(layout, flat)
    round_to_dtype(layout, flat, [entry for entry in layout.entries if entry.name != "b"])


def test_dtypes_go_by_name() -> None:
    assert written_dtype(None) is written_dtype("same") is None and written_dtype("bfloat16") is torch.bfloat16
    for wrong in ("float64", "int8", "half", ""):
        with pytest.raises(UsageError, match=r"float32.*--dtype"):
            written_dtype(wrong)


# --- every method, every narrow type ----------------------------------------------------------------------------------


WRITABLE = [dtype for dtype in NARROW if dtype in map(written_dtype, WRITTEN)]
"""Narrow types that a merge of wider files can be written in."""


def pair(folder: Path, dtype: torch.dtype) -> list[Checkpoint]:
    """Two files in float32: one in the range of a narrow type, one beyond it in every convolution of the backbone."""
    narrow, wide = tiny_tensors(1), tiny_tensors(2)
    for name in ("stem.weight", "body.weight"):
        wide[name] = wide[name] / wide[name].abs().max() * min(64 * torch.finfo(dtype).max, 3.4e38)
        if dtype == torch.bfloat16:  # the range of float32 itself: ends of opposite sign are too far apart
            narrow[name] = (-wide[name] / 1.1).to(dtype).float()
    folder.mkdir(parents=True, exist_ok=True)
    return [saved(folder / "narrow.safetensors", narrow), saved(folder / "wide.safetensors", wide)]


def parameters(name: str) -> dict:
    """What gives the second file enough weight to carry the merge out of the first one's range."""
    return {
        "head_swap": {"backbone": 1, "head": 0},
        "dare": {"scale": 2.0},
        "task_arithmetic": {"scale": 2.0},
        "fisher": {"lambdas": [0.0, 1.0]},
    }.get(name, {})


def name_of(dtype: torch.dtype) -> str:
    """As the user writes it."""
    return next(name for name in WRITTEN if written_dtype(name) == dtype)


@pytest.mark.parametrize("dtype", WRITABLE)
@pytest.mark.parametrize("name", ONE_FILE)
def test_every_method_refuses_the_file_and_the_live_view_alike(
    world: World, tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    checkpoints = pair(tmp_path, dtype)
    data = world.studio.workspace.pictures(world.source, None)
    recipe = write_recipe(checkpoints, name, parameters(name), "average", data, 2, dtype=name_of(dtype))
    # Weights so large that the network itself answers with NaN.
    blind = METHODS.get(name).needs == "pictures" and dtype == torch.bfloat16
    with pytest.raises(
        CheckpointError if blind else MergeError,
        match="NaN" if blind else r"^(stem|body)\.weight would hold .* not fit",
    ):
        world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", data)
    assert sorted(os.listdir(tmp_path)) == ["narrow.safetensors", "wide.safetensors"], "no file, no leftover"
    if METHODS.get(name).needs == "pictures":
        return
    arena = Arena.pack(checkpoints, head=("head",)).written_in(dtype)
    blend = Blend(arena, BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU))
    for _ in range(2):
        with pytest.raises(MergeError, match=r"^(stem|body)\.weight would hold"):
            blend.set(informed(build_method(name, parameters(name)), arena), run)
    blend.set(Linear(1.0), run)
    alone = arena.weights[0].clone()
    round_to_dtype(arena.layout, alone)
    assert torch.equal(blend.network.flat, alone), "after a refusal it goes on"


@pytest.mark.parametrize("dtype", NARROW)
def test_two_narrow_files_whose_sum_goes_beyond_their_type_are_refused(
    world: World, tmp_path: Path, dtype: torch.dtype
) -> None:
    tables = [tiny_tensors(seed, dtype=dtype) for seed in (1, 2)]
    tables[1]["body.weight"] = torch.full((8, 8, 3, 3), torch.finfo(dtype).max * 0.9).to(dtype)
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    for method in ("task_arithmetic", "dare"):
        with pytest.raises(MergeError, match=r"^body\.weight would hold .* not fit"):
            world.studio.merge(
                write_recipe(checkpoints, method, {"scale": 2.0}, "average"), checkpoints, tmp_path / "out.safetensors"
            )
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("dtype", WRITABLE)
@pytest.mark.parametrize("policy", ["average", "gaussian"])
def test_the_streamed_merge_and_the_one_in_memory_refuse_the_same_number(
    world: World, tmp_path: Path, dtype: torch.dtype, policy: str
) -> None:
    checkpoints = pair(tmp_path, dtype)
    with pytest.raises(MergeError) as streamed:
        stream_merge(checkpoints, (0.5, 0.5), policy, tmp_path / "out.safetensors", {}, dtype=dtype)
    recipe = write_recipe(checkpoints, "isotropic", {}, policy, dtype=name_of(dtype))
    with pytest.raises(MergeError) as packed:
        world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors")
    assert streamed.value.one_line == packed.value.one_line
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("dtype", NARROW)
def test_pooled_variances_that_do_not_fit_are_refused(world: World, tmp_path: Path, dtype: torch.dtype) -> None:
    tables = [tiny_tensors(seed, dtype=dtype) for seed in (1, 2)]
    for table, sign in zip(tables, (1, -1), strict=True):
        table["norm.running_mean"] = torch.full((8,), sign * torch.finfo(dtype).max * 0.9).to(dtype)
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    for method in ("linear", "isotropic"):
        with pytest.raises(MergeError, match=r"^norm\.running_var would hold"):
            world.studio.merge(
                write_recipe(checkpoints, method, {}, "gaussian"), checkpoints, tmp_path / "out.safetensors"
            )


def test_statistics_measured_anew_that_do_not_fit_are_refused_and_fit_float32(world: World, tmp_path: Path) -> None:
    data, checkpoints = world.studio.workspace.pictures(world.source, None), []
    for seed in (1, 2):
        table = tiny_tensors(seed, dtype=torch.float16)
        table["body.weight"] = torch.full_like(table["body.weight"], 60000.0)  # activations of millions
        checkpoints.append(saved(tmp_path / f"{seed}.safetensors", table))
    for method in ("linear", "isotropic"):
        recipe = write_recipe(checkpoints, method, {}, "recalibrate", data)
        with pytest.raises(MergeError, match=r"^norm2\.running_(mean|var) would hold"):
            world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", data)
        recipe = write_recipe(checkpoints, method, {}, "recalibrate", data, dtype="float32")
        out = world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", data).path
        assert float(open_checkpoint(out).read("norm2.running_var").max()) > 1e6
        out.unlink()


def test_float32_files_that_overflow_float32_are_refused_too(world: World, tmp_path: Path) -> None:
    tables = [{"w": torch.tensor([value])} for value in (3e38, -3e38)]
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    for method in ("linear", "isotropic", "task_arithmetic"):
        with pytest.raises(MergeError, match=r"w would hold -?inf") as caught:
            world.studio.merge(
                write_recipe(checkpoints, method, {}, "average"), checkpoints, tmp_path / "out.safetensors"
            )
        assert "--dtype" not in caught.value.do


@pytest.mark.parametrize("dtype", NARROW)
def test_nan_in_a_narrow_file_is_still_the_fault_of_that_file(tmp_path: Path, dtype: torch.dtype) -> None:
    tables = [tiny_tensors(seed, dtype=dtype) for seed in (1, 2)]
    spoilt = tables[1]["body.weight"].float()
    spoilt[0] = torch.nan
    tables[1]["body.weight"] = spoilt.to(dtype)
    checkpoints = [saved(tmp_path / f"{number}.safetensors", table) for number, table in enumerate(tables)]
    with pytest.raises(CheckpointError, match=r"1: 72 of 576 values of body\.weight are NaN"):
        stream_merge(checkpoints, (0.5, 0.5), "average", tmp_path / "out.safetensors", {})


def test_float64_weights_that_no_network_can_run_are_refused(tmp_path: Path) -> None:
    table = {name: value.double() if value.is_floating_point() else value for name, value in tiny_tensors(1).items()}
    table["body.weight"][0] = 1e300
    with tiny_registered():
        arena = Arena.pack([saved(tmp_path / "w.safetensors", table)])
        network = BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU)
        with pytest.raises(MergeError, match=r"body\.weight would hold 1e\+300, which does not fit float32"):
            network.load(arena.weights[0])


def test_dragging_one_unit_looks_at_that_unit_and_the_file_is_looked_at_whole(tmp_path: Path) -> None:
    arena = Arena.pack(pair(tmp_path, torch.float16), head=("head",)).written_in(torch.float16)
    blend = Blend(arena, BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU))
    fitting = LayerProfile(weights={"stem": (1.0, 0.0), "body": (1.0, 0.0)})
    blend.set(fitting, run)
    before = blend.network.flat.clone()
    with pytest.raises(MergeError, match=r"^body\.weight"):
        blend.set(LayerProfile(weights={"stem": (1.0, 0.0), "body": (0.5, 0.5)}), run)
    blend.set(fitting, run)
    assert torch.equal(blend.network.flat, before), "nothing of the refused profile is left"


# --- written in another type ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [torch.float16, torch.float8_e4m3fn, torch.float64])
@pytest.mark.parametrize("name", ["linear", "task_arithmetic", "profile"])
@pytest.mark.parametrize("written", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("policy", ["gaussian", "recalibrate"])
def test_the_file_in_another_dtype_is_what_the_preview_runs_and_its_recipe_runs_again(
    world: World, tmp_path: Path, own: torch.dtype, name: str, written: str, policy: str
) -> None:
    data = world.studio.workspace.pictures(world.source, None)
    checkpoints = [saved(tmp_path / f"c{seed}.safetensors", tiny_tensors(seed, dtype=own)) for seed in (1, 2)]
    recipe = write_recipe(checkpoints, name, {}, policy, data, dtype=written)
    out = world.studio.merge(recipe, checkpoints, tmp_path / "out.safetensors", data).path
    found, kind = open_checkpoint(out), written_dtype(written)
    assert {info.dtype for info in found.tensors.values() if info.dtype.is_floating_point} == {kind}
    assert list(found.tensors) == list(checkpoints[0].tensors) and found.tensors["table"].dtype == torch.int64

    arena = Arena.pack(checkpoints).written_in(kind)
    blend = Blend(
        arena,
        BoundNetwork(TinyArchitecture(), 3, arena.layout, arena.integers[0], device=CPU),
        policy,
        calibration=data,
    )
    blend.set(build_method(name, {}), run)
    again = Arena.pack([found])
    assert torch.equal(again.weights[0], blend.network.flat), "to the bit"

    (tmp_path / "r.yaml").write_text(found.metadata["recipe"])
    assert yaml.safe_load(found.metadata["recipe"])["dtype"] == written
    read = read_recipe(tmp_path / "r.yaml")
    world.studio.merge(read, open_sources(read, [tmp_path]), tmp_path / "again.safetensors", data)
    assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()


def test_without_a_dtype_a_recipe_says_nothing_of_it_and_the_bytes_are_those_of_before(
    world: World, tmp_path: Path
) -> None:
    checkpoints = [saved(tmp_path / f"c{seed}.safetensors", tiny_tensors(seed, dtype=torch.float16)) for seed in (1, 2)]
    plain, same = (
        write_recipe(checkpoints, "linear", {"alpha": 0.3}, "average", dtype=dtype) for dtype in (None, "same")
    )
    assert plain == same and "dtype:" not in plain.to_yaml()
    out = world.studio.merge(plain, checkpoints, tmp_path / "out.safetensors").path
    assert open_checkpoint(out).tensors["body.weight"].dtype == torch.float16


def test_the_view_previews_what_will_be_written_and_its_figures_have_keys_of_their_own(
    world: World, tmp_path: Path
) -> None:
    with tiny_world(tmp_path, count=2) as opened:
        for seed, name in ((1, "a"), (2, "b")):
            saved(tmp_path / "files" / f"half-{name}.safetensors", tiny_tensors(seed, dtype=torch.float16))
        opened.studio.workspace.refresh()
        views = {
            dtype: opened.studio.view(Selection("half-a", "half-b", opened.source, None, dtype=dtype))
            for dtype in (None, *WRITTEN)
        }
        assert views[None].id == views["same"].id == views["float16"].id
        assert len({views[dtype].id for dtype in (None, "float32", "bfloat16")}) == 3
        builder = opened.studio.runner.builder
        assert len({builder.build(views[dtype].recipe(0.3)).key for dtype in (None, "float16", "float32")}) == 2
        sweep, wide = (opened.studio.sweep(views[dtype]) for dtype in (None, "float32"))
        losses = [one.measure(0.5)["points"][1]["loss"] for one in (sweep, wide)]
        assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=1e-2)
        export = opened.studio.export(views["float32"], 0.5)
        assert export.recipe.dtype == "float32" and "float32" in export.path.name
        assert opened.studio.evaluate(open_checkpoint(export.path), views[None].need_pictures())["loss"] == losses[1]
        plain = opened.studio.view(Selection("a", "b", opened.source, None, dtype="float32"))
        assert plain.selection.dtype is None, "these files are float32: the same view"


def test_frames_and_sweeps_say_what_does_not_fit(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=1) as opened:
        for file, other in zip(pair(tmp_path / "files", torch.float16), ("narrow", "wide"), strict=True):
            assert file.name == other
        opened.studio.workspace.refresh()
        view = opened.studio.view(Selection("narrow", "wide", opened.source, None, dtype="float16"))
        with pytest.raises(MergeError, match=r"stem\.weight would hold"):
            view.frame(0, 0.5)
        assert view.frame(0, 1.0).about["miou"] is not None
        with pytest.raises(UsageError, match=r"stem\.weight would hold"):
            opened.studio.sweep(view).measure(0.5)
        wide = opened.studio.view(Selection("narrow", "wide", opened.source, None))
        assert wide.frame(0, 0.5).about["miou"] is not None


def test_rows_of_a_comparison_too_and_in_float32_they_are_measured_and_written_as_measured(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=1) as opened:
        checkpoints, data = (
            pair(tmp_path / "files", torch.float16),
            opened.studio.workspace.pictures(opened.source, None),
        )
        rows = {}
        for dtype in ("float16", None):
            choices = Choices(
                methods=("isotropic",), own=(Own("task_arithmetic", (("base", 0), ("scale", 2.0))),), dtype=dtype
            )
            comparison = opened.studio.comparisons.of(checkpoints, data, choices)
            comparison.measure()
            rows[dtype] = {row["method"]: row for row in comparison.snapshot()["rows"] if row["method"] != "single"}
        for row in rows["float16"].values():
            assert (
                row["state"] == "not applicable"
                and "weight would hold" in row["note"]
                and "--dtype float32" in row["note"]
            )
            assert "--dtype float16" in row["command"]
        for row in rows[None].values():
            assert row["state"] == "measured" and "--dtype" not in row["command"]
        export = opened.studio.exports.row(comparison, "isotropic")
        figures = opened.studio.evaluate(open_checkpoint(export.path), data)
        assert export.recipe.dtype is None and figures["miou"] == rows[None]["isotropic"]["miou"]


def test_a_dtype_that_the_files_have_anyway_changes_no_row(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=1) as opened:
        files, data = (
            [opened.studio.workspace.get(name).checkpoint for name in "ab"],
            opened.studio.workspace.pictures(opened.source, None),
        )
        for dtype in (None, "same", "float32"):
            comparison = opened.studio.comparisons.of(files, data, Choices(methods=("isotropic",), dtype=dtype))
            if dtype is None:
                comparison.measure()
            assert comparison.state == "done" and comparison.choices.dtype is None


# --- from the command line --------------------------------------------------------------------------------------------


def test_the_command_line_refuses_offers_float32_and_writes_it(place: Path, said, refused) -> None:  # noqa: F811
    for name, value in (("x", 20000.0), ("y", 60000.0)):
        saved(place / f"{name}.safetensors", {"layer.weight": torch.full((2, 3), value).half()})
    given = (
        "merge",
        "x.safetensors",
        "y.safetensors",
        "--method",
        "task_arithmetic",
        "--set",
        "scale=2",
        "--out",
        "m.safetensors",
    )
    line = refused(*given)
    assert "layer.weight would hold 100000, which does not fit float16" in line and "--dtype float32" in line
    assert not (place / "m.safetensors").exists()
    first = said(*given, "--dtype", "float32", "--save-recipe", "r.yaml")
    assert open_checkpoint(place / "m.safetensors").read("layer.weight").tolist() == [[100000.0] * 3] * 2
    assert "dtype: float32" in (place / "r.yaml").read_text()
    again = said("merge", "r.yaml", "--out", "n.safetensors")
    assert again["fingerprint"] == first["fingerprint"]
    assert "a recipe alone" in refused("merge", "r.yaml", "--dtype", "float16", "--out", "n.safetensors")
    assert "float32, float16, bfloat16" in refused(*given, "--dtype", "double")
    narrow = said("merge", "x.safetensors", "y.safetensors", "--dtype", "bfloat16", "--out", "b.safetensors")
    assert narrow["bytes"] < first["bytes"]


def test_sweeps_and_layers_are_measured_as_they_would_be_written(place: Path, said, refused) -> None:  # noqa: F811
    pair(place, torch.float16)
    files, data = ("narrow.safetensors", "wide.safetensors"), ("--data", "folder:town", "--limit", "1")
    for verb in (("sweep", *files, "--step", "0.5"), ("layers", *files), ("compare", *files, "--methods", "isotropic")):
        assert "one of same, float32, float16, bfloat16" in refused(*verb, *data, "--dtype", "double")
    line = refused("sweep", *files, "--step", "0.5", *data, "--dtype", "float16")
    assert "stem.weight would hold" in line and "--dtype float32" in line
    assert len(said("sweep", *files, "--step", "0.5", *data)["points"]) == 3
    assert said("layers", *files, *data, "--dtype", "float32")["merge_miou"] is not None


# --- on the pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("explore.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


def written_as(app: AppTest):
    return next(item for item in app.selectbox if item.label == "Written as")


def test_pages_offer_the_dtype_where_they_write_and_the_view_follows(start, tmp_path: Path) -> None:
    pair(tmp_path / "files", torch.float16)
    app = start("--checkpoints", str(tmp_path / "files"), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    assert written_as(app).value == "same" and "float32" in written_as(app).options[0]
    written_as(app).set_value("float16").run()
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and "weight would hold" in app.error[0].value.replace("\\", "")
    assert not list((tmp_path / "home" / "exports").glob("*.safetensors"))
    assert any("dtype: float16" in item.value for item in app.code)
    written_as(app).set_value("same").run()
    assert not any("dtype: " in line for item in app.code for line in item.value.splitlines())
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    (file,) = (tmp_path / "home" / "exports").glob("*.safetensors")
    assert open_checkpoint(file).tensors["stem.weight"].dtype == torch.float32
    live = [view for views in server.studio().live._sessions.values() for view in views.values()]
    assert [view.selection.dtype for view in live] == ["float16", None], "what is shown is what is written"
    written_as(app).set_value("bfloat16").run()
    for page in ("layers.py", "compare.py"):
        app.switch_page(page).run()
        assert not app.exception and written_as(app).value == "bfloat16", "one choice for all pages"


def test_a_link_with_a_dtype_shows_it_at_once_and_nonsense_is_left_alone(start, tmp_path: Path) -> None:
    for seed in (1, 2):
        tiny_file(tmp_path / "files", f"c{seed}", seed, dtype=torch.float16)
    start("--checkpoints", str(tmp_path / "files"))
    for asked, wanted in (("bfloat16", "bfloat16"), ("float13", "same"), ("same", "same")):
        server.reset()
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        app.query_params["dtype"] = asked
        app.run()
        assert not app.exception and written_as(app).value == wanted
        views = list(server.studio().views.opened.values())
        assert [view.selection.dtype for view in views] == [None if wanted == "same" else wanted]
        assert any("dtype: " in line for item in app.code for line in item.value.splitlines()) == (wanted != "same")


def test_compare_measures_and_writes_in_the_chosen_dtype(start, tmp_path: Path) -> None:
    pair(tmp_path / "files", torch.float16)
    app = start("--checkpoints", str(tmp_path / "files"), "--data", f"folder:{folder_data(tmp_path / 'data', 1)}")
    app.switch_page("compare.py").run()
    written_as(app).set_value("bfloat16").run()
    button(app, "rows on 1 pictures").click().run()
    comparison = list(server.studio().comparisons._works._works.values())[-1]
    until(lambda: comparison.state == "done")
    app.run()
    next(item for item in app.selectbox if item.label == "Row").set_value("isotropic").run()
    assert "Written as bfloat16, as it was measured" in text(app) and "--dtype bfloat16" in app.code[-1].value
    button(app, "Write merged checkpoint").click().run()
    assert not app.exception and not app.error
    (file,) = (tmp_path / "home" / "exports").glob("*.safetensors")
    assert open_checkpoint(file).tensors["stem.weight"].dtype == torch.bfloat16
