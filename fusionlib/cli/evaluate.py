"""`evaluate F --data SPEC`: figures of one checkpoint, or with `--with` of several that answer together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.calibration import show_calibration
from fusionlib.cli.common import (
    add_data,
    add_rename,
    add_running,
    one_network,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
    tiles_note,
)
from fusionlib.errors import UsageError
from fusionlib.measures.bins import DEFAULT_BINS, OFFERED_BINS, check_bins
from fusionlib.merging.choices import RULES

if TYPE_CHECKING:
    from fusionlib.recipe import Recipe, Views
    from fusionlib.studio import Studio

_RULE = "softmax"
_BY_CLASS = ("iou", "precision", "recall", "support")
_OFFERED = ", ".join(map(str, OFFERED_BINS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a recipe")
    parser.add_argument(
        "--with",
        dest="others",
        nargs="+",
        default=[],
        type=Path,
        metavar="CHECKPOINT",
        help="further networks that answer together with the first: an output ensemble, a forward pass each",
    )
    parser.add_argument(
        "--rule", choices=tuple(RULES), help=f"how an ensemble's outputs are combined (default {_RULE})"
    )
    parser.add_argument(
        "--scales",
        metavar="S,S,...",
        help="answer to each picture at these scales, as 0.5,1,1.5, and average the probabilities: a pass for each",
    )
    parser.add_argument("--flip", action="store_true", help="answer to mirrored pictures as well: twice the passes")
    add_data(parser)
    parser.add_argument(
        "--calibration", action="store_true", help="also how sure the network is, and how often it is right"
    )
    parser.add_argument(
        "--bins", type=int, help=f"bins of confidence, with --calibration: {_OFFERED} (default {DEFAULT_BINS})"
    )
    parser.add_argument(
        "--fine",
        action="store_true",
        help="with --calibration: exact adaptive ECE and AUROC, also by class, from 5040 bins (a pass of its own)",
    )
    parser.add_argument(
        "--measure",
        dest="further",
        action="append",
        default=[],
        metavar="NAME",
        help="also this measure of one network, see `measures`; may be given several times",
    )
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Figures as fractions and nats; per class by name, None where a class is absent.

    On pictures without masks there are those of `--measure` alone.
    """
    bins, rule = _checked(given)
    from fusionlib.cli.further import further_measures, named_figures, need_no_masks
    from fusionlib.diagnostics.evidence import guesses
    from fusionlib.measures.annotation import annotation_warnings
    from fusionlib.measures.calibration_summary import calibration_summary
    from fusionlib.recipe import AT_ONCE
    from fusionlib.runs.runner import BASIC

    further = further_measures(given.further)
    studio = open_studio(given)
    recipe, prints = _recipe(given, studio, rule)
    if (views := _views(given)) is not None:
        recipe = recipe.model_copy(update={"views": views})
    pictures = open_data(studio, given)
    asked = {"calibration": given.calibration, "calibration_fine": given.fine}
    measures = dict.fromkeys((*BASIC, *(name for name, wanted in asked.items() if wanted), *further))
    if not pictures.labelled and further and not given.calibration:
        measures = dict.fromkeys(need_no_masks(further, pictures.title))
    with progress_bar("evaluate") as progress:
        figures = studio.measure(recipe, pictures, progress, measures=tuple(measures), fresh=given.fresh)
    classes = figures.pop("classes")
    named = named_figures(further, figures, classes)
    record = figures.pop("calibration", None)
    calibration = calibration_summary(record, bins) if given.calibration else {}
    scored = "miou" in figures
    warnings = annotation_warnings(figures, classes) if scored else []
    if figures.get("undefined_pixels"):
        warnings = [f"The network's answer is no number (NaN) at {figures['undefined_pixels']} pixels", *warnings]
    by_class = {name: dict(zip(classes, figures[name], strict=True)) for name in _BY_CLASS if scored}
    forwards = figures.pop("forwards")
    ensemble = {"with": [str(path) for path in given.others], "rule": rule} if given.others else {}
    if forwards > (recipe.views or AT_ONCE).count and not given.others:
        ensemble = {"method": recipe.method, "parameters": recipe.parameters}
    views = {} if recipe.views is None else {"views": recipe.views.model_dump(mode="json")}
    return {
        "path": str(given.checkpoint),
        "fingerprint": prints,
        **({"forwards": forwards} if forwards > 1 else {}),
        **ensemble,
        **views,
        "data": pictures.spec,
        **figures,
        **by_class,
        **named,
        **({"measures": list(further)} if further else {}),
        **({"guesses": guesses(figures)} if scored else {}),
        **calibration,
        "notes": list(pictures.notes),
        "warnings": warnings,
    }


def _recipe(given: argparse.Namespace, studio: Studio, rule: str) -> tuple[Recipe, str]:
    """The network to be measured, and the SHA-256 of the first file; an unknown network is said before data is read."""
    from fusionlib.engine.recipes import write_recipe

    if not given.others:
        recipe = one_network(given, given.checkpoint, studio)
        return recipe, recipe.checkpoints[0].fingerprint
    opened = open_files(given, [given.checkpoint, *given.others])
    for item in opened:
        studio.network_of(item)
    studio.sources.know(opened)
    return write_recipe(opened, "ensemble", {"rule": rule}, "average"), opened[0].fingerprint


def _views(given: argparse.Namespace) -> Views | None:
    """What `--scales` and `--flip` ask for; None where neither is given."""
    if given.scales is None and not given.flip:
        return None
    from fusionlib.recipe import Views

    try:
        scales = [float(one) for one in ("1" if given.scales is None else given.scales).split(",")]
        return Views(scales=tuple(scales), flip=given.flip)
    except ValueError as error:
        raise UsageError(
            f"--scales {given.scales}", "1 to 16 numbers from 0.1 to 8 with commas between", "As in --scales 0.5,1,1.5"
        ) from error


def _checked(given: argparse.Namespace) -> tuple[int, str]:
    """Bins and rule, given or by default. An option that nothing would read is a mistake, not a wish."""
    if given.bins is not None and not given.calibration:
        raise UsageError(
            f"--bins {given.bins} without --calibration",
            "the calibration that they are bins of",
            "Add --calibration, or leave --bins out",
        )
    if given.fine and not given.calibration:
        raise UsageError("--fine without --calibration", "the calibration that it makes exact", "Add --calibration")
    if given.rule is not None and not given.others:
        raise UsageError(
            f"--rule {given.rule} without --with",
            "the networks that answer together",
            "Add --with, or leave --rule out",
        )
    bins = DEFAULT_BINS if given.bins is None else given.bins
    check_bins(bins)
    return bins, given.rule or _RULE


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    names = ", ".join([result["path"], *result.get("with", ())])
    print(f"{names} on {result['data']}, {result['images']} pictures")
    if "forwards" in result:
        what = f"output ensemble, rule {result['rule']}" if "rule" in result else f"networks of {result.get('method')}"
        if "views" in result:
            seen = _view_words(result["views"])
            what = f"{what}, {seen}" if {"rule", "method"} & set(result) else seen
        print(f"{what}: {result['forwards']} forward passes a picture, a merge costs one")
    elif "views" in result:
        print(_view_words(result["views"]))
    print(tiles_note(result), end="")
    if "miou" in result:
        _show_scores(result)
    else:
        print("no masks: measured is what needs none")
    if "bins" in result:
        show_calibration(result)
    if "measures" in result:
        from fusionlib.cli.further import show_further

        show_further(result["measures"], result)
    show_remarks(result)


def _view_words(views: dict[str, Any]) -> str:
    from fusionlib.recipe import Views

    return Views(**views).words


def _show_scores(result: dict[str, Any]) -> None:
    """What the masks say, as a whole and by class."""
    loss = "n/a" if result["loss"] is None else f"{result['loss']:.4f} nats"
    print(f"mIoU {percent(result['miou'])}   pixel accuracy {percent(result['pixel_accuracy'])}   loss {loss}")
    if result["guesses"]:
        print(
            f"This is guessing: the commonest class everywhere has mIoU {percent(result['blind']['miou']).strip()}, "
            f"pixel accuracy {percent(result['blind']['pixel_accuracy']).strip()}"
        )
    print(f"{'class':18}{'IoU':>10}{'precision':>12}{'recall':>10}")
    for name, value in result["iou"].items():
        print(
            f"{name:18}{percent(value):>10}{percent(result['precision'][name]):>12}{percent(result['recall'][name]):>10}"
        )
