"""More of the demo, which is taken in on request: other families of networks, and what training runs have left."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fusionlib.atomic import atomic_folder, make_folder
from fusionlib.errors import UsageError, shown
from fusionlib.studio.demo import DEMO, manifest


@dataclass(frozen=True)
class Further:
    """Runs that lie beside the demo, each a folder of checkpoints with its record; `about` is one line."""

    name: str
    title: str
    about: str
    runs: tuple[str, ...]

    def folders(self, demo: Path = DEMO) -> list[Path]:
        """Where they lie."""
        return [demo / run for run in self.runs]

    def opened(self, trained: Path) -> bool:
        """Whether all of them are among the training runs of a home folder."""
        return all((trained / run).is_dir() for run in self.runs)

    def bytes(self) -> int:
        """What a copy takes."""
        return sum(path.stat().st_size for folder in self.folders() for path in folder.iterdir())


def further() -> list[Further]:
    """As the manifest of the demo has them, those whose folders are there."""
    listed = [
        Further(one["name"], one["title"], one["about"], tuple(one["runs"])) for one in manifest().get("further", ())
    ]
    return [one for one in listed if all(folder.is_dir() for folder in one.folders())]


def open_further(name: str, trained: Path) -> None:
    """Copy the runs of that name into the folder of training runs, where the workspace finds them; what is there stays.

    Raises `UsageError` for another name, `WriteError` where the folder cannot be written.
    """
    found = next((one for one in further() if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in further()) or "none"
        raise UsageError(f"More of the demo called {shown(name)}", f"one of {known}", "Choose another")
    make_folder(trained)
    for folder in found.folders():
        if not (target := trained / folder.name).exists():
            with atomic_folder(target) as made:
                for path in sorted(folder.iterdir()):
                    shutil.copyfile(path, made / path.name)
