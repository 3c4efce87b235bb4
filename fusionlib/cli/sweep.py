"""`sweep A B [C ...] --data SPEC --step 0.05`: the interpolation curve; with `--vary` that of any parameter."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_rename,
    add_running,
    open_files,
    open_studio,
    percent,
    progress_bar,
    show_remarks,
    show_verdict,
    tiles_note,
    weights_say,
)
from fusionlib.cli.settings import parse_settings
from fusionlib.contracts import METHODS
from fusionlib.diagnostics.evidence import SHARE
from fusionlib.errors import UsageError
from fusionlib.merging.choices import POLICIES, check_policy
from fusionlib.studies.grid import alpha_grid

if TYPE_CHECKING:
    from fusionlib.checkpoints.reader import Checkpoint
    from fusionlib.data.cache import DecodedCache
    from fusionlib.studio import Studio
    from fusionlib.studio.varied import Wish

METHOD, STEP = "linear", 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "checkpoints",
        nargs="+",
        type=Path,
        metavar="CHECKPOINT",
        help="two or more: A has weight alpha, B the rest; of more the others share the rest equally",
    )
    parser.add_argument(
        "--method", help=f"one of {', '.join(METHODS.names_in_files())} (default {METHOD}); see `methods`"
    )
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="parameters that stay as they are"
    )
    parser.add_argument(
        "--vary",
        action="append",
        metavar="NAME=FROM:TO:STEP",
        help="the parameter of the curve, TO included (default: alpha by --step); a second one gives a map",
    )
    parser.add_argument("--step", type=float, help=f"distance between alphas (default {STEP:g})")
    parser.add_argument("--buffers", default="average", help=f"one of {', '.join(POLICIES)} (default average)")
    add_dtype(parser)
    add_data(parser, several=True)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """With one dataset and without `--vary` points in order of alpha, the best one by mIoU, and A and B alone; else
    `curves`, one per dataset.
    """
    check_policy(given.buffers)
    wish, names = _wish(given), given.checkpoints
    if len(names) < 2:
        raise UsageError(f"One checkpoint, {names[0].name}", "two or more to merge", "Name another checkpoint")
    studio = open_studio(given)
    files = open_files(given, names)
    if len(given.data) > 1 or given.vary:
        return _curves(studio, files, wish, given)
    if wish.method == METHOD and not given.set:
        return _alphas(studio, files, given)
    return _rival(studio, files, wish, given)


def _wish(given: argparse.Namespace) -> Wish:
    from fusionlib.studies.vary import numbers_of, values_of
    from fusionlib.studio.varied import Wish

    method = given.method or METHOD
    settings = parse_settings(method, given.set)
    second: tuple[str, tuple[float, ...]] = "", ()
    if given.vary is None:
        name, values = "alpha", alpha_grid(STEP if given.step is None else given.step)
        numbers = [item.name for item in numbers_of(method)]
        if name not in numbers:
            raise UsageError(
                f"--method {method} without --vary",
                f"a parameter that is a number: {', '.join(numbers)}" if numbers else "a method with such a parameter",
                f"Give --vary {numbers[0]}=FROM:TO:STEP" if numbers else "See `methods`",
            )
    else:
        if given.step is not None:
            raise UsageError("--step with --vary", "one of the two: --vary has a step", "Leave --step out")
        if len(given.vary) > 2:
            raise UsageError(f"{len(given.vary)} times --vary", "one for a curve, two for a map", "Leave others out")
        name, values = values_of(method, given.vary[0])
        second = values_of(method, given.vary[1]) if len(given.vary) == 2 else second
    return Wish(method, settings, name, values, given.buffers, given.dtype, *second).checked()


def _pictures(studio: Studio, given: argparse.Namespace) -> list[DecodedCache]:
    specs = dict.fromkeys(given.data)
    return [studio.workspace.open_pictures(spec, given.split, given.limit) for spec in specs]


def _alphas(studio: Studio, files: Sequence[Checkpoint], given: argparse.Namespace) -> dict[str, Any]:
    """The curve over alpha, as the Explore page has it."""
    view = studio.views.view_files(files, lambda: _pictures(studio, given)[0], given.buffers, given.dtype)
    sweep = studio.sweep(view)
    with progress_bar("sweep") as progress:
        result = sweep.measure(STEP if given.step is None else given.step, progress, fresh=given.fresh)
    shown = {point["alpha"] for point in result["points"]}
    return {
        **result,
        "also_known": [point for point in sweep.snapshot()["points"] if point["alpha"] not in shown],
        "classes": list(view.space.names),
        "verdict": studio.outlook(view, sweep),
        "notes": list(view.need_pictures().notes),
    }


def _curves(studio: Studio, files: Sequence[Checkpoint], wish: Wish, given: argparse.Namespace) -> dict[str, Any]:
    """One curve per dataset over the parameter that varies."""
    from fusionlib.studio.varied import measure, varied

    study, pictures = varied(files, wish, studio.runner, lambda: _pictures(studio, given))
    with progress_bar(f"sweep of {wish.points} points") as progress:
        table = measure(study, studio.runner, pictures, progress, fresh=given.fresh)
    several = len(table["curves"]) > 1
    warnings = [
        f"{curve['data']}: {text}" if several else text for curve in table["curves"] for text in curve.pop("warnings")
    ]
    return {
        **table,
        "method": wish.method,
        "parameters": dict(wish.parameters),
        "buffers": wish.buffers,
        "verdict": _verdict(studio, files, wish, study.recipe.shared is not None, list(pictures.values())),
        "notes": list(dict.fromkeys(note for one in pictures.values() for note in one.notes)),
        "warnings": warnings,
    }


def _rival(studio: Studio, files: Sequence[Checkpoint], wish: Wish, given: argparse.Namespace) -> dict[str, Any]:
    """The curve over another method's alpha, in the form of the usual one."""
    from fusionlib.engine.recipes import recipe_alone

    found = _curves(studio, files, wish, given)
    (curve,) = found.pop("curves")
    ends = {}
    for letter, file in zip("abcdefgh", files, strict=False):
        with progress_bar(file.name) as progress:
            ends[letter] = studio.runner.measure(
                recipe_alone(file), _pictures(studio, given)[0], progress, fresh=given.fresh
            )
    best = curve["best"]
    return {
        "points": [{"alpha": point.pop("value"), **point} for point in curve["points"]],
        "best": best and {"alpha": best["value"], "miou": best["miou"]},
        **ends,
        "also_known": [],
        "images": curve["images"],
        "classes": curve["classes"],
        **found,
    }


def _verdict(
    studio: Studio, files: Sequence[Checkpoint], wish: Wish, shared: bool, pictures: Sequence[DecodedCache]
) -> dict[str, Any] | None:
    """What the weights say, and on one dataset what is measured of the curve between two; None for a method that does
    not average them as they are.
    """
    if not METHODS.get(wish.method).averages:
        return None
    if shared or len(pictures) > 1:
        return weights_say(files, studio.outlooks, shared=shared)
    return studio.curves.outlook(studio.outlooks.of_files(files), files, wish.buffers, wish.dtype, pictures[0])


def show(result: dict[str, Any]) -> None:
    """Print it for people: a table per dataset, the best of each marked."""
    curves = result.get("curves") or [{**result, "parameter": "alpha", "data": ""}]
    for number, curve in enumerate(curves):
        points = curve["points"]
        if "curves" in result:
            gap = "\n" if number else ""
            print(f"{gap}{curve['data']}, {curve['images']} pictures, {result['method']}")
        print(tiles_note(points[0] if points else None), end="")
        _show_points(curve, points)
    show_verdict(result["verdict"])
    if len(curves) == 1 and (text := other_best(curves[0], result["verdict"], result.get("also_known", ()))):
        print(text)
    show_remarks(result)


def other_best(curve: dict[str, Any], verdict: dict[str, Any] | None, also: Sequence[dict[str, Any]]) -> str:
    """Why the alpha that the verdict rests on is another one than is marked; nothing where it is the same."""
    judged = verdict and verdict["evidence"]["best_alpha"]
    best = (curve["best"] or {}).get("alpha", (curve["best"] or {}).get("value"))
    if judged is None or curve["parameter"] != "alpha" or best is None or judged == best:
        return ""
    earlier = next((point for point in also if point["alpha"] == judged), None)
    if earlier is not None:
        return f"alpha {judged:g}: known from an earlier run, mIoU {percent(earlier['miou']).strip()}"
    return (
        f"alpha {best:g} is marked: the best of all; the verdict is on merges of alpha {SHARE:g} to {1 - SHARE:g},"
        f" of which alpha {judged:g} is the best"
    )


def _show_points(curve: dict[str, Any], points: Sequence[dict[str, Any]]) -> None:
    name, best = curve["parameter"], curve["best"] or {}
    key = "alpha" if "alpha" in (points or [{}])[0] else "value"
    width, second = max(6, len(name)), curve.get("second", "")
    beside = f"{second:>{len(second) + 6}}" if second else ""
    print(f"{name:>{width}}{beside}{'mIoU':>11}{'accuracy':>11}{'loss':>9}")
    for point in points:
        mark = "  best" if point[key] == best.get(key) and point.get("second_value") == best.get("second_value") else ""
        beside = f"{point['second_value']:{len(second) + 6}g}" if second else ""
        loss = "n/a" if point["loss"] is None else f"{point['loss']:.4f}"
        print(
            f"{point[key]:{width}g}{beside}{percent(point['miou']):>11}{percent(point['pixel_accuracy']):>11}{loss:>9}{mark}"
        )
