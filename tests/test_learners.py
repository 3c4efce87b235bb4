"""Learners inside a network: what they say against networks of their own, out of one pass; in CLI, study and page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import folder_data, until
from page_tools import opened as page
from page_tools import text, tiny_files
from safetensors.torch import save_file
from test_senformer import CLASSES, MINI, lively

from fusionlib.architectures.senformer import SenFormer
from fusionlib.checkpoints.reader import Checkpoint, open_checkpoint
from fusionlib.cli import main
from fusionlib.contracts import ARCHITECTURES, FUSIONS, MEASURES
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset
from fusionlib.diagnostics.embeddings import class_cosines
from fusionlib.engine.build import Builder
from fusionlib.engine.learners import LastAnswers, answers_of
from fusionlib.engine.parts import parts
from fusionlib.engine.recipes import recipe_alone, write_recipe
from fusionlib.errors import UsageError
from fusionlib.measures.learners import MOST, groups, ways
from fusionlib.measures.observation import Inside as Learned
from fusionlib.measures.observation import Observation
from fusionlib.merging.build import build_method
from fusionlib.recipe import Views
from fusionlib.studio import Options, Selection, Studio
from fusionlib.studio.frame import Frame
from fusionlib.studio.inside import Inside
from pages.widgets import server

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    before = set(ARCHITECTURES.names())
    yield
    for name in set(ARCHITECTURES.names()) - before:
        del ARCHITECTURES._items[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("learners")
    for number, name in enumerate("ab"):
        network = lively(MINI, number)
        with torch.no_grad():
            for one in network.decode_head.learners:
                one.queries.normal_(generator=torch.Generator().manual_seed(number))  # type: ignore[union-attr, operator]
        save_file(network.state_dict(), found / f"{name}.safetensors")
    folder_data(found / "data", 2)
    return found


@pytest.fixture(scope="module")
def studio(folder: Path) -> Studio:
    return Studio(Options(demo=False, home=folder / "home", device="cpu"))


@pytest.fixture(scope="module")
def checkpoint(folder: Path, studio: Studio) -> Checkpoint:
    found = open_checkpoint(folder / "a.safetensors")
    studio.sources.know([found])
    return found


@pytest.fixture(scope="module")
def pictures(folder: Path) -> DecodedCache:
    return DecodedCache(open_dataset(f"folder:{folder / 'data'}", None, None), 1 << 24)


@pytest.fixture(scope="module")
def found(studio: Studio, checkpoint: Checkpoint, pictures: DecodedCache) -> dict[str, Any]:
    work = studio.learners.open(recipe_alone(checkpoint), pictures)
    return work.measure()


# --- the measure ------------------------------------------------------------------------------------------------------


def test_all_of_it_is_one_pass_and_the_network_among_it_is_the_network(
    studio: Studio, checkpoint: Checkpoint, pictures: DecodedCache, found: dict[str, Any], folder: Path
) -> None:
    other = Studio(Options(demo=False, home=folder / "other", device="cpu"))
    other.sources.know([checkpoint])
    alone = other.measure(recipe_alone(checkpoint), pictures, measures=("confusion", "loss", "calibration"))
    mine = [other.measure(recipe_alone(checkpoint), pictures, measures=("learners",))["subset_loss"][-1]]
    assert found["network"]["loss"] == alone["loss"] == mine[0] == found["subsets"][-1]["loss"]
    assert found["network"]["miou"] == alone["miou"] == found["subsets"][-1]["miou"]
    assert found["network"]["ece"] == alone["ece_sample_weighted"] == found["subsets"][-1]["ece"]
    assert studio.runner.tally.run == len(pictures), "one pass a picture for everything in the table"


def test_rows_of_the_table(found: dict[str, Any]) -> None:
    assert [one["name"] for one in found["learners"]] == ["d2", "d3", "d4", "d5"]
    assert [one["members"] for one in found["subsets"]] == [list(group) for group in groups(4)] and len(groups(4)) == 15
    assert found["mean"]["miou"] == pytest.approx(sum(one["miou"] for one in found["learners"]) / 4)
    assert found["gain"] == pytest.approx(100 * (found["network"]["miou"] - found["mean"]["miou"]))
    fusions = {one["name"]: one for one in found["fusions"]}
    assert list(fusions) == [way.name for way in ways()] and fusions["average"]["loss"] == found["network"]["loss"]
    assert fusions["explicit"]["miou"] is None and fusions["majority:heads"]["miou"] is not None
    assert len(found["pairs"]) == 6 and found["reason"] is None


def observed(logits: torch.Tensor, truth: torch.Tensor) -> Observation:
    """Learners (L, 1, C, h, w) inside a network that answers by their average."""

    def by(fusion: Any, members: Any) -> Observation:
        return Observation(fusion(logits, None, members), truth)

    names = tuple(str(number) for number in range(len(logits)))
    free = tuple(name for name in FUSIONS.names() if not FUSIONS.get(name).trained)
    inside = Learned(names, free, by)
    return Observation(FUSIONS.get("average")()(logits), truth, learners=inside)


def measured(*observations: Observation) -> dict[str, Any]:
    measure = MEASURES.get("learners")
    state = measure.init(observations[0].classes, torch.device("cpu"), 1)
    for one in observations:
        measure.update(state, one)
    return measure.compute(state)


def test_every_subset_against_a_loop_over_its_members() -> None:
    logits = torch.from_numpy(RNG.normal(size=(3, 1, 4, 6, 5))).float()
    truth = torch.from_numpy(RNG.integers(0, 4, (1, 6, 5)))
    truth[0, 0, :2] = 255
    figures, keep = measured(observed(logits, truth)), truth[0] != 255
    for place, members in enumerate(groups(3)):
        mean = sum(logits[number].double().softmax(1) for number in members) / len(members)
        right = (mean[0].argmax(0) == truth[0])[keep]
        true = mean[0].gather(0, truth.clamp(max=3))[0][keep]
        assert figures["subset_pixel_accuracy"][place] == pytest.approx(float(right.double().mean()))
        assert figures["subset_loss"][place] == pytest.approx(float(-true.log().mean()), abs=1e-6)
    labels = [one[0].argmax(0) for one in logits]
    apart = [float((labels[i] != labels[j])[keep].double().mean()) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert figures["learner_pair_disagreement"] == pytest.approx(apart)
    variance = logits.double().softmax(2).var(2, correction=0)
    assert figures["spread"][:3] == pytest.approx(variance.mean((1, 2, 3)).tolist(), abs=1e-6)
    assert figures["deviation"][:3] == pytest.approx(variance.sqrt().mean((1, 2, 3)).tolist(), abs=1e-6)


def test_one_hot_answers_have_the_largest_variance() -> None:
    classes = 5
    sure = (
        100.0 * torch.nn.functional.one_hot(torch.arange(classes).view(1, 1, -1), classes).permute(0, 3, 1, 2).float()
    )
    figures = measured(observed(sure[None].expand(2, -1, -1, -1, -1), torch.arange(classes).view(1, 1, -1)))
    assert figures["spread"] == pytest.approx([(classes - 1) / classes**2] * 3, abs=1e-6)
    assert figures["subset_miou"] == [1.0] * 3 and figures["learner_disagreement"] == 0


def test_a_network_without_learners_has_none_and_more_than_eight_are_refused() -> None:
    truth = torch.zeros(1, 2, 2, dtype=torch.long)
    plain = measured(Observation(torch.zeros(1, 3, 2, 2), truth))
    assert plain["subset_miou"] == [] and plain["learner_disagreement"] is None
    with pytest.raises(Exception, match=f"at most {MOST}"):
        measured(observed(torch.zeros(9, 1, 3, 2, 2), truth))


# --- the engine -------------------------------------------------------------------------------------------------------


def test_toggling_learners_takes_no_pass_and_a_changed_weight_takes_one(
    studio: Studio, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder: Builder = studio.runner.builder
    member = builder.build(recipe_alone(checkpoint)).members[0]
    passes: list[int] = []
    whole = SenFormer.answers
    monkeypatch.setattr(SenFormer, "answers", lambda self, x: passes.append(1) or whole(self, x))
    image = RNG.integers(0, 256, (1, 32, 64, 3), np.uint8)

    def look() -> None:
        member.enter()
        network, last = member.network, LastAnswers()
        network.learners = type(member.network.learners)(**{**vars(network.learners), "logits": network.module.answers})
        for kept in ([0], [1, 3], None):
            assert torch.equal(last.of(network, image).fused(None, kept), answers_of(network, image).fused(None, kept))
        assert len(passes) == 1 + 3
        last.of(network, image.copy())
        assert len(passes) == 4
        network.flat[0] += 1
        last.of(network, image)
        assert len(passes) == 5
        last.of(network, 255 - image)
        assert len(passes) == 6
        member.network.occupant = None

    studio.runner.worker.run(look)


def test_parts_add_up_to_the_network(checkpoint: Checkpoint) -> None:
    architecture = ARCHITECTURES.get("senformer-tiny")
    found = parts(architecture, CLASSES)
    with torch.device("meta"):
        module = architecture.build(CLASSES)
    assert [one.name for one in found] == ["backbone", "neck", "decode_head"]
    assert sum(one.parameters for one in found) == sum(tensor.numel() for tensor in module.parameters())
    lateral = 128 * 128 * 16 * 16  # a 1x1 convolution over the coarsest map is a part of what the neck does
    assert found[1].macs > lateral and all(one.macs > 0 for one in found)


def test_the_papers_sizes_stand_beside_those_of_its_networks() -> None:
    fifty = ARCHITECTURES.get("senformer-resnet50")
    found = parts(fifty, 150)
    assert fifty.printed == "55 M and 179 G with 150 classes" and not ARCHITECTURES.get("senformer-tiny").printed  # type: ignore[attr-defined]
    assert round(sum(one.parameters for one in found) / 1e6) == 55
    assert sum(one.macs for one in found) > 179e9, "the printed ones lack the products of attention"


def test_cosines_of_classes_leave_zeros_out_and_take_the_papers_set() -> None:
    table = np.array([[1.0, 0], [0, 2], [0, 0], [3, 3]])
    half = np.sqrt(0.5)
    assert class_cosines(table) == pytest.approx([0, half, half])
    assert class_cosines(table, diagonals=True) == pytest.approx([1, 0, half, 1, half])
    assert len(class_cosines(np.eye(7), diagonals=True)) == 21 + 6 and len(class_cosines(np.zeros((4, 2)))) == 0


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_verb_tells_it_all_and_a_network_without_learners_is_refused(
    folder: Path, capsys: pytest.CaptureFixture, found: dict[str, Any], tmp_path: Path
) -> None:
    given = ["--data", f"folder:{folder / 'data'}", "--home", str(folder / "home")]
    main(["learners", str(folder / "a.safetensors"), *given, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["learners"] == found["learners"] and said["forward_passes"] == 0
    assert said["parameters"] == sum(one["parameters"] for one in said["parts"]) and len(said["cosines"]) == 4
    main(["learners", str(folder / "a.safetensors"), *given])
    text = capsys.readouterr().out
    assert "points over the mean of the learners" in text and "d2 + d3" in text and "Majority vote, heads" in text
    unet = tmp_path / "unet.safetensors"
    save_file(ARCHITECTURES.get("enet").build(3).state_dict(), unet)
    with pytest.raises(SystemExit):
        main(["learners", str(unet), *given])
    assert "no learners inside" in capsys.readouterr().err


def test_several_networks_that_answer_together_are_refused_before_any_pass(
    studio: Studio, checkpoint: Checkpoint, folder: Path, pictures: DecodedCache
) -> None:
    other = open_checkpoint(folder / "b.safetensors")
    studio.sources.know([other])
    run = studio.runner.tally.run
    with pytest.raises(UsageError, match="Learners of 2 networks"):
        studio.learners.open(write_recipe([checkpoint, other], "ensemble", {}, "average"), pictures)
    assert studio.runner.tally.run == run


@pytest.mark.parametrize(
    ("more", "named"), [({"views": Views(flip=True)}, "views"), ({"temperature": 2.0}, "temperature")]
)
def test_learners_of_a_recipe_that_changes_what_they_answered_together_are_refused(
    studio: Studio, checkpoint: Checkpoint, pictures: DecodedCache, more: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        studio.learners.open(recipe_alone(checkpoint).model_copy(update=more), pictures)
    nothing = {"views": Views(), "temperature": 1.0}
    assert studio.learners.open(recipe_alone(checkpoint).model_copy(update=nothing), pictures).cost()


# --- live -------------------------------------------------------------------------------------------------------------


def test_frames_of_some_learners_are_those_of_the_merged_network_without_a_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (f"folder:{folder / 'data'}",)
    files = tuple(folder / f"{name}.safetensors" for name in "ab")
    studio = Studio(Options(demo=False, home=folder / "live", device="cpu", data=data, checkpoints=files))
    studio.workspace.refresh()
    source = studio.workspace.sources[0]
    view = studio.view(Selection("a", "b", source.name, None))
    assert view.inside is not None and view.inside["names"] == ["d2", "d3", "d4", "d5"]
    assert view.inside["own"] == "average"
    assert "explicit" not in [one["name"] for one in view.inside["fusions"]]
    passes: list[int] = []
    whole = SenFormer.answers
    monkeypatch.setattr(SenFormer, "answers", lambda self, x: passes.append(1) or whole(self, x))

    def shown(kept: str, way: str = "", pane: str = "m") -> Frame:
        return view.frame(0, 0.3, pane, inside=Inside.read(kept, way))

    together = shown("0,1,2,3")
    assert together.png == view.frame(0, 0.3).png and len(passes) == 1
    frames = [shown(str(number), pane=f"l{number}").png for number in range(4)]
    frames += [shown("2,0").png, shown("0,1,2,3", "product").png, shown("0,1,2,3", "majority:heads").png]
    assert len(set(frames)) == len(frames) and together.png not in frames
    assert shown("0,2").png == frames[4] and len(passes) == 1, "one pass for all of them"
    with pytest.raises(UsageError, match="several networks"):
        view.frame(0, build_method("ensemble", {}), inside=Inside.read("0", ""))
    with pytest.raises(UsageError, match="Learners 7 of 4"):
        shown("7")


def test_nonsense_of_a_browser_is_refused() -> None:
    for kept, way in (("", ""), ("x", ""), ("-1", ""), ("1" * 50, ""), ("0", "nonsense"), ("²", "")):
        with pytest.raises(UsageError, match="Reload"):
            Inside.read(kept, way)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_tab_measures_after_its_cost_was_told_and_shows_it_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in "ab":
        (files / f"{name}.safetensors").symlink_to(folder / f"{name}.safetensors")
    given = ("--checkpoints", str(files), "--data", f"folder:{folder / 'data'}")
    with page("diagnostics.py", tmp_path / "home", monkeypatch) as open_page:
        app = open_page(*given)
        app.button_group(key="tab").set_value("learners").run()
        assert not app.exception and "out of one pass" in text(app)
        assert app.button(key="learners-run").label == "Measure: 2 forward passes"
        app.button(key="learners-run").click().run()
        (work,) = server.studio().learners._works._works.values()
        until(lambda: work.state == "done")
        app.run()
        assert not app.exception
        found = work.snapshot()
        assert app.metric[0].value == f"{found['gain']:+.2f} points"
        tables = [item.value for item in app.dataframe]
        table = next(one for one in tables if "variance (x 1e-3)" in one)
        assert list(table["who"]) == ["d2", "d3", "d4", "d5", "mean of the learners", "the network"]
        assert any(list(one.get("who", [])) == [way.title for way in ways()] for one in tables)
        assert any("multiplications (G)" in one and len(one) == 4 for one in tables)
        app.toggle(key="learners-embeddings").set_value(True).run()
        assert not app.exception and any("mean cosine" in item.value for item in app.dataframe)
        app.button_group(key="inside").set_value("merge").run()
        assert not app.exception and app.button(key="learners-run").label == "Measure: 2 forward passes"
        assert app.query_params["inside"] in ("merge", ["merge"]), "a link tells whose learners are shown"


def test_the_tab_says_where_there_are_no_learners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = (
        "--checkpoints",
        str(tiny_files(tmp_path / "files", 2)),
        "--data",
        f"folder:{folder_data(tmp_path / 'd', 2)}",
    )
    with page("diagnostics.py", tmp_path / "home", monkeypatch) as open_page:
        app = open_page(*given)
        app.button_group(key="tab").set_value("learners").run()
        assert not app.exception and "no learners inside" in text(app)
