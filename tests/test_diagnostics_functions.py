"""Function-space diagnostics against naive loops, and the laws that streaming must keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import DIAGNOSTICS, IGNORE, MEASURES, Diagnostic, State
from fusionlib.diagnostics.evidence import GAIN
from fusionlib.engine.activations import blocks_of, recorded
from fusionlib.errors import UsageError
from fusionlib.measures.agreement import Agreement, disagreement, diversity
from fusionlib.measures.cka import POSITIONS, Cka, linear_cka
from fusionlib.measures.confusion import confusion_matrix, iou, mean_iou, pixel_accuracy
from fusionlib.measures.oracle import Oracle, oracle
from fusionlib.measures.states import add
from fusionlib.studio import Selection
from tests.helpers import CPU, TinyNet, counted_forwards, tiny_file, tiny_world

CLASSES = 4
SEEDS = st.integers(0, 2**31)


def scene(seed: int, members: int = 3, images: int = 4) -> tuple[list[np.ndarray], np.ndarray]:
    """Label maps of several networks (some pixels outside the label space) and a truth with void."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(CLASSES), IGNORE], (images, 6, 5))
    said = [
        np.where(
            rng.random(truth.shape) < 0.6,
            np.where(truth == IGNORE, 0, truth),
            rng.integers(0, CLASSES + 1, truth.shape),
        )
        for _ in range(members)
    ]
    return said, truth


def tensors(arrays) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(array).astype(np.int64)) for array in arrays]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_the_oracle_is_the_paper_s_loop_and_beats_every_member(seed: int, members: int) -> None:
    said, truth = scene(seed, members)
    kept = [one.copy() for one in said]
    found = oracle(said, truth)
    naive = said[0].copy()
    for place in np.ndindex(truth.shape):
        if truth[place] != IGNORE and any(one[place] == truth[place] for one in said):
            naive[place] = truth[place]
    np.testing.assert_array_equal(found, naive)
    for one, before in zip(said, kept, strict=True):
        np.testing.assert_array_equal(one, before)
    matrices = [confusion_matrix(truth, labels, CLASSES) for labels in (found, *said)]
    best, *alone = [pixel_accuracy(matrix) for matrix in matrices]
    assert all(best >= one for one in alone if one is not None)
    for ours, first in zip(iou(matrices[0]), iou(matrices[1]), strict=True):
        assert first is None or ours >= first


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_streamed_counts_are_the_whole_in_any_order_and_split(seed: int) -> None:
    said, truth = scene(seed)
    groups = [(0, 1), (2, 0), (0, 1, 2)]
    cut = 1 + seed % 3

    def count(order) -> list[State]:
        """Of the agreement of all, then of the oracle of each group."""
        found = [Agreement().init(CLASSES, CPU, 3), *(Oracle().init(CLASSES, CPU) for _ in groups)]
        for index in order:
            batch, (true,) = tensors(one[index : index + 1] for one in said), tensors([truth[index : index + 1]])
            before = [one.clone() for one in (*batch, true)]
            Agreement().add(found[0], batch, true)
            for state, group in zip(found[1:], groups, strict=True):
                Oracle().add(state, [batch[number] for number in group], true)
            assert all(torch.equal(one, old) for one, old in zip((*batch, true), before, strict=True))
        return found

    whole, back = count(range(4)), count(reversed(range(4)))
    halves = [add(parts) for parts in zip(count(range(cut)), count(range(cut, 4)), strict=True)]
    for other in (back, halves):
        for one, same in zip(whole, other, strict=True):
            assert all(torch.equal(one[name], same[name]) for name in one)
    for group, state in zip(groups, whole[1:], strict=True):
        naive = confusion_matrix(truth, oracle([said[number] for number in group], truth), CLASSES)
        np.testing.assert_array_equal(state["matrix"].numpy(), naive)
        assert Oracle().compute(state)["oracle_miou"] == mean_iou(naive)
    found = Agreement().compute(whole[0])
    assert found["pair_disagreement"][1] == disagreement(said[0], said[2], truth)
    assert found["diversity"] == pytest.approx(diversity(said, truth))
    assert found["pair_diversity"][2] == pytest.approx(diversity(said[1:], truth))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_diversity_is_the_lecture_s_formula(seed: int) -> None:
    said, truth = scene(seed)
    keep = truth != IGNORE
    errors = [np.mean(one[keep] != truth[keep]) for one in said]
    ratios = [
        np.mean(said[m][keep] != said[n][keep]) / max(errors[m], errors[n])
        for m in range(3)
        for n in range(3)
        if m != n
    ]
    assert diversity(said, truth) == pytest.approx(100 * np.mean(ratios))


def test_edge_cases_of_agreement() -> None:
    truth = np.array([0, 1, IGNORE])
    assert diversity([truth, truth], truth) is None
    assert diversity([np.array([0, 0, 0]), np.array([1, 1, 1])], truth) == 200
    assert disagreement([0, 1, 2], [0, 1, 3], truth) == 0
    assert disagreement([0, 1, 2], [0, 1, 3]) == pytest.approx(1 / 3)
    assert disagreement([1], [2], [IGNORE]) is None
    state = Agreement().init(CLASSES, CPU, 2)
    Agreement().add(state, tensors([[[[0, 1]]], [[[0, 2]]]]), None)
    found = Agreement().compute(state)
    assert found["disagreement"] == 0.5 and found["diversity"] is None


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_cka_is_its_formula_and_sees_neither_rotation_nor_scale(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 3)) + 2
    one, two = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    assert linear_cka(x, y) == pytest.approx(norm(two.T @ one) ** 2 / norm(one.T @ one) / norm(two.T @ two))
    turned = x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] * 3 + 1
    assert linear_cka(x, turned) == pytest.approx(1)
    assert linear_cka(x, np.ones((60, 2))) is None


def similarity(*pictures: tuple[dict, dict], first: int = 0) -> dict[str, float | None]:
    """Block -> CKA of two networks' activations on pictures, numbered from `first`."""
    state = Cka().init(CLASSES, CPU)
    for number, (one, other) in enumerate(pictures, first):
        Cka().add(state, one, other, number)
    return {row["block"]: row["cka"] for row in Cka().compute(state)["cka"]}


def test_cka_streams_feature_maps() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(4, 3, 5, 6), torch.randn(4, 2, 5, 6)]
    pictures = [tuple({"block": one[index : index + 1]} for one in maps) for index in range(4)]
    rows = [one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in maps]
    assert similarity(*pictures)["block"] == pytest.approx(linear_cka(*rows))


def test_feature_distance_is_the_naive_loop_over_positions() -> None:
    draw = torch.Generator().manual_seed(1)
    pictures = [[torch.randn(1, 600, 3, 4, generator=draw).double() for _ in range(2)] for _ in range(3)]
    state, measure = Cka().init(CLASSES, CPU), Cka()
    for number, (one, other) in enumerate(pictures):
        measure.add(state, {"block": one, "odd": one}, {"block": other, "odd": other[:, :5]}, number)
    apart, both, count = 0.0, 0.0, 0
    for one, other in pictures:
        for row in range(3):
            for column in range(4):
                x, y = one[0, :, row, column], other[0, :, row, column]
                apart, both, count = apart + float((x - y) @ (x - y)), both + float(x @ x + y @ y), count + 1
    found = {row["block"]: row for row in measure.compute(state)["feature_distance"]}
    assert found["block"]["distance"] == pytest.approx((apart / count) ** 0.5)
    assert found["block"]["relative"] == pytest.approx((apart / (both / 2)) ** 0.5)
    assert found["odd"] == {"block": "odd", "distance": None, "relative": None}, "other channels"


def test_features_that_are_the_same_lie_nowhere_apart_and_turned_ones_do() -> None:
    x = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    state, measure = Cka().init(CLASSES, CPU), Cka()
    measure.add(state, {"same": x, "turned": x, "larger": x}, {"same": x, "turned": x.roll(1, 1), "larger": 2 * x}, 0)
    found = {row["block"]: row for row in measure.compute(state)["feature_distance"]}
    assert found["same"]["distance"] == found["same"]["relative"] == 0
    assert found["larger"]["relative"] == pytest.approx((2 / 5) ** 0.5), "|x - 2x|^2 over the mean of |x|^2 and 4 |x|^2"
    assert found["turned"]["relative"] > 0.5
    alike = {row["block"]: row["cka"] for row in measure.compute(state)["cka"]}
    assert alike == pytest.approx({"same": 1, "turned": 1, "larger": 1}), "CKA sees none of it"


def test_large_means_cost_cka_no_digits_that_matter() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(500, 4, generator=draw).double(), torch.randn(500, 3, generator=draw).double()
    y[:, 0] += x[:, 0]
    assert linear_cka(x + 1e4, y - 1e3) == pytest.approx(linear_cka(x, y), rel=1e-6)


def over_all_positions(one: torch.Tensor, other: torch.Tensor) -> float:
    """Linear CKA of two maps (1, C, h, w) over every position, a few lines at a time: no copy of the maps."""
    count, sums, products = one[0, 0].numel(), torch.zeros(()), torch.zeros(())
    for left, right in zip(one.split(64, 2), other.split(64, 2), strict=True):
        both = torch.cat([left, right], 1)[0].flatten(1).double()
        sums, products = sums + both.sum(1), products + both @ both.T
    covariance, c = products - torch.outer(sums, sums) / count, one.shape[1]
    cross, left, right = covariance[:c, c:], covariance[:c, :c], covariance[c:, c:]
    return float(cross.square().sum() / left.norm() / right.norm())


def sampled(one: torch.Tensor, other: torch.Tensor, number: int = 0) -> float:
    found = similarity(({"block": one}, {"block": other}), first=number)["block"]
    assert found is not None
    return found


def test_cka_of_a_wide_map_is_not_that_of_one_column() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, 16, 1024, 2048, generator=generator)
    other = one.clone()
    other[..., 0] = torch.randn(1, 16, 1024, generator=generator)
    assert sampled(one, other) == pytest.approx(over_all_positions(one, other), abs=0.01)
    strided = linear_cka(*(both[..., 0][0].T for both in (one, other)))
    assert strided is not None and strided < 0.1, "what an even spacing of positions saw"


def test_cka_of_independent_maps_is_that_over_all_positions_on_the_mean() -> None:
    one, other = torch.randn(2, 1, 16, 64, 64, generator=torch.Generator().manual_seed(0))
    found = [sampled(one, other, number) for number in range(10)]
    assert np.mean(found) == pytest.approx(over_all_positions(one, other), abs=0.01)
    assert len(set(found)) == 10 and found[3] == sampled(one, other, 3)


def test_cka_draws_the_same_positions_whoever_else_is_compared() -> None:
    one, other = torch.randn(2, 2, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    assert sampled(one, one.roll(1, 1)) == pytest.approx(1), "the same positions in both"
    more = {"block": one, "wide": one[..., :50]}, {"wide": one, "block": other}
    assert similarity(more) == {"block": sampled(one, other)}, "blocks of other sizes are left out"
    tokens = [both.flatten(2).transpose(1, 2) for both in (one, other)]
    assert sampled(*tokens) == sampled(one, other), "positions of a map are its tokens"


def test_every_position_of_a_map_may_be_drawn_and_other_pictures_draw_others(monkeypatch: pytest.MonkeyPatch) -> None:
    height, width = 64, 128
    places = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        "fusionlib.measures.cka._add_rows", lambda state, block, one, other, paired: seen.append(one[:, 0].long())
    )
    for number in range(40):
        Cka().add({}, {"block": places}, {"block": places}, number)
    assert all(len(batch.unique()) == len(batch) == POSITIONS for batch in seen), "without replacement"
    counts = torch.bincount(torch.cat(seen), minlength=height * width)
    assert int(counts.min()) > 0 and not torch.equal(seen[0], seen[1])
    columns = counts.view(height, width).sum(0) / counts.sum()
    assert torch.allclose(columns, torch.full((width,), 1 / width), atol=0.2 / width)


def test_figures_of_pairs_are_those_of_this_version_of_the_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tiny_world(tmp_path, count=1) as world:
        world.studio.diagnosis(["a", "b"], world.source, None).measure(None)
        again = world.reopened()
        assert again.studio.diagnosis(["a", "b"], again.source, None).lacking() == ((), ())
        monkeypatch.setattr(type(MEASURES.get("cka")), "version", 1000)
        last = again.reopened()
        assert last.studio.diagnosis(["a", "b"], last.source, None).lacking() == ((0, 1), ((0, 1),))
        last.studio.store.close()


def test_blocks_are_recorded_as_they_were_and_hooks_go_away() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU(inplace=True))
    with recorded(network) as seen:
        out = network(torch.randn(1, 3, 4, 4))
    assert (seen["0"] < 0).any() and torch.equal(seen["1"], out)
    assert not network[0]._forward_hooks
    assert list(blocks_of(TinyNet(3))) == ["stem", "norm", "body", "norm2", "drop", "head"]
    wrapped = torch.nn.Module()
    wrapped.backbone, wrapped.head = TinyNet(3), torch.nn.Conv2d(3, 3, 1)
    assert "backbone.stem" in blocks_of(wrapped) and "head" in blocks_of(wrapped)


@pytest.mark.parametrize("name", DIAGNOSTICS.names())
def test_diagnostics_say_what_they_need_and_where_they_come_from(name: str) -> None:
    item = DIAGNOSTICS.get(name)
    assert isinstance(item, Diagnostic)
    assert item.title and item.summary and item.source and item.compute.__doc__
    assert item.needs in ("weights", "pictures", "masks")


def test_a_diagnosis_measures_once_and_agrees_with_single_measurements(tmp_path: Path) -> None:
    with tiny_world(tmp_path) as world:
        studio = world.studio
        found = studio.diagnosis(["a", "b"], world.source, None)
        assert found.functions() is None and found.path(0, 1) is None
        found.measure(0.5)
        report = found.report()
        for number, name in enumerate(("a", "b")):
            checkpoint = studio.workspace.get(name).checkpoint
            alone = studio.evaluate(checkpoint, studio.workspace.pictures(world.source, None), fresh=True)
            assert (
                report["singles"][number]["miou"] == alone["miou"]
                and report["singles"][number]["loss"] == alone["loss"]
            )
        pair = report["pairs"][0]
        assert pair["oracle_pixel_accuracy"] >= max(single["pixel_accuracy"] for single in report["singles"])
        alphas = [point["alpha"] for point in pair["path"]]
        assert {0, 0.25, 0.5, 0.75, 1} < set(alphas) and len(alphas) == 7 and pair["unrefined"] == []
        assert pair["path"][0]["miou"] == report["singles"][1]["miou"]
        assert 0 <= pair["disagreement"] <= 1 and pair["barrier"]["loss"]["entezari"] >= 0
        assert {row["block"] for row in pair["cka"]} == {"stem", "norm", "body", "norm2", "drop", "head"}
        assert all(0 <= row["cka"] <= 1 + 1e-9 for row in pair["cka"])
        assert studio.diagnosis(["a", "b"], world.source, None) is found
        again = world.reopened().studio.diagnosis(["a", "b"], world.source, None)
        assert again.report() == report
        studio.store = again.store


def test_joint_oracle_equals_the_function_on_label_maps(tmp_path: Path) -> None:
    with tiny_world(tmp_path) as world:
        found = world.studio.diagnosis(["a", "b"], world.source, None)
        found.measure(None)
        view, matrix = world.view(), 0
        for index in range(len(view.need_pictures())):
            sample = view.need_pictures().load(index)
            said = []
            for number in (0, 1):
                blend = view.new_blend()
                blend.set_alone(number, world.studio.worker.run)
                said.append(blend.network.logits(sample.image[None], sample.truth.shape).argmax(1)[0].numpy())
            matrix = matrix + confusion_matrix(sample.truth, oracle(said, sample.truth), 3)
        assert found.report()["pairs"][0]["oracle_miou"] == mean_iou(matrix)


def test_without_masks_only_predictions_are_compared_and_without_data_only_weights(tmp_path: Path) -> None:
    from tests.helpers import folder_data

    plain = folder_data(tmp_path / "plain", 3, masks=False)
    with tiny_world(tmp_path, data=(f"pictures:{plain}",)) as world:
        found = world.studio.diagnosis(["a", "b"], world.source, None)
        found.measure(0.5)
        pair = found.report()["pairs"][0]
        assert pair["disagreement"] is not None and pair["cka"]
        assert pair["oracle_miou"] is None and pair["diversity"] is None and pair["path"] is None
        weights = world.studio.diagnosis(["a", "b"], "", None)
        assert "No data" in (weights.obstacle or "")
        with pytest.raises(UsageError, match="No data"):
            weights.want(0.5)


def test_a_measurement_can_be_cancelled(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=4) as world:
        tiny_file(tmp_path / "files", "c", 3)
        world.studio.workspace.refresh()
        found = world.studio.diagnosis(["a", "b", "c"], world.source, None)
        from fusionlib.errors import Cancelled

        def stop(done: int, total: int) -> None:
            raise Cancelled

        with pytest.raises(Cancelled):
            for _ in range(50):  # a very quick run may end before its first look
                found.measure(0.05, stop, fresh=True)
        assert found.state == "cancelled"
        assert len(found.report()["pairs"]) == 3


def add_stranger(world, name: str = "stranger") -> None:
    """A checkpoint that no network takes."""
    save_tensors(
        world.folder / "files" / f"{name}.safetensors",
        {"stem.weight": torch.ones(8, 3, 3, 3), "other.bias": torch.ones(3)},
    )
    world.studio.workspace.refresh()


def test_one_unknown_network_does_not_keep_the_others_from_being_measured(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=3) as world:
        add_stranger(world)
        found = world.studio.diagnosis(["stranger", "a", "b"], world.source, None)
        assert found.obstacle is None and "No model code is known for stranger" in found.notes()[0]
        found.measure(0.5)
        report = found.report()
        stranger, *known = report["singles"]
        assert stranger["miou"] is None and "No model code" in stranger["reason"]
        assert all(one["miou"] is not None and one["reason"] is None for one in known)
        pairs = {(pair["a"], pair["b"]): pair for pair in report["pairs"]}
        assert (
            pairs["a", "b"]["oracle_miou"] is not None and pairs["a", "b"]["path"] and pairs["a", "b"]["reason"] is None
        )
        for pair in (("stranger", "a"), ("stranger", "b")):
            row = pairs[pair]
            assert row["disagreement"] is None and row["path"] is None and row["cosine"] is not None
            assert "stranger" in row["reason"] and "stranger" in row["path_reason"]
        assert report["set"]["order"] == ["a", "b"] and report["set"]["oracle_miou"] == pairs["a", "b"]["oracle_miou"]
        assert found.lacking().networks == ()


def test_a_single_known_network_is_measured_alone(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=2) as world:
        add_stranger(world)
        found = world.studio.diagnosis(["stranger", "a"], world.source, None)
        found.measure(0.5)
        report = found.report()
        assert [one["miou"] is None for one in report["singles"]] == [True, False] and report["pairs"][0][
            "disagreement"
        ] is None


def test_another_set_measures_only_the_pairs_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = counted_forwards(monkeypatch)
    with tiny_world(tmp_path, count=3) as world:
        tiny_file(tmp_path / "files", "c", 3)
        tiny_file(tmp_path / "files", "d", 4)
        world.studio.workspace.refresh()
        small = world.studio.diagnosis(["a", "b", "c"], world.source, None)
        small.measure(None)
        large = world.studio.diagnosis(["a", "b", "c", "d"], world.source, None)
        before = large.report()
        assert [pair["oracle_miou"] is not None for pair in before["pairs"]] == [True, True, False, True, False, False]
        assert [one["miou"] is not None for one in before["singles"]] == [True, True, True, False]
        large.measure(None)
        other = world.studio.diagnosis(["b", "d"], world.source, None)
        other.measure(None)
        assert len(forwards) == 3 * 3 + 4 * 3, "every network once for each set, none for what is known"
        report = large.report()
        assert report["pairs"][4]["cka"] == other.report()["pairs"][0]["cka"]
        large.measure(None, fresh=True)
        assert large.report() == report, "measured together or in parts, the figures are the same"
        # Without one the oracle of the rest is the one thing that nobody knows.
        rest = world.studio.diagnosis(["a", "b", "d"], world.source, None)
        assert rest.lacking() == ((0, 1, 2), ()) and rest.report()["set"]["oracle_miou"] is None


def test_a_curve_measured_with_a_and_b_swapped_is_known(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=2) as world:
        world.studio.sweep(world.studio.view(Selection("b", "a", world.source, None))).measure(0.25)
        found = world.studio.diagnosis(["a", "b"], world.source, None)
        turned = found.path(0, 1)["points"]
        assert [point["alpha"] for point in turned] == [0, 0.25, 0.5, 0.75, 1]
        found.measure(0.25)
        own = {point["alpha"]: point["loss"] for point in found.path(0, 1)["points"]}
        assert [point["loss"] for point in turned] == pytest.approx([own[point["alpha"]] for point in turned], abs=1e-5)
        other = world.studio.diagnosis(["b", "a"], world.source, None)
        assert {round(1 - point["alpha"], 9) for point in other.path(0, 1)["points"]} == set(own) and other.unmeasured(
            0.25
        ) == []


def test_a_sweep_and_a_diagnosis_know_each_other_s_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_world(tmp_path, count=2) as world:
        sweep = world.studio.sweep(world.studio.view(Selection("a", "b", world.source, None)))
        assert sweep.state == "idle" and not sweep.points
        found = world.studio.diagnosis(["a", "b"], world.source, None)
        found.measure(0.3)
        alphas = {point["alpha"] for point in found.path(0, 1)["points"]}
        assert {0, 0.3, 0.6, 0.9, 1} < alphas, "a step that nobody else would look for"
        assert world.studio.sweep(sweep.view) is sweep and sweep.state == "done"
        assert alphas <= {*sweep.points, 0.0, 1.0}, "the open curve has them too"
        forwards = counted_forwards(monkeypatch)
        turned = world.reopened().studio.diagnosis(["b", "a"], world.source, None)
        assert {round(1 - point["alpha"], 9) for point in turned.path(0, 1)["points"]} == alphas
        mirrored = {round(1 - point["alpha"], 9): point["miou"] for point in turned.path(0, 1)["points"]}
        assert mirrored == {point["alpha"]: point["miou"] for point in found.path(0, 1)["points"]}
        assert not forwards
        turned.store.close()


def test_the_ends_of_a_path_are_not_measured_as_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = counted_forwards(monkeypatch)
    with tiny_world(tmp_path, count=2) as world:
        found = world.studio.diagnosis(["a", "b"], world.source, None, "gaussian")
        found.measure(0.25)
        assert len(forwards) == 2 * (2 + 3 + 2), "two networks, the grid between them, and two around the best"


def test_news_are_counted_and_progress_is_of_passes_that_have_to_run(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=2) as world:
        tiny_file(tmp_path / "files", "c", 3)
        world.studio.workspace.refresh()
        images = len(world.studio.workspace.pictures(world.source, None))
        world.studio.diagnosis(["a", "b"], world.source, None).measure(0.25)
        found = world.studio.diagnosis(["a", "b", "c"], world.source, None)
        assert found.unmeasured(0.25) == [(0, 2), (1, 2)] and found.unmeasured(0.5, [(0, 1)]) == []
        totals: list[int] = []
        found.measure(0.5, lambda done, total: totals.append(total))
        passes = images * (3 + 2 * (1 + 4))  # the ends, the middle of each path, and twice two next to its best merge
        assert set(totals) <= {passes} and found.total == found.done == passes
        assert found.parts_known == 3 and found.unmeasured(0.5) == []
        found.measure(0.5)
        assert (found.parts_known, found.total) == (3, 0), "all is known: nothing runs"
        found.measure(0.5, fresh=True)
        passes = images * (3 + 3 * (1 + 4))
        assert found.total == found.done == passes, "the ends of a path are the networks, which have run by then"


def test_the_best_merge_is_looked_at_more_closely_before_it_is_judged(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=2) as world:
        found = world.studio.diagnosis(["a", "b"], world.source, None)
        world.studio.sweep(world.studio.view(Selection("a", "b", world.source, None))).measure(0.25)
        coarse = found.report()["pairs"][0]
        open_alphas, best = coarse["unrefined"], coarse["best"]["alpha"]
        assert open_alphas == [best - 0.125, best + 0.125] and found.unmeasured(0.25) == [(0, 1)]
        found.measure(0.25)
        images = len(world.studio.workspace.pictures(world.source, None))
        assert found.total == found.done == images * (2 + 2), (
            "both networks side by side, and two points: the grid is known"
        )
        fine = found.report()["pairs"][0]
        assert (
            fine["unrefined"] == [] and found.unmeasured(0.25) == [] and fine["best"]["miou"] >= coarse["best"]["miou"]
        )
        assert {point["alpha"] for point in fine["path"]} == {0, 0.25, 0.5, 0.75, 1, *open_alphas}
        assert not any("not measured" in reason for reason in fine["verdict"]["reasons"])


def test_a_third_network_that_beats_the_best_merge_is_named(tmp_path: Path) -> None:
    with tiny_world(tmp_path, count=2) as world:
        tiny_file(tmp_path / "files", "c", 3)
        world.studio.workspace.refresh()
        found = world.studio.diagnosis(["a", "b", "c"], world.source, None)
        found.measure(0.5)
        report = found.report()
        alone = {one["name"]: one["miou"] for one in report["singles"]}
        for pair in report["pairs"]:
            (third,) = set(alone) - {pair["a"], pair["b"]}
            said = any(f"{third}, alone is" in reason for reason in pair["verdict"]["reasons"])
            assert said == (alone[third] - pair["best"]["miou"] >= GAIN)
            assert any("2 pictures" in reason for reason in pair["verdict"]["reasons"])


def test_networks_of_other_classes_are_left_out_where_nothing_can_be_compared(tmp_path: Path) -> None:
    from tests.helpers import folder_data

    plain = folder_data(tmp_path / "plain", 2, masks=False)
    with tiny_world(tmp_path, data=(f"pictures:{plain}", f"folder:{folder_data(tmp_path / 'data', 2)}")) as world:
        tiny_file(tmp_path / "files", "wide", 5, classes=7)
        world.studio.workspace.refresh()
        found = world.studio.diagnosis(["a", "b", "wide"], world.source, None)
        found.measure(None)
        report = found.report()
        assert [pair["disagreement"] is not None for pair in report["pairs"]] == [True, False, False]
        assert "different classes" in report["pairs"][1]["reason"]
        labelled = world.studio.diagnosis(["a", "b", "wide"], world.studio.workspace.sources[1].name, None)
        labelled.measure(0.5)
        assert "wide cannot be measured on this data" in labelled.report()["singles"][2]["reason"]
        assert labelled.report()["pairs"][0]["path"]


def test_similarity_is_of_blocks_that_a_pair_shares() -> None:
    torch.manual_seed(0)
    same, small = torch.randn(1, 3, 5, 6), torch.randn(1, 3, 4, 4)
    assert similarity(({"one": same, "two": same}, {"one": 2 * same})) == {"one": pytest.approx(1)}
    assert similarity(({"two": same}, {"one": small, "two": same})) == {"two": pytest.approx(1)}
    assert similarity(({"one": same, "two": same}, {"one": small})) == {}
    later = ({"one": same}, {"one": same, "two": same})
    assert similarity(later, ({"one": same, "two": same}, {"one": same, "two": same})) == {"one": pytest.approx(1)}
