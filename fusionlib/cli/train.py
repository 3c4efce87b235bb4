"""`train`: from scratch with a seed, or fine-tuning with a checkpoint an epoch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fusionlib.cli.common import is_recipe, open_files, progress_bar, show_remarks
from fusionlib.contracts import ARCHITECTURES
from fusionlib.errors import UsageError
from fusionlib.lab.plan import TrainingPlan
from fusionlib.lab.schedule import SCHEDULES
from fusionlib.options import add_group


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    plan = TrainingPlan()
    parser.add_argument(
        "--data",
        default="streets:clear:400@train",
        metavar="SPEC",
        help="labelled data (default streets:clear:400@train)",
    )
    parser.add_argument("--split", help="split of the data, in place of @split")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the checkpoints")
    parser.add_argument(
        "--start", type=Path, metavar="CHECKPOINT", help="fine-tune from this one instead of from scratch"
    )
    add_group(parser)
    parser.add_argument("--arch", default=plan.architecture, help=f"one of {', '.join(ARCHITECTURES.names_in_files())}")
    parser.add_argument("--classes", type=int, help="outputs of the network (default: the classes of the data)")
    parser.add_argument("--seed", type=int, default=plan.seed, help="initialisation, order of pictures and dropout")
    parser.add_argument("--epochs", type=int, default=plan.epochs)
    parser.add_argument("--batch", type=int, default=plan.batch)
    parser.add_argument("--lr", type=float, default=plan.lr, help="start learning rate")
    parser.add_argument("--momentum", type=float, default=plan.momentum)
    parser.add_argument("--weight-decay", type=float, default=plan.weight_decay)
    parser.add_argument(
        "--schedule",
        default=plan.schedule,
        choices=sorted(SCHEDULES),
        help="over the whole run (default cosine: one cycle)",
    )
    parser.add_argument("--crop", default="128x256", metavar="HxW", help="random crop (default 128x256)")
    parser.add_argument("--plain-loss", action="store_true", help="leave the class weights out of the cross-entropy")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.set_defaults(measures=False)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Train and list the epochs."""
    from fusionlib.data.cache import DecodedCache
    from fusionlib.data.spec import open_dataset
    from fusionlib.engine.network import choose_device
    from fusionlib.lab.loop import Trainer

    dataset = DecodedCache(open_dataset(given.data, given.split), 2 << 30)
    plan = TrainingPlan(
        architecture=given.arch,
        classes=given.classes or dataset.label_space.count,
        seed=given.seed,
        epochs=given.epochs,
        batch=given.batch,
        lr=given.lr,
        momentum=given.momentum,
        weight_decay=given.weight_decay,
        schedule=given.schedule,
        crop=_size(given.crop),
        class_weights=not given.plain_loss,
    )
    if not given.resume and given.out.is_dir() and any(given.out.glob("epoch-*.safetensors")):
        raise UsageError(
            f"{given.out.name} holds checkpoints of a run already",
            "an empty folder, or --resume",
            "Choose another --out, or add --resume to continue that run",
        )
    start = given.start
    if start is not None and is_recipe(start):
        (start,) = (item.path for item in open_files(given, [start]))
    trainer = Trainer(plan, dataset, given.out, start=start, groups=given.group, device=choose_device(given.device))
    if given.resume:
        trainer.resume()
    with progress_bar("train") as progress:
        log = trainer.run(progress)
    return {"out": str(given.out), "epochs": log, "notes": list(dataset.notes)}


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    for epoch in result["epochs"]:
        print(f"epoch {epoch['epoch']:3d}   loss {epoch['loss']:.4f} nats   learning rate {epoch['lr']:.2e}")
    print(f"checkpoints in {result['out']}")
    show_remarks(result)


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--crop {text}", "HEIGHTxWIDTH, as 128x256", "Correct it")
    return int(height), int(width)
