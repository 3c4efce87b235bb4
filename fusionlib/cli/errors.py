"""`errors A B --alpha 0.75 | errors --recipe R`: which pictures and pixels a merge gains and loses, and on what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionlib.cli.common import (
    add_data,
    add_dtype,
    add_rename,
    add_running,
    open_data,
    open_files,
    open_studio,
    percent,
    progress_bar,
    read_recipe_file,
    show_remarks,
)
from fusionlib.errors import UsageError
from fusionlib.merging.choices import POLICIES, check_policy

if TYPE_CHECKING:
    from fusionlib.data.cache import DecodedCache
    from fusionlib.measures.error_stack import Pixels
    from fusionlib.recipe import Recipe
    from fusionlib.studio import Studio

ALPHA, BUFFERS, AGAINST = 0.5, "average", "better"
FEW = 5
"""Pictures at each end of the list for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        "checkpoints",
        nargs="*",
        type=Path,
        metavar="CHECKPOINT",
        help="two or more: A has weight alpha, B the rest; of more the others share the rest equally",
    )
    parser.add_argument("--alpha", type=float, help=f"weight of the first checkpoint (default {ALPHA:g})")
    parser.add_argument(
        "--recipe", type=Path, metavar="R.yaml", help="any merge in place of checkpoints; A and B are its first two"
    )
    parser.add_argument(
        "--against",
        default=AGAINST,
        metavar="REFERENCE",
        help="a, b, better (of a and b, by mIoU on the data), best, ensemble or oracle of all members, or the same"
        f" merge at alpha=X (default {AGAINST})",
    )
    parser.add_argument(
        "--pixels",
        metavar="WHICH",
        help="list the pictures with these pixels, most first: truths=1;merges=3, transitions=broken, bin=17/20, ...",
    )
    parser.add_argument("--buffers", help=f"one of {', '.join(POLICIES)} (default {BUFFERS})")
    add_dtype(parser)
    add_data(parser)
    add_rename(parser)
    add_running(parser)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """`transitions` in pixels; `per_class`: those of the class's pixels, IoU of both and its change by name; `images`
    with their figures, most gained first; with --pixels those that have such, most first, with their number.
    """
    pixels = _check(given)
    studio = open_studio(given)
    recipe, names, pictures = _of_recipe(given, studio) if given.recipe else _of_files(given, studio)
    analysis = studio.errors.open(recipe, names, pictures, given.against)
    with progress_bar("errors") as progress:
        analysis.measure(progress, fresh=given.fresh)
    found = analysis.snapshot()
    images = analysis.rows("gain", pixels)
    if not pixels.everything:
        images.sort(key=lambda row: -row["pixels"])
    for row in images:
        for name in ("value", "pixels")[: 2 if pixels.everything else 1]:
            del row[name]
    figures = ("pixels", "miou", "pixel_accuracy", "gain", "interval", "units", "gain_accuracy", "confidence")
    return {
        "transitions": found["transitions"],
        "per_class": {row.pop("name"): row for row in analysis.class_rows()},
        "images": images,
        "per_group": {row.pop("name"): row for row in analysis.group_rows()},
        **{name: found[name] for name in (*figures, "boundary_miou")},
        "flicker": analysis.flicker(),
        "networks": names,
        "reference": found["reference"],
        "data": pictures.spec,
        "notes": list(pictures.notes),
    }


def _check(given: argparse.Namespace) -> Pixels:
    """The pixels asked for; a wrong choice is said before anything is read."""
    from fusionlib.measures.error_stack import Pixels

    pixels = Pixels.from_text(given.pixels or "")
    from fusionlib.studies.errors import against_of

    against_of(given.against)
    if given.buffers is not None:
        check_policy(given.buffers)
    if given.recipe:
        named = {"checkpoints": given.checkpoints, "--alpha": given.alpha is not None}
        named |= {"--buffers": given.buffers, "--dtype": given.dtype}
        unread = [name for name, value in named.items() if value]
        if unread:
            raise UsageError(f"--recipe with {', '.join(unread)}", "a recipe, which says all of it", "Leave one out")
    elif len(given.checkpoints) < 2:
        raise UsageError(
            f"{len(given.checkpoints)} checkpoint{'s' * (len(given.checkpoints) != 1)}",
            "two or more, or --recipe R.yaml",
            "Name them",
        )
    elif not 0 <= (ALPHA if given.alpha is None else given.alpha) <= 1:
        raise UsageError(f"--alpha {given.alpha:g}", "0 to 1", "Correct it")
    return pixels


def _of_recipe(given: argparse.Namespace, studio: Studio) -> tuple[Recipe, list[str], DecodedCache]:
    recipe = read_recipe_file(given, given.recipe)
    studio.runner.builder.space(recipe)  # an unknown network is said before data is read
    pictures = open_data(studio, given)
    studio.sources.know(pictures=pictures)
    return recipe, [Path(source.path).stem for source in recipe.checkpoints], pictures


def _of_files(given: argparse.Namespace, studio: Studio) -> tuple[Recipe, list[str], DecodedCache]:
    from fusionlib.engine.recipes import calibration_of, source_of
    from fusionlib.studies.path import MergePath

    opened = open_files(given, given.checkpoints)
    for item in opened:
        studio.network_of(item)
    pictures = open_data(studio, given)
    studio.sources.know(opened, pictures)
    buffers = given.buffers or BUFFERS
    path = MergePath(
        tuple(map(source_of, opened)),
        buffers,
        None if given.dtype in (None, "same") else given.dtype,
        calibration_of(pictures, buffers),
    )
    return path.at(ALPHA if given.alpha is None else given.alpha), [item.name for item in opened], pictures


def show(result: dict[str, Any]) -> None:
    """Print it for people."""
    print(f"A merge of {', '.join(result['networks'])} against {result['reference']}")
    print(f"{result['data']}, {len(result['images'])} pictures, {result['pixels']} labelled pixels")
    for title, name in (("mIoU", "miou"), ("pixel accuracy", "pixel_accuracy"), ("boundary IoU", "boundary_miou")):
        both = result[name]
        before, after = (percent(both.get(one)).strip() for one in ("reference", "merge"))
        print(f"{title:15} {before:>8} -> {after:>8}{_interval(result) if name == 'miou' else ''}")
    for name, pixels in result["transitions"].items():
        share = pixels / result["pixels"] if result["pixels"] else None
        print(f"{name.replace('_', ' '):21}{pixels:>12} {percent(share)}")
    _show_classes(result["per_class"])
    if result["per_group"]:
        _show_classes(result["per_group"])
    _show_pictures(result["images"])
    show_remarks(result)


def _interval(result: dict[str, Any]) -> str:
    from fusionlib.diagnostics.bootstrap import in_points

    if result["interval"] is None:
        return ""
    return f"  (gain {in_points(result['interval'])} points, 95 %, {result['units']})"


def _show_classes(rows: dict[str, dict[str, Any]]) -> None:
    from fusionlib.diagnostics.bootstrap import in_points

    print(f"{'class':18}{'pixels':>10}{'fixed':>10}{'broken':>10}{'IoU':>9}{'merge':>9}{'change':>8}  95 %")
    for name, row in rows.items():
        before, after = (percent(row["iou"][one]).strip() for one in ("reference", "merge"))
        change = "n/a" if row["change"] is None else f"{100 * row['change']:+.2f}"
        interval = in_points(row["interval"]) if row["interval"] else ""
        print(
            f"{name:18}{row['pixels']:>10}{row['fixed']:>10}{row['broken']:>10}{before:>9}{after:>9}{change:>8}"
            f"  {interval}"
        )


def _show_pictures(images: list[dict[str, Any]]) -> None:
    """The first and the last of those with a gain."""
    known = [row for row in images if row["gain"] is not None]
    chosen = known if len(known) <= 2 * FEW else [*known[:FEW], None, *known[-FEW:]]
    held = bool(known) and "pixels" in known[0]
    print(f"{'picture':28}{'gain':>9}{'fixed':>10}{'broken':>10}{'headroom':>10}{'chosen' if held else '':>10}")
    for row in chosen:
        if row is None:
            print("...")
            continue
        print(
            f"{row['name']:28}{100 * row['gain']:>+9.2f}{row['fixed']:>10}{row['broken']:>10}"
            f"{100 * row['headroom']:>10.2f}{row.get('pixels', ''):>10}"
        )
