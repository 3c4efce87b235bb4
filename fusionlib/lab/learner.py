"""A network in training: what a regime sees of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fusionlib.architectures.modules import methods_of_torch, named_modules
from fusionlib.architectures.outputs import logits_of
from fusionlib.contracts import IGNORE, Architecture, Batch, Output, Regime, Span, Supervised
from fusionlib.engine.inputs import Inputs
from fusionlib.engine.recalibrate import Recalibration
from fusionlib.errors import ArchitectureError, FusionError, UsageError
from fusionlib.lab.batches import CropSampler, Stream
from fusionlib.lab.counterparts import Counterparts
from fusionlib.lab.groups import grouped, set_rate
from fusionlib.lab.plan import TrainingPlan
from fusionlib.quiet import quiet

_PRIME = 1_000_003
"""Keys of random numbers become one seed by it."""


class DivergedError(UsageError):
    """Training has left the finite numbers: it would do so again."""


def diverged(what: str, step: int) -> DivergedError:
    """That something is no number any more at a step."""
    return DivergedError(
        f"{what} at step {step}",
        "numbers that stay finite",
        "Lower the learning rate, and train into another folder; what was saved before is there",
    )


def class_weights(frequencies: Tensor) -> Tensor:
    """`w_c = 1 / ln(1.02 + p_c)`, float32 (classes,): bounded between 1.4 and 50. Source: ENet paper, section 5.1."""
    return (1 / torch.log(1.02 + frequencies)).float()


class Learner:
    """A network with its optimisers, pictures and what its regime remembers: a `Training`."""

    def __init__(
        self,
        plan: TrainingPlan,
        regime: Regime,
        network: nn.Module,
        architecture: Architecture,
        span: Span,
        sampler: CropSampler,
        target: CropSampler | None,
        device: torch.device,
        select: CropSampler | None = None,
        counterparts: Counterparts | None = None,
    ) -> None:
        self.plan, self.regime, self.architecture, self.span, self.device = plan, regime, architecture, span, device
        self.seed, self.step, self.memory = plan.seed, 0, {}
        self.network, self._sampler, self._select = network, sampler, select
        self._labelled, self._target = Stream(sampler), None if target is None else Stream(target)
        self._inputs = Inputs(architecture.preprocessing, device)
        self._output: Output = getattr(architecture, "output", Output())
        self._criterion: nn.Module | None = None
        self._counterparts = counterparts
        self._random: tuple[Tensor, Tensor | None] | None = None
        self.looked: Callable[[], None] = lambda: None
        """Called whenever a batch of `pictures` or of the `selection` has been looked at."""
        with methods_of_torch(network):
            network.to(device).train()
            self._named = dict(network.named_parameters())
        self._plain = {name: parameter.detach() for name, parameter in self._named.items()}
        self.begin_optimisers()

    # --- what a regime may ask, see `fusionlib.contracts.Training` ---------------------------------------------------

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Parameters by name, without gradients."""
        return self._plain

    @property
    def normalised(self) -> bool:
        """Whether there are running statistics."""
        return any(
            isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
            for layer in named_modules(self.network).values()
        )

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy in nats of the labelled pixels, of several outputs as the network weighs them; 0, with a
        gradient of 0, where there are none.
        """
        outputs = self._supervised(batch.images)
        if not (batch.truths != IGNORE).any():  # the mean over no pixels is NaN, and would end the run
            return outputs[0][1].sum() * 0
        truths = torch.from_numpy(batch.truths).long().to(self.device)
        parts = [self._cross_entropy(logits, truths) * weight for weight, logits in outputs]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def logits(self, images: np.ndarray) -> Tensor:
        """Logits (N, C, h, w) at the size of the pictures, with a gradient, in the mode that the network is in."""
        return self._logits(self.network, images)

    def gather(self, loss: Tensor) -> Tensor:
        """Add its gradients to those that lie ready. Raises `DivergedError` where the loss is no number any more."""
        if not torch.isfinite(loss.detach()):
            raise diverged(f"The loss is {float(loss.detach())}", self.step + 1)
        loss.backward()
        return loss.detach()

    def advance(self, head: int = 0) -> None:
        """A step of that optimiser by the gradients that lie ready, clipped to the plan's norm; they are then gone."""
        if self.plan.clip:
            nn.utils.clip_grad_norm_(self._named.values(), self.plan.clip)
        self.optimisers[head].step()
        self.optimisers[head].zero_grad(set_to_none=True)

    def update(self, loss: Tensor, head: int = 0) -> Tensor:
        """Gradients of the loss, and a step."""
        found = self.gather(loss)
        self.advance(head)
        return found

    def probabilities(self, parameters: Mapping[str, Tensor], images: np.ndarray) -> Tensor:
        """Softmax (N, C, h, w) with other parameters and the network's own buffers."""
        with self._evaluating(self.network), torch.no_grad():
            return self._logits(lambda x: functional_call(self.network, dict(parameters), (x,)), images).softmax(1)

    def target(self) -> np.ndarray:
        """Crops (N, h, w, 3) uint8 of the unlabelled pictures of this step."""
        if self._target is None:
            raise UsageError("No unlabelled pictures", "pictures of the target domain", "Give --target")
        epoch, number = divmod(self.step, len(self._target.sampler))
        return self._target.batch(0, epoch, number).images

    def tensors(self, parameters: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """A copy on the CPU of all tensors as a file has them."""
        if parameters is None:
            return {name: tensor.detach().cpu().clone() for name, tensor in self._state(self.network).items()}
        own = {name: tensor.clone() for name, tensor in self._plain.items()}
        try:
            self.set_parameters(parameters)
            return self.tensors()
        finally:
            self.set_parameters(own)

    def set_parameters(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy parameters into the network."""
        for name, tensor in self._plain.items():
            tensor.copy_(parameters[name])

    def restart(self, tensors: Mapping[str, Tensor]) -> None:
        """Load all tensors, and begin with fresh optimisers."""
        self.load(tensors)
        self.begin_optimisers()

    def recalibrated(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same with running statistics of one pass over all pictures, cropped and flipped as in training."""
        network = deepcopy(self.network)
        with methods_of_torch(network):
            network.load_state_dict(dict(tensors))
            network.eval()
        running = Recalibration(_Probe(network, lambda images: self._logits(network, images)))
        with torch.no_grad():
            for batch in self.pictures():
                running.add(batch.images)
        return {name: tensor.detach().cpu() for name, tensor in self._state(network).items()}

    def pictures(self) -> Iterator[Batch]:
        """All labelled pictures once, cropped and flipped as in training, the same ones each time."""
        for batch in self._sampler.whole(self.span.epochs):
            yield batch
            self.looked()

    def selection(self) -> Iterator[Batch]:
        """The pictures to choose by once, the same crops each time."""
        for batch in self._select.whole(0) if self._select is not None else ():
            yield batch
            self.looked()

    def generator(self, *key: int) -> torch.Generator:
        """Random numbers on the network's device."""
        seed = self.seed
        for number in key:
            seed = (seed * _PRIME + number) % 2**63
        return torch.Generator(self.device).manual_seed(seed)

    # --- what the trainer does with it -------------------------------------------------------------------------------

    def begin_optimisers(self) -> None:
        """Fresh ones."""
        parameters = grouped(self.architecture, self._named)
        self.optimisers = [self.regime.optimiser(parameters) for _ in range(self.regime.heads)]

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        for optimiser in self.optimisers:
            set_rate(optimiser, rate)

    def batch(self) -> Batch:
        """The labelled batch of this step."""
        epoch, number = divmod(self.step, self.span.length)
        further, place = self.regime.order(epoch, self.span)
        return self._labelled.batch(further, place, number)

    def seed_epoch(self) -> None:
        """Dropout must not depend on how many epochs this process has run, so each epoch seeds it."""
        further, place = self.regime.order(self.step // self.span.length, self.span)
        torch.manual_seed((self.seed + further) * 100_003 + place)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy all tensors in."""
        with methods_of_torch(self.network):
            self.network.load_state_dict(dict(tensors))

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, to be kept with `torch.save`."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return {
            "step": self.step,
            "network": dict(self._state(self.network)),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "memory": self.memory,
            "random": torch.get_rng_state(),
            "cuda": cuda,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.step, self.memory = state["step"], state["memory"]
        self.load(state["network"])
        for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        self._random = state["random"].cpu(), state["cuda"]

    def restore_random(self) -> None:
        """Random numbers go on where those of the state were: last of all, since others draw from them meanwhile."""
        if self._random is None:
            return
        ours, cuda = self._random
        torch.set_rng_state(ours)
        if cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(cuda.cpu(), self.device)

    # --- running it --------------------------------------------------------------------------------------------------

    def _supervised(self, images: np.ndarray) -> Sequence[tuple[float, Tensor]]:
        """Weight and logits (N, C, h, w), at the size of the pictures, of every output that the loss is made of."""
        declared = getattr(self.architecture, "supervised", None)
        if declared is None:
            return [(1.0, self.logits(images))]
        found: Sequence[Supervised] = self._called(lambda x: declared(self.network, x), images)
        return [(one.weight, self._at_size(one.output, images)) for one in found]

    def _logits(self, forward: Callable[[Tensor], object], images: np.ndarray) -> Tensor:
        """Logits (N, C, h, w) at the size of the pictures. Raises `ArchitectureError` for what the network raises."""
        return self._at_size(self._called(forward, images), images)

    def _at_size(self, output: object, images: np.ndarray) -> Tensor:
        size = (images.shape[1], images.shape[2])
        logits = self._inputs.at_size(logits_of(output, self._output), size, size)
        return logits if self._counterparts is None else self._counterparts.of(logits)

    def _called(self, forward: Callable[[Tensor], Any], images: np.ndarray) -> Any:
        size = (images.shape[1], images.shape[2])
        try:
            with quiet():
                return forward(self._inputs.prepare(images))
        except FusionError:
            raise
        except Exception as error:
            raise ArchitectureError(
                f"{self.architecture.title} failed in training on {len(images)} crops of {size[1]}x{size[0]}:"
                f" {type(error).__name__}: {error}",
                "crops that it can be trained on, two or more a batch",
                "Choose another --crop or a larger --batch",
            ) from error

    def _cross_entropy(self, logits: Tensor, truths: Tensor) -> Tensor:
        if self._criterion is None:
            weights = None
            if self.plan.class_weights:
                found = self._sampler.class_frequencies(logits.shape[1])
                weights = class_weights(found).to(self.device)
            self._criterion = nn.CrossEntropyLoss(weights, ignore_index=IGNORE)
        return self._criterion(logits, truths)

    @contextmanager
    def _evaluating(self, network: nn.Module) -> Iterator[None]:
        with methods_of_torch(network):
            network.eval()
        try:
            yield
        finally:
            with methods_of_torch(network):
                network.train()

    def _state(self, network: nn.Module) -> Mapping[str, Tensor]:
        with methods_of_torch(network):
            return network.state_dict()


class _Probe:
    """What a recalibration needs of a network."""

    precision = "float32"

    def __init__(self, module: nn.Module, logits: Callable[[np.ndarray], Tensor]) -> None:
        self.module, self.logits = module, logits
