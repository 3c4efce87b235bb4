"""What counts as a file of a folder, the same for checkpoints, pictures and masks; and what was passed over, so that it
can be said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionlib.errors import clipped, printable

CHECKPOINT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".pt2", ".npz")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
MASK_ENDINGS = (".png",)
INDEX_ENDING = ".safetensors.index.json"

HUB_CONFIG = "config.json"
HUB_WEIGHTS = ("model.safetensors", f"model{INDEX_ENDING}", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""What makes a folder one checkpoint of Hugging Face: a config, and weights by one of these names, the first wins."""

DCP_LIST, DCP_PART = ".metadata", ".distcp"
"""What a folder of torch.distributed.checkpoint holds: a list, and files of parts."""

DEEPSPEED_LATEST, DEEPSPEED_STATES = "latest", "mp_rank_00_model_states.pt"
DEEPSPEED_PARTS = f"zero_pp_rank_0_{DEEPSPEED_STATES}"
"""What a folder of DeepSpeed holds: which step is the newest; what a step holds: the network, or a first part of it."""

_OF_TRAINERS = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "training_args.bin", "scaler.pt")
_KINDS = {
    "other": ("file of another kind", "files of another kind"),
    "hidden": ("hidden file", "hidden files"),
    "folders": ("folder", "folders"),
}
_EXAMPLES, _FOLDERS = 3, 3


@dataclass(frozen=True)
class Listing:
    """`files` and `folders` of one folder, names of `hidden` entries and of files with `other` endings; all sorted by
    name.
    """

    folder: Path
    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    hidden: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it is one checkpoint: a folder of Hugging Face, one in its cache, shards with a file that lists them,
        or the state of a training.
        """
        return self.hub or bool(self.training) or any(name.lower().endswith(INDEX_ENDING) for name in self.other)

    @property
    def training(self) -> str:
        """Which library keeps the state of a training in it, `DCP` or `DeepSpeed`; empty for other folders."""
        parts = any(name.endswith(DCP_PART) for name in self.other)
        alone = not self.files and not self.folders and (self.folder / DCP_LIST).is_file()  # its parts are gone
        if DCP_LIST in self.hidden and (parts or alone):
            return "DCP"
        if any(path.name in (DEEPSPEED_STATES, DEEPSPEED_PARTS) for path in self.files):
            return "DeepSpeed"
        steps = any(path.name.startswith("global_step") for path in self.folders)
        return "DeepSpeed" if "zero_to_fp32.py" in self.other or (DEEPSPEED_LATEST in self.other and steps) else ""

    @property
    def hub(self) -> bool:
        """Whether it is a folder of Hugging Face, or one in its cache, which holds such folders by their commits."""
        names = {*self.other, *(path.name for path in self.files)}
        cached = self.folder.name.startswith("models--") and any(path.name == "snapshots" for path in self.folders)
        return cached or (HUB_CONFIG in names and not names.isdisjoint(HUB_WEIGHTS))

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files that are no part of the one checkpoint that it is, nor what a trainer keeps of its own."""
        shards = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)|rng_state(_\d+)?\.pth")
        return tuple(
            path
            for path in (self.files if self.hub else ())
            if path.name not in _OF_TRAINERS and not shards.fullmatch(path.name)
        )

    @property
    def skipped(self) -> dict[str, tuple[str, ...]]:
        """Names of what was passed over by kind: `other`, `hidden`, `folders`; kinds without any are left out."""
        found = {"other": self.other, "hidden": self.hidden, "folders": tuple(path.name for path in self.folders)}
        return {kind: names for kind, names in found.items() if names}


def list_folder(folder: Path, endings: Iterable[str]) -> Listing:
    """The entries of `folder`: files whose names end in one of `endings`, in capitals or not. Names that begin with a
    dot are hidden.

    Links are followed, wherever they lead: the operator made them. What has the ending but is no regular file (a link
    to nothing, a pipe) is among the files, so that whoever opens it says so. Raises `OSError` where the folder cannot
    be read.
    """
    wanted = tuple(ending.lower() for ending in endings)
    files, folders, hidden, other = [], [], [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                hidden.append(entry.name)
            elif entry.is_dir():
                folders.append(folder / entry.name)
            elif entry.name.lower().endswith(wanted):
                files.append(folder / entry.name)
            else:
                other.append(entry.name)
    return Listing(folder, tuple(files), tuple(folders), tuple(hidden), tuple(other))


def skipped_text(listings: Sequence[Listing]) -> str:
    """What these passed over, in words, with a few names, as `masks: 2 files of another kind (a.jpg, b.txt)`; empty for
    nothing.
    """
    found = [(listing.folder.resolve().name, skipped) for listing in listings if (skipped := listing.skipped)]
    if len(found) > _FOLDERS:
        kinds = {kind: tuple(name for _, skipped in found for name in skipped.get(kind, ())) for kind in _KINDS}
        found = [(f"{len(found)} folders", {kind: names for kind, names in kinds.items() if names})]
    return "; ".join(
        f"{folder}: {', '.join(_counted(kind, names) for kind, names in skipped.items())}" for folder, skipped in found
    )


def skipped_notes(listings: Sequence[Listing]) -> tuple[str, ...]:
    """One remark on what these passed over; none where they took everything."""
    text = skipped_text(listings)
    return (f"Skipped in {text}",) if text else ()


def _counted(kind: str, names: Sequence[str]) -> str:
    examples = [clipped(printable(name), 40) for name in names[:_EXAMPLES]] + ["..."] * (len(names) > _EXAMPLES)
    return f"{len(names)} {_KINDS[kind][len(names) > 1]} ({', '.join(examples)})"
