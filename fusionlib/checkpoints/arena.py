"""K compatible checkpoints as one contiguous float tensor, so that merging is arithmetic on rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import torch
from torch import Tensor

from fusionlib.checkpoints.findings import FOREIGN, WAYS
from fusionlib.checkpoints.layout import COUNTER, Layout
from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.checkpoints.reader import Checkpoint, TensorInfo
from fusionlib.checkpoints.sharing import Sharing, shared_table
from fusionlib.checkpoints.stored import Held
from fusionlib.contracts import Description, TensorShapes
from fusionlib.errors import CheckpointError, LayoutError


@dataclass(frozen=True)
class Arena:
    """`weights` (K, P) in the layout's dtype, `integers` one table per checkpoint. Rows are never written to after
    packing.

    `own` are tensors that not all checkpoints share: every row has the anchor's there, so that any merge keeps them as
    they are. `registration` are the floating tensors in the order in which the network registers them, where the files
    do not tell it, and `notes` what the user must know about that. Where the checkpoints' dtypes differ, `widened`
    names those of their merges: even a checkpoint that takes no part in one decides how finely it is rounded.
    `description` is what lies beside the tensors of the anchor and says what they are. `posteriors` are what lies
    beside each that is the mean of one.
    """

    layout: Layout
    weights: Tensor
    integers: tuple[Mapping[str, Tensor], ...]
    names: tuple[str, ...]
    fingerprints: tuple[str, ...]
    own: frozenset[str] = frozenset()
    registration: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    widened: str = ""
    description: Description | None = None
    posteriors: tuple[PosteriorFile | None, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def mean_index(self) -> Tensor:
        """Positions (B,) of all running means in a flat buffer, layer after layer."""
        return _positions([item.mean for item in self.layout.statistics], self.weights.device)

    @cached_property
    def variance_index(self) -> Tensor:
        """Positions (B,) of all running variances, in the same order as `mean_index`."""
        return _positions([item.variance for item in self.layout.statistics], self.weights.device)

    @cached_property
    def counts(self) -> Tensor:
        """Batches tracked, float64 (K, L), one column for each of `layout.statistics`; 0 where there is no counter."""
        rows = [
            [max(0, int(table[item.counter])) if item.counter else 0 for item in self.layout.statistics]
            for table in self.integers
        ]
        return torch.tensor(rows, dtype=torch.float64, device=self.weights.device)

    @cached_property
    def shapes(self) -> TensorShapes:
        """Shape by name of every tensor, integers included, and what is said of them: what an architecture is
        recognised by.
        """
        floats = {entry.name: entry.shape for entry in self.layout.entries}
        integers = {name: tuple(tensor.shape) for name, tensor in self.integers[0].items()}
        return TensorShapes(floats | integers, self.description)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What a merge method has found out about these rows and need not find out again."""
        return {}

    def written_in(self, dtype: torch.dtype | None) -> Arena:
        """The same rows, with merges that are rounded to `dtype` and written in it; None: each tensor in its own."""
        if dtype is None or all(entry.dtype == dtype for entry in self.layout.entries):
            return self
        other = replace(self, layout=self.layout.written_in(dtype))
        other.__dict__["memo"] = self.memo  # what is known about the rows stays known
        return other

    def only(self, numbers: Sequence[int]) -> Arena:
        """An arena of these rows in this order, a single one without a copy."""
        rows = self.weights[numbers[0] : numbers[0] + 1] if len(numbers) == 1 else self.weights[list(numbers)]
        return replace(
            self,
            weights=rows,
            integers=tuple(self.integers[number] for number in numbers),
            names=tuple(self.names[number] for number in numbers),
            fingerprints=tuple(self.fingerprints[number] for number in numbers),
            posteriors=tuple(self.posteriors[number] for number in numbers) if self.posteriors else (),
            notes=(),
        )

    @property
    def in_order(self) -> tuple[str, ...]:
        """Names of the floating tensors in the order in which the network registers them, as far as that is known."""
        return self.registration or tuple(entry.name for entry in self.layout.entries)

    def require_finite(self) -> None:
        """Raises `CheckpointError` that names the first tensor with NaN or infinity: its merges would have them too."""
        for name, row in zip(self.names, self.weights, strict=True):
            if not bool(torch.isfinite(row).all()):
                for tensor, view in self.layout.views(row).items():
                    refuse_unless_finite(name, tensor, view)

    @classmethod
    def pack(
        cls,
        checkpoints: Sequence[Checkpoint],
        *,
        head: Sequence[str] = (),
        only_statistics: bool = False,
        anchor: int = 0,
        sharing: Sharing | None = None,
        device: torch.device | str = "cpu",
    ) -> Arena:
        """Copy the checkpoints into rows, tensors in the order of the anchor. Raises `LayoutError` where they do not
        fit.

        With `only_statistics` the floating tensors other than running means and variances stay in their files. With
        `sharing` only what all have by name and shape needs to fit; every row gets the anchor's own tensors for the
        rest.
        """
        if sharing is not None:
            checkpoints, own = _made_alike(checkpoints, anchor, sharing)
        else:
            own = frozenset()
            for other in checkpoints[1:]:
                _require_same(checkpoints[0], other)
        first = checkpoints[anchor] if 0 <= anchor < len(checkpoints) else checkpoints[0]
        tensors = common_tensors(checkpoints, first)
        widened = _widened(checkpoints, tensors)
        dtype = Layout.of(
            tensors
        ).dtype  # of all tensors: the statistics must come out the same with and without the others
        if only_statistics:
            tensors = {
                name: info
                for name, info in tensors.items()
                if not info.dtype.is_floating_point or name.endswith(("running_mean", "running_var"))
            }
        layout = Layout.of(tensors, head)
        weights = torch.zeros(len(checkpoints), layout.size, dtype=dtype)
        tables = []
        for row, checkpoint in zip(weights, checkpoints, strict=True):
            for entry in layout.entries:
                checkpoint.piece(entry.name, 0, entry.size, row[entry.offset : entry.end])
            tables.append({name: checkpoint.read(name).to(tensors[name].dtype) for name in layout.integers})
        _require_equal_integers(checkpoints, tables)
        return cls(
            layout,
            weights.to(device),
            tuple(tables),
            tuple(item.name for item in checkpoints),
            tuple(item.fingerprint for item in checkpoints),
            own,
            widened=widened,
            description=first.description,
            posteriors=tuple(item.posterior for item in checkpoints),
        )


def _widened(checkpoints: Sequence[Checkpoint], tensors: Mapping[str, TensorInfo]) -> str:
    if all(item.tensors[name].dtype == info.dtype for name, info in tensors.items() for item in checkpoints):
        return ""
    return hashlib.sha256(
        "\n".join(sorted(f"{name} {info.dtype}" for name, info in tensors.items())).encode()
    ).hexdigest()


def common_tensors(checkpoints: Sequence[Checkpoint], first: Checkpoint) -> dict[str, TensorInfo]:
    """The tensors of a merge: those of `first`, each with the narrowest dtype that holds the values of all checkpoints.

    Whoever is named first then decides nothing, and no checkpoint comes out of a merge with weight 1 other than it went
    in.
    """
    return {
        name: replace(info, dtype=reduce(_wider, (item.tensors[name].dtype for item in checkpoints), info.dtype))
        for name, info in first.tensors.items()
    }


def _wider(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    if one == other or other.itemsize < one.itemsize:
        return one
    if one.itemsize < other.itemsize:
        return other
    if not one.is_floating_point:
        return min(one, other, key=str)
    return torch.float16 if one.itemsize == 1 else torch.float32  # torch promotes no float8


def refuse_unless_finite(checkpoint: str, tensor: str, values: Tensor) -> None:
    """Raises `CheckpointError` when `values` hold NaN or infinity."""
    values = values.float() if values.dtype.itemsize == 1 else values  # torch cannot tell for the narrowest types
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise CheckpointError(
            f"{checkpoint}: {bad} of {values.numel()} values of {tensor} are NaN or infinite",
            "finite numbers in every tensor",
            "Use an earlier epoch: this training diverged, or the file is damaged",
        )


def _made_alike(
    checkpoints: Sequence[Checkpoint], anchor: int, sharing: Sharing
) -> tuple[list[Checkpoint], frozenset[str]]:
    """The checkpoints with the anchor's names, and its tensors where they do not share them."""
    table = shared_table(checkpoints, anchor, sharing)
    first = checkpoints[anchor]
    if not any(first.tensors[name].dtype.is_floating_point for name in table.shared):
        raise LayoutError(
            "The checkpoints share no tensor by name and shape",
            "networks with a common part",
            "Give names that become the anchor's with --rename PATTERN=NAME, or choose other checkpoints",
        )

    def seen_through(number: int, checkpoint: Checkpoint) -> Checkpoint:
        source = table.sources[number]
        if number == anchor:
            return checkpoint
        infos = {
            name: replace(info, dtype=checkpoint.tensors[source[name]].dtype) if name in source else info
            for name, info in first.tensors.items()
        }
        stored = {
            name: checkpoint._stored[source[name]] if name in source else first._stored[name] for name in first.tensors
        }
        stored |= {
            name: Held(torch.zeros(info.shape, dtype=info.dtype))
            for name, info in first.tensors.items()
            if name not in source and name.endswith(COUNTER) and name.removesuffix(COUNTER) + "running_mean" in source
        }
        alike = replace(checkpoint, tensors=infos, _stored=stored, posterior=None)  # what it says is of all its tensors
        alike.__dict__["fingerprint"] = checkpoint.fingerprint  # of the file, and hashed only once
        return alike

    return [seen_through(number, item) for number, item in enumerate(checkpoints)], frozenset(table.own)


def _positions(entries: Sequence, device: torch.device) -> Tensor:
    return torch.cat(
        [torch.arange(entry.offset, entry.end) for entry in entries] or [torch.empty(0, dtype=torch.long)]
    ).to(device)


def _require_same(first: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = first.tensors, other.tensors
    missing = [name for name in ours if name not in theirs] + [name for name in theirs if name not in ours]
    wrong = [name for name in ours if name in theirs and ours[name].shape != theirs[name].shape]
    fitting = len(ours) - len(wrong) - sum(name not in theirs for name in ours)
    if not missing and not wrong:
        _require_same_kinds(first, other)
        return
    example = wrong[0] if wrong else missing[0]
    detail = f"{ours[example].shape} against {theirs[example].shape}" if wrong else "present in only one of them"
    raise LayoutError(
        f"{first.name} and {other.name} differ: {len(missing)} tensor{'' if len(missing) == 1 else 's'} missing,"
        f" {len(wrong)} of another shape; "
        f"{example} is {detail}",
        "checkpoints with the same tensors",
        f"{WAYS if fitting else FOREIGN}. `inspect` lists the differences",
    )


def _require_same_kinds(first: Checkpoint, other: Checkpoint) -> None:
    for name, info in first.tensors.items():
        if info.dtype.is_floating_point != other.tensors[name].dtype.is_floating_point:
            raise LayoutError(
                f"{name} is {info.dtype} in {first.name} and {other.tensors[name].dtype} in {other.name}",
                "floating tensors in both, or integers in both",
                "Save both with the same types",
            )


def _require_equal_integers(checkpoints: Sequence[Checkpoint], tables: Sequence[Mapping[str, Tensor]]) -> None:
    for checkpoint, table in zip(checkpoints[1:], tables[1:], strict=True):
        for name, tensor in table.items():
            if not name.endswith(COUNTER) and not torch.equal(tensor, tables[0][name]):
                raise LayoutError(
                    f"{name} holds other integers in {checkpoint.name} than in {checkpoints[0].name}",
                    "equal index tables, because integers cannot be averaged",
                    "Merge checkpoints of one input size and configuration",
                )
