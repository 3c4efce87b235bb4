"""`train`: from scratch with a seed, from a checkpoint, or by any regime that leaves checkpoints worth merging."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import is_recipe, open_files, percent, progress_bar, show_remarks
from fusionlib.cli.settings import read_settings
from fusionlib.contracts import ARCHITECTURES, REGIMES, parameters_of
from fusionlib.errors import Cancelled, UsageError
from fusionlib.lab.plan import VALIDATED, TrainingPlan, build_regime
from fusionlib.lab.schedule import SCHEDULES
from fusionlib.options import add_group

if TYPE_CHECKING:
    from fusionlib.contracts import Architecture, Dataset, Progress, Regime

PARENT = "FUSIONLIB_PARENT"
"""Environment of a run that another process has started: who."""

DATA = "streets:clear:400@train"
CROP = "128x256"

OWN: dict[str, tuple[str, Any]] = {
    "lr": ("--lr", 0.05),
    "momentum": ("--momentum", None),
    "weight_decay": ("--weight-decay", None),
    "schedule": ("--schedule", "cosine"),
}
"""Parameters that most regimes have, with options of their own, and what they are where no regime is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    plan = TrainingPlan()
    parser.add_argument(
        "--regime",
        metavar="NAME",
        help=f"how to train: one of {', '.join(REGIMES.names_in_files())}; see `regimes` (default: scratch, or finetune"
        " with --start, by one cosine)",
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], dest="settings", metavar="NAME=VALUE", help="its parameters"
    )
    parser.add_argument(
        "--data",
        action="append",
        metavar="SPEC",
        help=f"labelled data (default {DATA}); may be given several times: all pictures together",
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="SPEC",
        help="unlabelled pictures of another domain, of a regime that adapts to them; may be given several times",
    )
    parser.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="SPEC",
        help="labelled pictures apart, of a regime that chooses something by them; may be given several times",
    )
    parser.add_argument(
        "--validate",
        action="append",
        default=[],
        metavar="SPEC",
        help="labelled pictures apart: mIoU of all that is saved, and of epochs that save nothing, while the run goes"
        " on; changes no checkpoint; may be given several times",
    )
    parser.add_argument(
        "--validate-count",
        type=int,
        default=VALIDATED,
        metavar="N",
        help=f"how many of these, evenly spread (default {VALIDATED}; 0: all)",
    )
    parser.add_argument("--split", help="split of the data, in place of @split")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the checkpoints")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="train from this one instead of from scratch")
    add_group(parser)
    parser.add_argument(
        "--arch",
        help=f"one of {', '.join(ARCHITECTURES.names_in_files())} (default: that of --start, else {plan.architecture})",
    )
    parser.add_argument("--model", action="append", default=[], metavar="FILE.py:FACTORY", help="your own network")
    parser.add_argument(
        "--classes", type=int, help="outputs of the network (default: those of --start, else the classes of the data)"
    )
    parser.add_argument("--seed", type=int, default=plan.seed, help="initialisation, order of pictures and dropout")
    parser.add_argument("--epochs", type=int, default=plan.epochs)
    parser.add_argument("--batch", type=int, default=plan.batch)
    parser.add_argument("--lr", type=float, help="highest learning rate (default 0.05; with --regime the regime's)")
    parser.add_argument("--momentum", type=float, help="default: the regime's")
    parser.add_argument("--weight-decay", type=float, help="default: the regime's")
    parser.add_argument(
        "--schedule", choices=sorted(SCHEDULES), help="over the whole run (default cosine; with --regime the regime's)"
    )
    parser.add_argument(
        "--crop", metavar="HxW", help=f"random crop (default {CROP}, or the square that the network sees at a time)"
    )
    parser.add_argument(
        "--clip",
        type=float,
        default=plan.clip,
        metavar="NORM",
        help="largest norm of a step's gradients (default: any)",
    )
    parser.add_argument("--plain-loss", action="store_true", help="leave the class weights out of the cross-entropy")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--cost", action="store_true", help="train three batches, write nothing, and say how long the whole run takes"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.set_defaults(measures=False)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Train and list the epochs and the files."""
    regime = _regime(given)
    crop = _size(given.crop) if given.crop else None
    from fusionlib.architectures.sized import made_by_name
    from fusionlib.architectures.user import register_user_models
    from fusionlib.engine.network import choose_device
    from fusionlib.lab.loop import Trainer

    own = register_user_models(given.model)
    data, target = _opened(given.data or [DATA], given.split), _opened(given.target, None)
    select = _opened(given.select, None)
    validate = _spread(_opened(given.validate, None), given.validate_count)
    start = _start(given)
    known = _recognised(given, start)
    asked = given.arch and made_by_name(given.arch, ARCHITECTURES)
    name = asked or (own[0] if own and start is None else known[0] if known else TrainingPlan().architecture)
    outputs = known[1] if known and known[0] == name and not given.classes else None
    _refuse_another_run(given)
    trainer = Trainer(
        _plan(given, name, given.classes or outputs or data.label_space.count, crop),
        data,
        regime,
        given.out,
        target=target,
        select=select,
        validate=validate,
        start=start,
        as_data=outputs is not None and outputs != data.label_space.count,
        groups=given.group,
        device=choose_device(given.device),
        command=given.command,
    )
    if given.cost:
        return trainer.outlay()
    if given.resume:
        trainer.resume()
    with progress_bar("train") as progress, _interruptible(progress) as told:
        log = trainer.run(_unless_alone(told))
    looked = trainer.validation
    unmet = [f"The {outputs} outputs of the start count as their counterparts of {data.label_space.title}"] * bool(
        trainer.counts_as
    )
    unmet += _otherwise(regime, ARCHITECTURES.get(name), start is not None)
    return {
        "out": str(given.out),
        "regime": REGIMES.name_of(type(regime)),
        "epochs": log,
        "points": [{"file": one.file, "role": one.role, "step": one.step, "lr": one.lr} for one in trainer.points],
        "validation": looked
        and {
            "data": looked.source.spec,
            "pictures": looked.source.pictures,
            "figures": [asdict(one) for one in looked.figures],
        },
        "notes": [*data.notes, *(target.notes if target else ()), *(select.notes if select else ()), *unmet],
    }


def _plan(given: argparse.Namespace, name: str, classes: int, crop: tuple[int, int] | None) -> TrainingPlan:
    """What every regime goes by; a network of windows is trained on squares of their size."""
    side = (ARCHITECTURES.get(name).preprocessing.window or (0,))[0]
    return TrainingPlan(
        architecture=name,
        classes=classes,
        seed=given.seed,
        epochs=given.epochs,
        batch=given.batch,
        crop=crop or ((side, side) if side else _size(CROP)),
        class_weights=not given.plain_loss,
        clip=given.clip,
    )


def _refuse_another_run(given: argparse.Namespace) -> None:
    """Raises `UsageError` where a new run would lie among the files of another one."""
    if not (given.resume or given.cost) and given.out.is_dir() and _holds_a_run(given.out):
        raise UsageError(
            f"{given.out.name} holds checkpoints of a run already",
            "an empty folder, or --resume",
            "Choose another --out, or add --resume to continue that run",
        )


def _otherwise(regime: Regime, architecture: Architecture, started: bool) -> list[str]:
    """Remarks on a run that is not as its regime is meant, or as its network is trained in its paper."""
    remarks = (
        [] if started or not regime.wants_start else [f"{regime.title} is meant to begin at a trained network: --start"]
    )
    usual = getattr(architecture, "usual", None)
    if usual is not None and getattr(regime, "algorithm", usual.algorithm) != usual.algorithm:
        remarks.append(f"{architecture.title} is usually trained by {usual.options}")
    return remarks


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    if "batches" in result:
        print(f"{result['batches']} batches, {result['seconds_per_batch']:.3g} s each: {result['seconds']:.0f} s")
        if result["validation_passes"]:
            each = result["seconds_per_picture"]
            print(f"of these {result['validation_passes'] * each:.0f} s for validation, {each:.3g} s a picture")
        return
    for epoch in result["epochs"]:
        print(f"epoch {epoch['epoch']:3d}   loss {epoch['loss']:.4f} nats   learning rate {epoch['lr']:.2e}")
    for one in result["validation"]["figures"] if result["validation"] else ():
        what = one["name"] or ("start" if not one["step"] else "network")
        print(f"after step {one['step']:5d}   {what}: mIoU {percent(one['miou'])}")
    roles = {one["role"] for one in result["points"]}
    if roles != {"epoch"}:
        for one in result["points"]:
            print(f"{one['file']}   {one['role']}, after step {one['step']}")
    print(f"checkpoints in {result['out']}")
    show_remarks(result)


@contextmanager
def _interruptible(progress: Progress) -> Iterator[Progress]:
    """The same, which stops at the end of a step where Ctrl+C was pressed: the state is kept. A second one breaks off.

    Only the main thread hears of it.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def told(done: int, total: int) -> None:
        if pressed:
            raise Cancelled
        progress(done, total)

    before = signal.signal(signal.SIGINT, press) if current_thread() is main_thread() else None
    try:
        yield told
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _spread(pictures: Any, count: int) -> Any:
    """Some of the pictures, evenly spread: the first ones of a video are one scene. All for 0; None for None."""
    if count < 0:
        raise UsageError(f"--validate-count {count}", "a number from 1, or 0 for all", "Correct it")
    if pictures is None or not 0 < count < len(pictures):
        return pictures
    from fusionlib.data.selected import Selected

    places = [place * len(pictures) // count for place in range(count)]
    return Selected(pictures, places, f"{count} of them", f"{count} evenly spread")


def _unless_alone(progress: Progress) -> Progress:
    """The same, which stops where the process that asked for it, by `PARENT`, is gone: nobody could stop it then."""
    asked = os.environ.get(PARENT)

    def told(done: int, total: int) -> None:
        if asked is not None and str(os.getppid()) != asked:
            raise Cancelled
        progress(done, total)

    return told


def _regime(given: argparse.Namespace) -> Regime:
    """The regime that was asked for. Without one it is what `train` was before there were any."""
    name = given.regime or ("scratch" if given.start is None else "finetune")
    offered = parameters_of(REGIMES.get(name))
    settings = read_settings(name, offered, given.settings)
    for parameter, (option, default) in OWN.items():
        value = getattr(given, parameter)
        if value is not None and (parameter in settings or parameter not in {item.name for item in offered}):
            raise UsageError(
                f"{option} with --regime {name}",
                "it once, by the option or by --set" if parameter in settings else "a regime that has it",
                "Leave it out",
            )
        if value is None and not given.regime and parameter not in settings:
            value = default
        if value is not None:
            settings[parameter] = value
    return build_regime(name, settings, start=given.start is not None)


def _opened(specs: Sequence[str], split: str | None) -> Any:
    """The pictures of these specs as one dataset; None for none."""
    from fusionlib.data.joined import joined
    from fusionlib.data.spec import open_dataset

    parts: list[Dataset] = [open_dataset(spec, split) for spec in specs]
    return joined(parts) if parts else None


def _start(given: argparse.Namespace) -> Path | None:
    if given.start is not None and is_recipe(given.start):
        return open_files(given, [given.start])[0].path
    return given.start


def _recognised(given: argparse.Namespace, start: Path | None) -> tuple[str, int] | None:
    """The network of the start and how many classes it has; None where there is no start, or nobody knows it."""
    from fusionlib.architectures.recognise import recognise

    if start is None:
        return None
    (file,) = open_files(argparse.Namespace(**{**vars(given), "shows_notes": True}), [start])
    return recognise(file.shapes)


def _holds_a_run(folder: Path) -> bool:
    from fusionlib.lab.manifest import FILE

    return (folder / FILE).exists() or any(folder.glob("epoch-*.safetensors"))


def _size(text: str) -> tuple[int, int]:
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--crop {text}", "HEIGHTxWIDTH, as 128x256", "Correct it")
    return int(height), int(width)
