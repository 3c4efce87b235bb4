"""SPRO: a simplex of low loss, grown corner by corner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionlib.contracts import REGIMES, START, Batch, Point, Span, Training, parameter
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import cosine

if TYPE_CHECKING:
    import torch

FLOOR = 1e-4
"""Added to V^2: a new corner begins at the mean of the others, where the volume is 0."""


@REGIMES.register("spro")
@dataclass(frozen=True)
class Simplexes(Descent):
    """`mean over 5 points of L(sum_i l_i v_i) - strength log(V^2 + 1e-4)`, l ~ Dirichlet(1, ..., 1) anew in each step.

    The start is the first corner; each further one begins at the mean of those there are and alone is moved, with a
    fresh optimiser. The public code sums over the points and divides its strength by log V of a random simplex; this
    is the mean, and the strength itself. Running statistics are those of one pass with the mean of the corners.
    """

    title = "SPRO"
    summary = "A simplex of networks of low loss, grown corner by corner from the start"
    leaves = "vertex-2, vertex-3, ... and spro, a posterior: the mean of the corners, with the corners"
    helps = "Where an ensemble helps and one more long run is too dear: many networks from a few short ones"
    citation = "Benton et al. 2021 (Loss Surface Simplexes), section 4"
    wants_start = True

    weight_decay: float = parameter(5e-4, "Weight decay", min=0.0, max=1.0, step=1e-4)
    vertices: int = parameter(3, "Corners, the start among them", min=2, max=8, step=1)
    points: int = parameter(5, "Points of the simplex that a step looks at", min=1, max=100, step=1)
    strength: float = parameter(1e-6, "How much the volume counts: 1e-6 to 1e-10 in the paper", min=0.0, max=1e3)

    @property
    def passes(self) -> int:
        """One for each point."""
        return self.points

    def steps(self, span: Span) -> int:
        """The epochs for each further corner."""
        return (self.vertices - 1) * span.asked

    def closing(self, span: Span) -> int:
        """The pass that measures statistics."""
        return span.pass_batches

    def saved(self, span: Span) -> Sequence[int]:
        """Each corner, and the posterior."""
        return *range(span.asked, span.steps + 1, span.asked), span.steps

    def rate(self, step: int, span: Span) -> float:
        """One cosine for each corner."""
        return self.lr * cosine(step % span.asked, span.asked)

    def begin(self, training: Training) -> None:
        """One corner, at which the second begins."""
        training.memory["vertices"] = [copied(training.parameters)]

    def step(self, training: Training, batch: Batch) -> torch.Tensor:
        """Gradients at all points, then a step of the newest corner."""
        import torch

        from fusionlib.architectures.modules import methods_of_torch
        from fusionlib.lab.volume import squared_distances, squared_volume
        from fusionlib.merging.draws import generator
        from fusionlib.merging.posteriors.simplex import dirichlet

        old, own = training.memory["vertices"], copied(training.parameters)
        random = generator(f"spro {training.seed} {training.step}")
        total = 0.0
        for row in dirichlet(self.points, len(old) + 1, [random] * self.points).tolist():
            training.set_parameters(mixed([*old, own], row))
            loss = training.loss(batch) / self.points
            training.gather(loss * row[-1])  # the newest corner moves a point by its share of it
            total += float(loss.detach())
        training.set_parameters(own)
        with methods_of_torch(training.network):
            newest = dict(training.network.named_parameters())
        volume = squared_volume(squared_distances([*old, newest]))
        penalty = training.gather(-self.strength * torch.log(volume + FLOOR))
        training.advance()
        return penalty + total

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """A corner, where its epochs are over; the next begins at the mean of all."""
        number, rest = divmod(training.step, training.span.asked)
        if rest:
            return ()
        vertices = training.memory["vertices"]
        vertices.append(copied(training.parameters))
        name = f"vertex-{number + 1}"
        parents = (START, *(f"vertex-{earlier}" for earlier in range(2, number + 1)))
        point = Point(name, training.tensors(), "vertex", parents)
        training.restart(training.tensors(mixed(vertices, [1 / len(vertices)] * len(vertices))))
        return (point,)

    def finish(self, training: Training) -> Sequence[Point]:
        """The posterior."""
        import torch

        from fusionlib.checkpoints.posterior import ABOUT, KIND, further
        from fusionlib.lab.volume import squared_distances, squared_volume
        from fusionlib.merging.posteriors.simplex import VERTICES

        vertices = training.memory["vertices"]
        tensors = training.tensors(mixed(vertices, [1 / len(vertices)] * len(vertices)))
        if training.normalised:
            tensors = training.recalibrated(tensors)
        rows = {name: torch.stack([one[name] for one in vertices]).cpu() for name in vertices[0]}
        about = {"vertices": len(vertices), "squared_volume": float(squared_volume(squared_distances(vertices)))}
        parents = (START, *(f"vertex-{number}" for number in range(2, len(vertices) + 1)))
        metadata = {KIND: "simplex", ABOUT: json.dumps(about)}
        return (Point("spro", {**tensors, **further(VERTICES, rows)}, "posterior", parents, metadata),)


def copied(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters that stay as they are."""
    return {name: tensor.clone() for name, tensor in parameters.items()}


def mixed(vertices: Sequence[Mapping[str, torch.Tensor]], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    """`sum_i l_i v_i`."""
    found = {name: tensor * shares[0] for name, tensor in vertices[0].items()}
    for vertex, share in zip(vertices[1:], shares[1:], strict=True):
        for name, tensor in vertex.items():
            found[name].add_(tensor, alpha=share)
    return found
