"""`evaluate F --data SPEC`: figures of one checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli.common import add_data, add_running, open_data, open_studio, percent, progress_bar

NAME, HELP = "evaluate", "Measure one checkpoint on labelled pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoint", type=Path)
    add_data(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Figures as fractions and nats; per class by name, None where a class is absent."""
    studio = open_studio(given)
    checkpoint = open_checkpoint(given.checkpoint)
    studio.network_of(checkpoint)  # an unknown network is said before the data is read
    pictures = open_data(studio, given)
    with progress_bar("evaluate") as progress:
        figures = studio.evaluate(checkpoint, pictures, fresh=given.fresh, progress=progress)
    classes = figures.pop("classes")
    by_class = {name: dict(zip(classes, figures[name], strict=True)) for name in ("iou", "precision", "recall")}
    return {"path": str(given.checkpoint), "fingerprint": checkpoint.fingerprint, "data": pictures.spec, **figures, **by_class}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(f"{result['path']} on {result['data']}, {result['images']} pictures")
    loss = "n/a" if result["loss"] is None else f"{result['loss']:.4f} nats"
    print(f"mIoU {percent(result['miou'])}   pixel accuracy {percent(result['pixel_accuracy'])}   loss {loss}")
    print(f"{'class':18}{'IoU':>10}{'precision':>12}{'recall':>10}")
    for name, value in result["iou"].items():
        print(f"{name:18}{percent(value):>10}{percent(result['precision'][name]):>12}{percent(result['recall'][name]):>10}")
