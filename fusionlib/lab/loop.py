"""The training loop: SGD with momentum, class-weighted cross-entropy, one checkpoint an epoch, resumable."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusionlib.architectures.outputs import logits_of
from fusionlib.atomic import make_folder, write_atomically
from fusionlib.checkpoints.groups import Choice
from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.checkpoints.writer import save_tensors
from fusionlib.contracts import ARCHITECTURES, IGNORE, Architecture, Dataset, Output, Progress
from fusionlib.errors import LayoutError, UsageError
from fusionlib.lab.batches import CropSampler
from fusionlib.lab.plan import TrainingPlan
from fusionlib.lab.schedule import SCHEDULES


def class_weights(frequencies: Tensor) -> Tensor:
    """`w_c = 1 / ln(1.02 + p_c)`, float32 (classes,): bounded between 1.4 and 50. Source: ENet paper, section 5.1."""
    return (1 / torch.log(1.02 + frequencies)).float()


class Trainer:
    """One run of a plan, in a folder: `epoch-NNN.safetensors`, `progress.pt` (to resume) and `log.json`."""

    def __init__(
        self,
        plan: TrainingPlan,
        dataset: Dataset,
        out: Path,
        *,
        start: Path | None = None,
        groups: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> None:
        if dataset.label_space.count > plan.classes:
            raise UsageError(
                f"{plan.classes} classes for data with {dataset.label_space.count}",
                "an output for each class of the data",
                "Raise --classes or leave it out",
            )
        self.plan, self.out = plan, out
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.architecture: Architecture = ARCHITECTURES.get(plan.architecture)
        torch.manual_seed(plan.seed)
        self.network = self.architecture.build(plan.classes)
        if start is not None:
            load_weights(self.network, start, groups)
        self.network.to(self.device)
        self.sampler = CropSampler(dataset, plan.crop, plan.batch, plan.seed, self.architecture.preprocessing)
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay
        )
        self.log: list[dict[str, Any]] = []
        self.epochs_done = 0

    def run(self, progress: Progress | None = None) -> list[dict[str, Any]]:
        """Train the epochs still missing. Returns the log: epoch, loss in nats, learning rate. May raise `Cancelled`.

        Raises: `WriteError` where the folder, or an epoch, cannot be written; the epochs before are there to resume
        from.
        """
        make_folder(self.out)
        weights = None
        if self.plan.class_weights:
            weights = class_weights(self.sampler.class_frequencies(self.plan.classes)).to(self.device)
        loss = nn.CrossEntropyLoss(weights, ignore_index=IGNORE)
        for epoch in range(self.epochs_done, self.plan.epochs):
            # Dropout must not depend on how many epochs this process has run: reseed, so that resuming changes nothing.
            torch.manual_seed(self.plan.seed * 100_003 + epoch)
            mean_loss = self._epoch(epoch, loss, progress)
            self.log.append({"epoch": epoch + 1, "loss": mean_loss, "lr": self.optimiser.param_groups[0]["lr"]})
            self.epochs_done = epoch + 1
            self._save()
        return self.log

    def resume(self) -> bool:
        """Continue from `progress.pt` where it exists; True when it did.

        Raises `UsageError` when it is of another plan.
        """
        path = self.out / "progress.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
        except Exception as error:
            raise UsageError(
                f"{path.name} cannot be read: {type(error).__name__}",
                "the file that the run wrote",
                "Begin anew in another --out, with --start and the last checkpoint",
            ) from error
        if state["plan"] != json.dumps(asdict(self.plan)):
            before, now = json.loads(state["plan"]), json.loads(json.dumps(asdict(self.plan)))
            other = ", ".join(f"{name} {before.get(name)}" for name in now if before.get(name) != now[name])
            raise UsageError(
                f"{path.name} belongs to a run with other settings: {other}",
                "the settings of that run",
                "Choose another --out, or repeat the first command with --resume",
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.log, self.epochs_done = state["log"], len(state["log"])
        return True

    def _epoch(self, epoch: int, loss: nn.Module, progress: Progress | None) -> float:
        self.network.train()
        length, total = len(self.sampler), torch.zeros((), dtype=torch.float64)
        for step, (images, truths) in enumerate(self.sampler.epoch(epoch)):
            self._set_rate(epoch * length + step, self.plan.epochs * length)
            self.optimiser.zero_grad(set_to_none=True)
            logits = logits_of(self.network(images.to(self.device)), getattr(self.architecture, "output", Output()))
            size = (truths.shape[-2], truths.shape[-1])
            logits = self.sampler.inputs.at_size(logits, size, size)
            value = loss(logits, truths.to(self.device))
            value.backward()
            self.optimiser.step()
            total += value.detach().double().cpu()
            if progress is not None:
                progress(epoch * length + step + 1, self.plan.epochs * length)
        return float(total / length)

    def _set_rate(self, step: int, steps: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.lr * SCHEDULES[self.plan.schedule](step, steps)

    def _save(self) -> None:
        about = {"epoch": str(self.epochs_done), "plan": json.dumps(asdict(self.plan))}
        tensors = {name: tensor.detach().cpu() for name, tensor in self.network.state_dict().items()}
        save_tensors(self.out / f"epoch-{self.epochs_done:03d}.safetensors", tensors, about)
        state = {
            "plan": about["plan"],
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "log": self.log,
        }
        content = (
            io.BytesIO()
        )  # into a file, torch.save meets a full disk with an error of its own that does not say so
        torch.save(state, content)
        write_atomically(self.out / "progress.pt", content.getbuffer())
        write_atomically(self.out / "log.json", json.dumps(self.log, indent=1))


def load_weights(network: nn.Module, path: Path, groups: Sequence[str] = ()) -> None:
    """Copy a checkpoint into `network`, that of `groups` where it holds several.

    Raises `LayoutError` when a name or shape does not fit.
    """
    own = network.state_dict()
    checkpoint = open_checkpoint(
        path,
        choice=Choice(
            tuple(groups),
            lambda shapes: all(shapes.get(name) == tuple(tensor.shape) for name, tensor in own.items()) or None,
        ),
    )
    wrong = [
        name
        for name in own
        if name not in checkpoint.tensors or checkpoint.tensors[name].shape != tuple(own[name].shape)
    ]
    if wrong:
        raise LayoutError(
            f"{path.name} does not fit the network: {wrong[0]} and {len(wrong) - 1} more differ",
            "a checkpoint of the same architecture and class count",
            "Check --arch and --classes",
        )
    network.load_state_dict({name: checkpoint.read(name) for name in own})
