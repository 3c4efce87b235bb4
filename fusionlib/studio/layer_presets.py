"""Named layer profiles, one YAML file each in the home folder, to keep and to hand to others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from fusionlib.atomic import make_folder, reason, write_atomically
from fusionlib.checkpoints.layout import Layout
from fusionlib.errors import UsageError, WriteError, shown
from fusionlib.merging.choices import GRANULARITIES
from fusionlib.merging.profile import LayerProfile
from fusionlib.merging.slices import units
from fusionlib.plain_yaml import read_yaml
from fusionlib.studio.layers import profile_of

NAME_LENGTH, MOST, FILE_BYTES = 60, 200, 1 << 20


class PresetShelf:
    """The presets of one home folder. A file's name is a hash of the preset's, so no name is a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, name: Any, profile: LayerProfile) -> None:
        """Keep `profile` under `name`, in place of an older one of that name.

        Raises: `UsageError` for a name that is none, `WriteError` where it cannot be kept.
        """
        name = _checked(name)
        target = self._file(name)
        make_folder(self.folder)
        if not target.exists() and len(list(self.folder.glob("*.yaml"))) >= MOST:
            raise UsageError(f"{MOST} presets are kept already", "room for one more", "Delete one first")
        content = {
            "name": name,
            "anchor": profile.anchor,
            "granularity": profile.granularity,
            "weights": {unit: list(shares) for unit, shares in profile.weights.items()},
        }
        write_atomically(target, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def delete(self, name: Any) -> None:
        """Forget a preset; nothing happens where there is none."""
        try:
            self._file(_checked(name)).unlink(missing_ok=True)
        except OSError as problem:
            raise WriteError(
                f"The preset cannot be deleted: {reason(problem)}",
                "a folder that can be written to",
                "Correct the rights of the home folder",
            ) from problem

    def fitting(self, layout: Layout, count: int = 2) -> list[dict[str, Any]]:
        """Those for `count` checkpoints whose units are the layout's: `name`, `level`, `anchor`, and `weights` (rows)
        in network order.

        A file that cannot be read, or is for another network, is passed over: it may be meant for other checkpoints.
        """
        found = [
            preset
            for path in sorted(self.folder.glob("*.yaml"))[:MOST]
            if (preset := _fitted(path, layout, count)) is not None
        ]
        return sorted(found, key=lambda preset: preset["name"].lower())

    def _file(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.yaml"


def _checked(name: Any) -> str:
    text = " ".join(name.split()) if isinstance(name, str) else ""
    if not 0 < len(text) <= NAME_LENGTH or not text.isprintable():
        raise UsageError(f"The name {shown(name)}", f"1 to {NAME_LENGTH} printable characters", "Choose another name")
    return text


def _fitted(path: Path, layout: Layout, count: int) -> dict[str, Any] | None:
    try:
        content = read_yaml(path, FILE_BYTES)
        level, weights, anchor = content["granularity"], content["weights"], content["anchor"]
        if level not in GRANULARITIES or list(weights) != list(units(layout, level)):
            return None
        profile = profile_of(layout, level, list(weights.values()), anchor, count)
        return {
            "name": _checked(content["name"]),
            "level": level,
            "anchor": profile.anchor,
            "weights": [list(row) for row in profile.weights.values()],
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
