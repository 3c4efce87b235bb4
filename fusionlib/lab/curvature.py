"""Kronecker factors and the diagonal of the Fisher information of a network, picture by picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionlib.architectures.modules import methods_of_torch, named_modules
from fusionlib.merging.posteriors.kfac import FISHER, VALUES, VECTORS

Layer = nn.Linear | nn.Conv2d

PIECE = 1 << 24
"""Elements of unfolded patches at a time."""


@dataclass
class _Sums:
    """Of one layer: sums of `a a^T` (each picture's divided by its locations) and of `g g^T`, float64."""

    inputs: Tensor
    outputs: Tensor
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Inputs and gradients of outputs since the last picture."""


class Curvature:
    """`A = E[a a^T]`, `G = E[g g^T]` of every linear layer and convolution, `F = E[(dl/dtheta)^2]` of all the rest.

    a are inputs of a layer (patches of a convolution, with a 1 behind where there is a bias), g gradients of a
    picture's loss l with respect to its outputs. Of several locations A is the mean and G the sum: the Kronecker
    product is then the layer's Fisher information where gradients at different locations are independent of one another
    and of the inputs. Source: Martens and Grosse 2015, section 3; Grosse and Martens 2016, section 3 (locations).

    A layer with a side above `widest`, in groups, with another padding than zeros, or that shares its weight is left to
    the diagonal, as are transposed convolutions, normalisations and whatever is no module of its own.
    """

    def __init__(self, network: nn.Module, widest: int) -> None:
        self.pictures = 0.0
        with methods_of_torch(network):
            self.parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self.fisher = {name: torch.zeros_like(one, dtype=torch.float64) for name, one in self.parameters.items()}
        self.layers = dict(_layers(network, self.parameters, widest))
        self.sums: dict[str, _Sums] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block the network's forward passes are looked at."""
        handles = [layer.register_forward_hook(partial(self._seen, name)) for name, layer in self.layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def add(self, logits: Tensor, gradients: Iterable[tuple[Tensor, float]]) -> None:
        """One picture: its logits, just made inside `watching`, and gradients of l at them with their probabilities."""
        for gradient, share in gradients:
            for sums in self.sums.values():
                sums.seen = [(given, given[:0]) for given, _ in sums.seen]
            logits.backward(gradient, retain_graph=True)
            self._take(share)
        for sums in self.sums.values():
            sums.seen = []
        self.pictures += 1

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Eigenvalues and eigenvectors of the factors, and the diagonals, float64 on the CPU: as `posteriors.kfac`
        reads them, by part and by name of the tensor.
        """
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in (*VALUES, *VECTORS, FISHER)}
        taken = set()
        for name, sums in self.sums.items():
            for part, vectors, total in zip(VALUES, VECTORS, (sums.inputs, sums.outputs), strict=True):
                values, parts[vectors][name] = torch.linalg.eigh((total / max(1.0, self.pictures)).cpu())
                parts[part][name] = values.clamp_(min=0)
            taken |= {name, *([_bias(name)] if self.layers[name].bias is not None else [])}
        for name, total in self.fisher.items():
            if name not in taken:
                parts[FISHER][name] = (total / max(1.0, self.pictures)).cpu()
        return parts

    def _seen(self, name: str, layer: Layer, arguments: tuple[Tensor, ...], out: Tensor) -> None:
        given = arguments[0]
        if not out.requires_grad:
            return
        if name not in self.sums:
            sides = (layer.weight[0].numel() + (layer.bias is not None), len(layer.weight))
            inputs, outputs = (torch.zeros(side, side, dtype=torch.float64, device=out.device) for side in sides)
            self.sums[name] = _Sums(inputs, outputs)
        seen, place = self.sums[name].seen, len(self.sums[name].seen)
        seen.append((given.detach(), given.detach()[:0]))

        def arrived(gradient: Tensor) -> None:
            self.sums[name].seen[place] = self.sums[name].seen[place][0], gradient.detach()

        out.register_hook(arrived)  # of the output itself, even where what follows overwrites it in place

    def _take(self, share: float) -> None:
        for name, sums in self.sums.items():
            layer = self.layers[name]
            rows = sum(gradient.numel() // len(layer.weight) for _, gradient in sums.seen)
            for given, gradient in sums.seen:
                if not len(gradient):
                    continue
                for a in _inputs(layer, given):
                    sums.inputs += share / rows * (a.T @ a).double()
                g = _outputs(layer, gradient)
                sums.outputs += share * (g.T @ g).double()
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.fisher[name] += share * parameter.grad.double().square()
                parameter.grad = None


def sampled_gradient(logits: Tensor, labelled: Tensor, random: torch.Generator) -> Tensor:
    """Gradient at logits (1, C, h, w) of `sum_p -log p(y_p) / sqrt(S)` over the S `labelled` (h, w) pixels, y drawn
    from the network's own answer at each.

    Over all y its covariance is the Fisher information of the mean cross-entropy, which that of a mean over pixels
    with labels drawn at each would be too small by S for.
    """
    probabilities = logits.detach().softmax(1)
    flat = probabilities[0].flatten(1).T
    drawn = torch.multinomial(flat, 1, generator=random).T.reshape(1, 1, *labelled.shape)
    gradient = probabilities.scatter_add(1, drawn, probabilities.new_full(drawn.shape, -1.0))
    return gradient * (labelled / labelled.sum().sqrt())


def _layers(network: nn.Module, parameters: Mapping[str, Tensor], widest: int) -> Iterator[tuple[str, Layer]]:
    modules = named_modules(network)
    uses: dict[int, int] = {}
    for module in modules.values():
        for one in module._parameters.values():
            uses[id(one)] = uses.get(id(one), 0) + 1
    for place, module in modules.items():
        name = f"{place}.weight" if place else "weight"
        if type(module) not in (nn.Linear, nn.Conv2d) or not isinstance(module, Layer):
            continue  # of those that inherit from them nobody knows what they do
        own = parameters.get(name) is module.weight and uses[id(module.weight)] == 1
        own &= module.bias is None or parameters.get(_bias(name)) is module.bias
        sides = len(module.weight), module.weight[0].numel() + (module.bias is not None)
        if own and _plain(module) and max(sides) <= widest:
            yield name, module


def _plain(module: Layer) -> bool:
    if isinstance(module, nn.Linear):
        return True
    return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _bias(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


def _outputs(layer: Layer, gradient: Tensor) -> Tensor:
    """Gradients as rows (locations, out)."""
    return gradient.transpose(0, 1).flatten(1).T if isinstance(layer, nn.Conv2d) else gradient.flatten(0, -2)


def _inputs(layer: Layer, given: Tensor) -> Iterator[Tensor]:
    """Inputs as rows (locations, in), of a convolution its patches a few lines of the output at a time."""
    for rows in _patches(layer, given) if isinstance(layer, nn.Conv2d) else (given.flatten(0, -2),):
        yield rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _patches(layer: nn.Conv2d, given: Tensor) -> Iterator[Tensor]:
    top, left = map(int, layer.padding)
    down, across = layer.stride
    padded = F.pad(given, (left, left, top, top))
    reach = layer.dilation[0] * (layer.kernel_size[0] - 1) + 1
    lines = (padded.shape[2] - reach) // down + 1
    width = (padded.shape[3] - layer.dilation[1] * (layer.kernel_size[1] - 1) - 1) // across + 1
    some = max(1, PIECE // max(1, len(given) * width * layer.weight[0].numel()))
    for first in range(0, lines, some):
        last = min(first + some, lines) - 1
        part = padded[:, :, first * down : last * down + reach]
        found = F.unfold(part, layer.kernel_size, layer.dilation, stride=layer.stride)  # type: ignore[arg-type]
        yield found.transpose(1, 2).flatten(0, 1)
