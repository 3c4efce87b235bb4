"""Posteriors: closed forms of what is drawn, of what regimes leave, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_regimes import CLASSES, CPU, PLAN, MiniNet, Town, equal, mini, regime_of, tensors, trained, trainer_of  # noqa: F401
from torch import Tensor, nn

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.posterior import ABOUT, KIND, PosteriorFile, further
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.stored import Held
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import IGNORE, POSTERIORS
from fusionlib.errors import CheckpointError, FusionError, UsageError
from fusionlib.lab.curvature import Curvature, sampled_gradient
from fusionlib.lab.laplace import TAUS, best
from fusionlib.lab.manifest import read_run
from fusionlib.lab.plan import build_regime, cost, span_of
from fusionlib.lab.regimes.kfac import TRIED
from fusionlib.lab.regimes.spro import mixed
from fusionlib.lab.volume import squared_distances, squared_volume
from fusionlib.merging.build import build_method
from fusionlib.merging.draws import deviations
from fusionlib.merging.posteriors.kfac import FISHER, VALUES, VECTORS

PARTS = ("swag", "kfac", "simplex")


def file_of(
    kind: str, parts: Mapping[str, Mapping[str, Tensor]], shapes: Mapping[str, tuple[int, ...]], **about: Any
) -> PosteriorFile:
    held = {part: {name: Held(tensor) for name, tensor in found.items()} for part, found in parts.items()}
    return PosteriorFile("file", kind, json.dumps(about), held, dict(shapes))


def flat(file: PosteriorFile, count: int, seed: int = 0) -> Tensor:
    """Samples (count, P) minus their mean, float64."""
    return torch.cat([drawn.flatten(1).double() for _, drawn in deviations(file, seed, count)], 1)


def small(kind: str) -> PosteriorFile:
    """A posterior of four parameters in two tensors."""
    random = torch.Generator().manual_seed(1)
    shapes = {"w.weight": (1, 2), "w.bias": (1,), "s": (1,)}

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    if kind == "swag":
        rows = {name: drawn(3, *shape) for name, shape in shapes.items()}
        return file_of(
            kind, {"variance": {n: drawn(*s).square() for n, s in shapes.items()}, "deviations": rows}, shapes
        )
    if kind == "simplex":
        return file_of(kind, {"vertices": {name: drawn(3, *shape) for name, shape in shapes.items()}}, shapes)
    a, g = drawn(3, 3), drawn(1, 1)
    parts: dict[str, dict[str, Tensor]] = {FISHER: {"s": drawn(1).square()}}
    for root, values, vectors in zip((a, g), VALUES, VECTORS, strict=True):
        found = torch.linalg.eigh(root @ root.T)
        parts |= {values: {"w.weight": found[0]}, vectors: {"w.weight": found[1]}}
    return file_of(kind, parts, shapes, examples=7, tau=2.0)


def covariance(file: PosteriorFile) -> Tensor:
    """What the samples of `small` must have (4, 4): the closed form of each kind."""
    parts = {part: {name: held.tensor for name, held in found.items()} for part, found in file.parts.items()}
    names = ("w.weight", "w.bias", "s")
    if file.kind == "swag":
        rows = torch.cat([parts["deviations"][name].flatten(1) for name in names], 1)
        diagonal = torch.cat([parts["variance"][name].flatten() for name in names])
        return 0.5 * (torch.diag(diagonal) + rows.T @ rows / (len(rows) - 1))
    if file.kind == "simplex":
        rows = torch.cat([parts["vertices"][name].flatten(1) for name in names], 1)
        corners = len(rows)  # Dirichlet(1, ..., 1): variance (c - 1) / (c^2 (c + 1)), covariance -1 / (c^2 (c + 1))
        return rows.T @ (corners * torch.eye(corners) - 1).double() @ rows / (corners**2 * (corners + 1))
    factors = [parts[v]["w.weight"] for v in VALUES], [parts[v]["w.weight"] for v in VECTORS]
    a, g = (u @ torch.diag(values) @ u.T for values, u in zip(*factors, strict=True))
    block = torch.linalg.inv(7 * torch.kron(g, a) + 2 * torch.eye(3, dtype=torch.float64))
    return torch.block_diag(block, 1 / (7 * parts[FISHER]["s"] + 2))


@pytest.mark.parametrize("kind", PARTS)
def test_samples_have_the_covariance_of_their_kind(kind: str) -> None:
    file = small(kind)
    found, wanted = flat(file, 4000), covariance(file)
    scale = float(wanted.diagonal().max())
    assert float(found.mean(0).abs().max()) < 0.07 * math.sqrt(scale)
    assert float((found.T.cov() - wanted).abs().max()) < 0.07 * scale
    assert POSTERIORS.names() == tuple(sorted(PARTS))


def test_many_samples_of_swag_have_half_the_diagonal_and_half_the_low_rank() -> None:
    rows = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.5, -1.0, 0.0, 1.0], [0.0, 1.0, -1.0, 0.0]])
    variance = torch.tensor([0.5, 2.0, 0.0, 1.0])
    file = file_of("swag", {"variance": {"w": variance}, "deviations": {"w": rows}}, {"w": (4,)})
    wanted = 0.5 * (torch.diag(variance) + rows.T @ rows / 2)
    assert float((flat(file, 20_000).T.cov() - wanted).abs().max()) < 0.03 * float(wanted.max())


@pytest.mark.parametrize("kind", PARTS)
def test_a_sample_follows_from_its_seed_and_its_number_alone(kind: str) -> None:
    file = small(kind)
    few, many, other = flat(file, 2), flat(file, 5), flat(file, 2, seed=1)
    assert torch.equal(few, many[:2]) and not torch.equal(few, other)
    assert len({tuple(row.tolist()) for row in many}) == 5


def test_points_of_a_simplex_lie_in_it() -> None:
    drawn = flat(small("simplex"), 200)
    rows = torch.cat([held.tensor.flatten(1) for held in small("simplex").parts["vertices"].values()], 1)
    edges = rows - rows.mean(0)
    shares = torch.linalg.lstsq(
        torch.cat([edges.T, torch.ones(1, 3)]), torch.cat([drawn.T, torch.ones(1, 200)])
    ).solution
    assert float(shares.min()) >= -1e-9 and float(shares.max()) <= 1 + 1e-9


# --- the volume, and whom it moves ------------------------------------------------------------------------------------


def test_the_volume_of_a_triangle_and_of_a_tetrahedron() -> None:
    corners = [{"w": torch.tensor(point)} for point in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    assert float(squared_volume(squared_distances(corners)).sqrt()) == pytest.approx(1 / 2)
    assert float(squared_volume(squared_distances(corners[:2])).sqrt()) == pytest.approx(1)
    assert float(squared_volume(squared_distances(corners[:1]))) == 1
    solid = [{"w": torch.eye(3)[i] * 2} for i in range(3)] + [{"w": torch.zeros(3)}]
    assert float(squared_volume(squared_distances(solid)).sqrt()) == pytest.approx(8 / 6)


def test_the_volume_has_a_gradient_where_it_is_nothing_and_only_at_the_newest_corner() -> None:
    old = [{"w": torch.tensor(point, dtype=torch.float64)} for point in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))]
    newest = {"w": torch.tensor((0.5, 0.25, 0.5), dtype=torch.float64, requires_grad=True)}
    squared_volume(squared_distances([*old, newest])).backward()
    # V^2 = |edge|^2 h^2 / 4 with h = (0, 0.25, 0)
    torch.testing.assert_close(newest["w"].grad, torch.tensor((0.0, 2 * 2 * 0.25 / 4, 0.0), dtype=torch.float64))
    newest["w"].grad = None
    with torch.no_grad():
        newest["w"][1] = 0
    squared_volume(squared_distances([*old, newest])).backward()
    assert float(newest["w"].grad.abs().max()) < 1e-12


def test_only_the_newest_corner_moves_and_by_the_gradient_of_the_whole_objective(tmp_path: Path) -> None:
    regime = regime_of("spro", points=3, lr=0.1, momentum=0.0, weight_decay=0.0, strength=0.5)
    learner = trainer_of(regime, tmp_path, replace(PLAN, architecture="sure")).learner
    regime.begin(learner)
    for tensor in learner.parameters.values():
        tensor.add_(0.1)  # away from the first corner, where the volume is 0
    learner.set_rate(0.1)
    old, own = learner.memory["vertices"][0], {name: t.clone() for name, t in learner.parameters.items()}
    before, batch = {name: t.clone() for name, t in old.items()}, learner.batch()

    def objective(parameters: dict[str, Tensor]) -> Tensor:
        """By functional calls, the points all in one graph."""
        from fusionlib.merging.draws import generator
        from fusionlib.merging.posteriors.simplex import dirichlet

        random = generator(f"spro {learner.seed} {learner.step}")
        images = torch.from_numpy(batch.images).permute(0, 3, 1, 2) / 255 - 0.5
        total = torch.zeros(())
        for _, share in dirichlet(3, 2, [random] * 3).tolist():
            point = {name: (1 - share) * old[name] + share * own for name, own in parameters.items()}
            logits = torch.func.functional_call(learner.network, point, (images,))
            total = total + learner._cross_entropy(logits, torch.from_numpy(batch.truths).long()) / 3
        volume = squared_volume(squared_distances([old, parameters]))
        return total - 0.5 * torch.log(volume + 1e-4)

    leaves = {name: tensor.clone().requires_grad_() for name, tensor in own.items()}
    wanted = objective(leaves)
    gradients = torch.autograd.grad(wanted, list(leaves.values()))
    loss = regime.step(learner, batch)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    for (name, tensor), gradient in zip(learner.parameters.items(), gradients, strict=True):
        torch.testing.assert_close(own[name] - tensor, 0.1 * gradient, rtol=1e-3, atol=1e-6)
    assert equal(old, before)


def test_corners_begin_at_the_mean_of_the_others_and_are_kept(tmp_path: Path) -> None:
    trainer = trained(regime_of("spro", vertices=4, lr=1e-9), tmp_path, replace(PLAN, epochs=1))
    assert [(point.name, point.step) for point in trainer.points] == [
        ("vertex-2", 3),
        ("vertex-3", 6),
        ("vertex-4", 9),
        ("spro", 9),
    ]
    corners = trainer.learner.memory["vertices"]
    for number in (1, 2, 3):
        begun = mixed(corners[:number], [1 / number] * number)
        for name, tensor in corners[number].items():
            torch.testing.assert_close(tensor, begun[name], rtol=0, atol=1e-6)
    found = open_checkpoint(tmp_path / "spro.safetensors")
    held = {name: found.posterior.read("vertices", name) for name in corners[0]}
    assert all(torch.equal(rows[2], corners[2][name]) for name, rows in held.items())
    assert all(torch.allclose(rows.mean(0), found.read(name), atol=1e-6) for name, rows in held.items())


# --- SWAG -------------------------------------------------------------------------------------------------------------


def test_swag_keeps_the_moments_and_the_last_deviations_of_what_it_collects(tmp_path: Path) -> None:
    trained(regime_of("swag", rank=3, lr=0.02), tmp_path / "swag", replace(PLAN, epochs=5))
    trained(regime_of("finetune", schedule="constant", lr=0.02), tmp_path / "plain", replace(PLAN, epochs=5))
    seen = [tensors(tmp_path / "plain", f"epoch-{number:03d}") for number in range(1, 6)]
    found = open_checkpoint(tmp_path / "swag" / "swag.safetensors")
    assert found.posterior.about == {"collected": 5, "kept": 3}
    for name in found.posterior.parts["variance"]:
        rows = torch.stack([one[name].double() for one in seen])
        torch.testing.assert_close(found.read(name).double(), rows.mean(0), rtol=1e-5, atol=1e-7)
        variance = rows.var(0, unbiased=False)
        torch.testing.assert_close(found.posterior.read("variance", name).double(), variance, rtol=1e-3, atol=1e-12)
        last = torch.stack([rows[n] - rows[: n + 1].mean(0) for n in (2, 3, 4)])
        torch.testing.assert_close(found.posterior.read("deviations", name).double(), last, rtol=1e-3, atol=1e-6)
    assert not torch.equal(found.read("norm.running_mean"), seen[-1]["norm.running_mean"])
    with pytest.raises(UsageError, match="--epochs 4"):
        span_of(PLAN, build_regime("swag", {"every": 2}), 6)


# --- KFAC -------------------------------------------------------------------------------------------------------------


def exact_curvature(layer: nn.Module, inputs: Tensor) -> Curvature:
    """Of a layer that gives logits, one example a picture; labels by exact expectation."""
    curvature = Curvature(layer, 100)
    with curvature.watching():
        for one in inputs:
            logits = layer(one[None])
            p = logits.detach().softmax(1)
            curvature.add(logits, [(p - torch.eye(p.shape[1])[[c]], float(p[0, c])) for c in range(p.shape[1])])
    return curvature


def dense_hessian(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """Of the summed cross-entropy in (W, b) as rows (out, in + 1); it does not depend on the labels."""
    weight = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
    ones = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)

    def loss(flat: Tensor) -> Tensor:
        return nn.functional.cross_entropy(
            ones @ flat.view_as(weight).T, torch.zeros(len(ones)).long(), reduction="sum"
        )

    return torch.autograd.functional.hessian(loss, weight.flatten())


def dense_covariance(curvature: Curvature, layer: nn.Linear, tau: float) -> Tensor:
    """Of the samples, from what the factors make of each single random number."""
    parts = curvature.tensors()
    shapes = {name: tuple(one.shape) for name, one in layer.named_parameters()}
    file = file_of(
        "kfac", {part: found for part, found in parts.items() if found}, shapes, examples=curvature.pictures, tau=tau
    )
    size, columns = sum(one.numel() for one in layer.parameters()), []
    kind = POSTERIORS.get("kfac")
    for place in range(size):
        unit = torch.zeros(size, dtype=torch.float64)
        unit[place] = 1

        def one_unit(key: str, name: str, *shape: int, dtype: torch.dtype, unit: Tensor = unit) -> Tensor:
            return unit.view(shape)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fusionlib.merging.posteriors.kfac.normal", one_unit)
            drawn = dict(kind.deviations(file, ["key"]))
        columns.append(torch.cat([drawn["weight"][0], drawn["bias"][0][:, None]], 1).flatten())
    root = torch.stack(columns, 1)
    return root @ root.T


@pytest.mark.parametrize("zero", [True, False], ids=["zero weights", "other weights"])
def test_one_linear_layer_has_the_dense_hessian_at_zero_and_the_kronecker_product_elsewhere(zero: bool) -> None:
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    try:
        layer, inputs, tau = nn.Linear(3, 4), torch.randn(6, 3), 0.7
        if zero:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        curvature = exact_curvature(layer, inputs)
        found = dense_covariance(curvature, layer, tau)
        hessian = torch.linalg.inv(dense_hessian(layer, inputs) + tau * torch.eye(16))
        a, g = curvature.sums["weight"].inputs / 6, curvature.sums["weight"].outputs / 6
        product = torch.linalg.inv(6 * torch.kron(g, a) + tau * torch.eye(16))
        torch.testing.assert_close(found, product, rtol=1e-6, atol=1e-9)
        if zero:
            torch.testing.assert_close(found, hessian, rtol=1e-6, atol=1e-9)
        else:
            assert float((found - hessian).abs().max()) > 1e-3
    finally:
        torch.set_default_dtype(torch.float32)


class Layers(nn.Module):
    """One of each kind of layer, with a ReLU that overwrites what a convolution gave."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=1)
        self.deep = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), bias=False)
        self.norm, self.slope = nn.BatchNorm2d(4), nn.PReLU(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        x = self.slope(self.norm(self.deep(x)))
        return self.head(self.up(self.grouped(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_factors_of_convolutions_are_those_of_their_patches_and_the_rest_is_a_diagonal(monkeypatch) -> None:
    torch.manual_seed(4)
    network, images = Layers().eval(), torch.randn(2, 3, 8, 6)
    curvature, gradients = Curvature(network, 100), []
    monkeypatch.setattr("fusionlib.lab.curvature.PIECE", 300)  # a line or two at a time
    with curvature.watching():
        for image in images:
            logits = network(image[None])
            gradients.append(torch.randn_like(logits))
            curvature.add(logits, [(gradients[-1], 1.0)])
    assert set(curvature.sums) == {"stem.weight", "deep.weight", "head.weight"}
    parts = curvature.tensors()
    assert sorted(parts[FISHER]) == [
        *("grouped.bias", "grouped.weight", "norm.bias", "norm.weight", "slope.weight", "up.bias", "up.weight")
    ]
    a, g = torch.zeros(28, 28), torch.zeros(4, 4)
    fisher = torch.zeros_like(network.up.weight)
    for image, gradient in zip(images, gradients, strict=True):
        before = network.stem(image[None]).detach().requires_grad_()
        x = network.slope(network.norm(network.deep(torch.relu(before))))
        x = network.head(network.up(network.grouped(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        back, up = torch.autograd.grad(x, [before, network.up.weight], gradient)
        patches = [
            torch.cat([nn.functional.pad(image, (1, 1, 1, 1))[:, r : r + 3, c : c + 3].flatten(), torch.ones(1)])
            for r in range(0, 8, 2)
            for c in range(0, 6, 2)
        ]
        a += sum(torch.outer(one, one) for one in patches) / len(patches) / 2
        g += sum(torch.outer(one, one) for one in back[0].flatten(1).T) / 2
        fisher += up.square() / 2
    torch.testing.assert_close(curvature.sums["stem.weight"].inputs.float() / 2, a, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(curvature.sums["stem.weight"].outputs.float() / 2, g, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[FISHER]["up.weight"].float(), fisher, rtol=1e-4, atol=1e-6)
    values, vectors = parts[VALUES[0]]["stem.weight"], parts[VECTORS[0]]["stem.weight"]
    torch.testing.assert_close((vectors * values @ vectors.T).float(), a, rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is None for parameter in network.parameters())
    narrow = Curvature(network, 8)
    assert set(narrow.layers) == {"head.weight"}, "wider layers are left to the diagonal"


def test_sampled_labels_have_the_curvature_of_the_mean_cross_entropy() -> None:
    logits, random = torch.randn(1, 3, 2, 2), torch.Generator().manual_seed(0)
    labelled = torch.tensor([[True, True], [False, True]])
    rows = torch.stack([sampled_gradient(logits, labelled, random).flatten() for _ in range(4_000)])
    wanted = torch.zeros(3, 2, 2, 3, 2, 2)
    for r, c in ((0, 0), (0, 1), (1, 1)):
        p = logits.softmax(1)[0, :, r, c]
        wanted[:, r, c, :, r, c] = (torch.diag(p) - torch.outer(p, p)) / 3
    assert float((rows.T @ rows / len(rows) - wanted.reshape(12, 12)).abs().max()) < 0.025
    assert float(rows.mean(0).abs().max()) < 0.025


def test_tau_is_chosen_by_the_answers_of_all_samples_together_on_pictures_apart(tmp_path: Path) -> None:
    regime, plan = regime_of("kfac", tau=0.0, trials=2), replace(PLAN, epochs=1)
    with pytest.raises(UsageError, match="Give --select"):
        trainer_of(regime, tmp_path / "none", plan)
    with pytest.raises(UsageError, match="chooses nothing"):
        trainer_of(regime_of("kfac"), tmp_path / "none", plan, select=Town(9))
    trainer = trainer_of(regime, tmp_path / "run", plan, select=Town(9, count=3))
    seen: list[tuple[int, int]] = []
    trainer.run(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (cost(plan, regime, 6, 3),) * 2 == (3 + 3 + TRIED * 2,) * 2 and len(TAUS) == TRIED
    assert read_run(tmp_path / "run").select.spec == "town:9"
    found = open_checkpoint(tmp_path / "run" / "kfac.safetensors")
    about = found.posterior.about
    losses = about["select_nll"]
    assert about["tau"] == float(min(losses, key=losses.get)) and len(losses) == TRIED
    assert about["examples"] == 6 and about["diagonal"] == ["norm.bias", "norm.weight"]
    best = 0.0, 0
    for batch in trainer.learner.selection():
        answers = []
        for number in range(2):
            network = MiniNet(CLASSES, 0.0).eval()
            table = {name: found.read(name).clone() for name in found.tensors}
            for name, drawn in deviations(found.posterior, PLAN.seed, 2):
                table[name] += drawn[number]
            network.load_state_dict(table)
            with torch.no_grad():
                answers.append(network(torch.from_numpy(batch.images).permute(0, 3, 1, 2) / 255 - 0.5).softmax(1))
        truth = torch.from_numpy(batch.truths).long()
        right = torch.stack(answers).mean(0).gather(1, truth.where(truth != IGNORE, 0)[:, None])[:, 0]
        best = best[0] - float(right[truth != IGNORE].log().sum()), best[1] + int((truth != IGNORE).sum())
    assert losses[f"{about['tau']:g}"] == pytest.approx(best[0] / best[1], rel=1e-4)


def test_a_posterior_of_the_start_itself_is_that_of_a_run_that_does_not_move(tmp_path: Path) -> None:
    trained(regime_of("scratch"), tmp_path / "start", replace(PLAN, epochs=1))
    start = tmp_path / "start" / "epoch-001.safetensors"
    trainer = trained(regime_of("kfac", train=False), tmp_path / "alone", start=start)
    assert [(point.name, point.step, point.lr) for point in trainer.points] == [("kfac", 0, None)]
    assert equal(tensors(tmp_path / "alone", "kfac"), tensors(tmp_path / "start", "epoch-001"))
    assert [parent.name for parent in trainer.points[0].parents] == ["start"] and read_run(tmp_path / "alone").finished
    assert trainer_of(regime_of("kfac", train=False), tmp_path / "timed", start=start).timed() > 0


def test_a_picture_without_labels_adds_nothing_to_the_curvature(tmp_path: Path) -> None:
    class Void(Town):
        def load(self, index: int, whole: bool = False):
            sample = super().load(index)
            if index < 4:
                sample.truth[:] = IGNORE
            return sample

    for examples, least, most in (("pictures", 2, 2), ("pixels", 2 * 15 * 16, 2 * 16 * 16)):
        trained(regime_of("kfac", train=False, examples=examples), tmp_path / examples, data=Void())
        found = open_checkpoint(tmp_path / examples / "kfac.safetensors").posterior.about["examples"]
        assert least <= found <= most, "the first line is void, where a crop has it"


def test_a_tau_whose_answers_are_no_numbers_is_not_chosen() -> None:
    assert best({"1": None, "10": 3.0, "100": 2.0, "1000": 2.5}) == 100
    with pytest.raises(UsageError, match="tau=1e8"):
        best({"1": None, "10": None})


# --- files ------------------------------------------------------------------------------------------------------------


def written(path: Path, kind: str, parts: Mapping[str, Mapping[str, Tensor]] | None = None, **about: Any) -> Path:
    """A file with three tensors and a posterior around them."""
    network = {"w.weight": torch.ones(1, 2), "w.bias": torch.zeros(1), "s": torch.full((1,), 5.0)}
    for part, table in (parts or changed(kind)).items():
        network |= further(part, table)
    save_tensors(path, network, {KIND: kind, ABOUT: json.dumps(about or {"examples": 7, "tau": 2.0})})
    return path


def changed(kind: str, part: str = "", name: str = "", value: Tensor | None = None) -> dict[str, dict[str, Tensor]]:
    """The parts of `small`, one tensor of them another, or gone."""
    parts = {key: {n: one.tensor.float() for n, one in table.items()} for key, table in small(kind).parts.items()}
    if value is not None:
        parts.setdefault(part, {})[name] = value
    elif part:
        del parts[part][name]
    return parts


@pytest.mark.parametrize("kind", PARTS)
def test_a_posterior_opens_as_its_mean_and_is_sampled_by_a_merge_method(tmp_path: Path, kind: str) -> None:
    file = open_checkpoint(written(tmp_path / "p.safetensors", kind))
    assert list(file.tensors) == ["w.weight", "w.bias", "s"] and file.naming.group is None
    assert file.notes == (f"the mean of a posterior ('{kind}'), {file.posterior.tensors} tensors beside it",)
    arena = Arena.pack([file])
    mixture = build_method("samples", {"count": 3, "seed": 4, "scale": 0.5})(arena)
    assert mixture.weights.shape == (3, arena.layout.size) and mixture.coefficients.tolist() == [1 / 3] * 3
    for name, drawn in deviations(file.posterior, 4, 3):
        for row, one in zip(mixture.weights, drawn, strict=True):
            torch.testing.assert_close(arena.layout.view(row, name), file.read(name) + 0.5 * one.float())
    narrow = build_method("samples", {"count": 1, "scale": 0.0})(arena, out=torch.empty_like(arena.weights[0]))
    assert torch.equal(narrow.weights[0], arena.weights[0])


def test_what_is_no_posterior_is_not_sampled(tmp_path: Path) -> None:
    save_tensors(tmp_path / "plain.safetensors", {"w": torch.ones(2)})
    arena = Arena.pack([open_checkpoint(tmp_path / "plain.safetensors")])
    with pytest.raises(UsageError, match=r"plain is no posterior.*swag, kfac or spro"):
        build_method("samples", {})(arena)
    with pytest.raises(UsageError, match="Correct anchor"):
        build_method("samples", {"anchor": 1}).shares(1)
    save_tensors(tmp_path / "claim.safetensors", {"w": torch.ones(2), "v": torch.ones(2)}, {KIND: "swag"})
    assert open_checkpoint(tmp_path / "claim.safetensors").posterior is None


@pytest.mark.parametrize(
    ("kind", "parts", "about", "said"),
    [
        ("bayes", changed("swag"), {}, "Unknown posterior 'bayes'"),
        ("swag", changed("swag", "deviations", "s", None), {}, "of other tensors"),
        ("swag", changed("swag", "deviations", "s", torch.ones(4, 1)), {}, r"Needs: .*\(3, 1\)"),
        ("swag", changed("swag", "variance", "s", -torch.ones(1)), {}, "go down to -1"),
        ("swag", changed("swag", "variance", "s", torch.tensor([math.nan])), {}, "NaN"),
        ("swag", changed("swag", "variance", "s", torch.ones(1, dtype=torch.int64)), {}, "int64"),
        ("swag", changed("swag", "variance", "elsewhere", torch.ones(1)), {}, "'elsewhere'"),
        ("swag", changed("swag", "junk", "s", torch.ones(1)), {}, "it has 'junk'"),
        ("swag", {"variance": {"s": torch.ones(1)}, "deviations": {"s": torch.ones(1, 1)}}, {}, "1 deviations"),
        ("simplex", changed("simplex", "vertices", "s", torch.ones(1, 1)), {}, r"\(3, 1\)"),
        ("simplex", {"vertices": {"s": torch.ones(101, 1)}}, {}, "101 vertices"),
        ("simplex", {"vertices": {"s": torch.ones(())}}, {}, "0 vertices"),
        ("kfac", None, {"examples": 7, "tau": -1}, "its tau is -1"),
        ("kfac", None, {"examples": "many", "tau": 1}, "'many'"),
        ("kfac", changed("kfac", VALUES[0], "w.weight", torch.ones(5)), {}, r"\(2,\)"),
        ("kfac", changed("kfac", VECTORS[1], "w.weight", torch.ones(2, 2)), {}, r"\(1, 1\)"),
        ("kfac", changed("kfac", VECTORS[1], "w.weight", None), {}, "of other layers"),
        ("kfac", changed("kfac", FISHER, "w.bias", torch.ones(1)), {}, "w.bias twice"),
        ("kfac", {part: {"s": torch.ones(1)} for part in (*VALUES, *VECTORS)}, {}, r"which is \(1,\)"),
    ],
)
def test_what_a_strangers_file_says_is_checked_before_it_is_used(tmp_path: Path, kind, parts, about, said: str) -> None:
    path = written(tmp_path / "p.safetensors", kind, parts, **about)
    arena = Arena.pack([open_checkpoint(path)])
    with pytest.raises(FusionError, match=said):
        build_method("samples", {"count": 2})(arena)


def test_numbers_that_are_no_json_are_refused_only_where_they_are_needed(tmp_path: Path) -> None:
    network = {"w.weight": torch.ones(1, 2), "w.bias": torch.zeros(1), "s": torch.zeros(1)}
    for part, table in changed("kfac").items():
        network |= further(part, table)
    save_tensors(tmp_path / "p.safetensors", network, {KIND: "kfac", ABOUT: "[" * 10_000})
    file = open_checkpoint(tmp_path / "p.safetensors")
    assert len(file.tensors) == 3
    with pytest.raises(CheckpointError, match="not valid JSON"):
        build_method("samples", {})(Arena.pack([file]))
