"""Sections of the page of a report. Every text from outside goes through `escaped`."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from fusionlib.report.content import LAYERS, Content, Mark, Network, Shown
from fusionlib.report.pictures import COLOURS
from fusionlib.report.text import between, escaped, lines_escaped, percent, points

WORDS = {
    "both_right": "both right",
    "fixed": "fixed by the merge",
    "broken": "broken by the merge",
    "both_wrong_same": "both wrong, the same",
    "both_wrong_different": "both wrong, differently",
}
CELLS = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "loss": "loss (nats)", "ece": "ECE"}


def score(name: str, value: float | None) -> str:
    """A figure of `CELLS` as text."""
    return percent(value) if name != "loss" else "n/a" if value is None else f"{value:.4f}"


def keys(content: Content) -> str:
    """The figures that are read from the back of a room."""
    merge = next(one for one in content.networks if one.role == "merge")
    entries = [("mIoU", percent(merge.scores["miou"]), "")]
    if found := content.figures:
        best = next(one for one in content.networks if one.role == "best")
        total, changed = found["pixels"] or 1, found["transitions"]
        entries = [
            ("mIoU of the merge", percent(merge.scores["miou"]), ""),
            (f"of {content.reference}", percent(best.scores["miou"]), ""),
            ("gain, points", points(found["gain"]), _direction(found["gain"])),
            ("pixels fixed", percent(changed["fixed"] / total), "up"),
            ("pixels broken", percent(changed["broken"] / total), "down"),
        ]
    cells = (
        f'<div><dt>{escaped(what)}</dt><dd class="{kind}">{escaped(value)}</dd></div>' for what, value, kind in entries
    )
    return f'<dl class="keys">{"".join(cells)}</dl>'


def curve(content: Content) -> str:
    """Where the merge lies between its members."""
    if not content.curve:
        return ""
    inner = [point for point in content.curve if point["miou"] is not None]
    best = max(inner, key=lambda point: point["miou"], default=None)
    said = "" if best is None else f"Best at alpha {best['alpha']:g}: mIoU {percent(best['miou'])}."
    text = f'<p class="quiet">{said} The diamond is the merge of this report.</p>' if content.here is not None else ""
    return f'{_heading("Between the two", "curve")}{text}<div class="chart" id="curve-chart"></div>'


def transitions(content: Content) -> str:
    """What becomes of the labelled pixels."""
    if not content.figures:
        return ""
    changed, total = content.figures["transitions"], content.figures["pixels"] or 1
    parts = "".join(
        f'<span style="width:{100 * changed[name] / total:.4f}%;background:{_colour(COLOURS[name])}"'
        f' title="{escaped(WORDS[name])}"></span>'
        for name in COLOURS
    )
    entries = "".join(
        f"<li>{_swatch(COLOURS[name])}{escaped(WORDS[name])} {percent(changed[name] / total)}"
        f' <span class="quiet">({changed[name]:,})</span></li>'
        for name in COLOURS
    )
    said = f"{content.figures['pixels']:,} labelled pixels, from {content.reference} to the merge."
    text = f'<p class="quiet">{escaped(said)}</p><div class="bar">{parts}</div><ul class="legend">{entries}</ul>'
    return f"{_heading('What happens to the pixels', 'transitions')}{text}"


def networks(content: Content) -> str:
    """The merge and what it is held against, with their own scores; then what is known of the files."""
    head = ["network", *CELLS.values()]
    several = len(content.networks) > 2
    rows = [[_named(one, several), *(score(name, one.scores[name]) for name in CELLS)] for one in content.networks]
    kinds = [one.role for one in content.networks]
    abouts = list(dict.fromkeys(name for one in content.networks for name in one.about))
    files = [[escaped(one.name), *(escaped(one.about.get(name, "")) for name in abouts)] for one in content.networks]
    return (
        f"{_heading('Networks', 'networks')}{_table(head, rows, kinds)}"
        f'<h3 style="margin-top:28px">Workspace</h3>{_table(["network", *abouts], files, text=True)}'
    )


def classes(content: Content) -> str:
    """IoU of every class, its change and what became of its pixels."""
    if not content.classes:
        return ""
    rows = []
    for row, (_, colour) in zip(content.classes, content.legend, strict=True):
        changed = row["change"]
        cell = f'<span class="{_direction(changed)}">{points(changed)}</span>'
        interval = between(row["interval"])
        iou = [percent(row["iou"][one], 1) for one in ("reference", "merge")]
        pixels = [f"{row[one]:,}" for one in ("pixels", "fixed", "broken")]
        rows.append([_swatch(colour) + escaped(row["name"]), *iou, cell, interval, *pixels])
    head = ["class", content.reference, "merge", "change", "95 %", "pixels", "fixed", "broken"]
    chart = (
        '<div class="chart" id="class-chart"></div>'
        if any(one["change"] is not None for one in content.classes)
        else ""
    )
    return f'{_heading("Class by class", "classes")}<div class="two">{chart}<div>{_table(head, rows)}</div></div>'


def pictures(content: Content) -> str:
    """The pictures that gain most and those that lose most, each with a wipe."""
    if not content.pictures:
        return ""
    sides = {
        "Gains most": [one for one in content.pictures if one.gain > 0],
        "Loses most": [one for one in content.pictures if one.gain <= 0],
    }
    legend = "".join(f"<li>{_swatch(colour)}{escaped(name)}</li>" for name, colour in content.legend)
    text = '<p class="quiet">Drag across a picture, or use the arrow keys on it.</p>'
    return "".join(
        f'{_heading(title, title.split()[0].lower())}{text}<ul class="legend">{legend}</ul>'
        f'<div class="cards">{"".join(_card(one, content) for one in shown)}</div>'
        for title, shown in sides.items()
        if shown
    )


def marked(content: Content) -> str:
    """Regions that somebody has marked."""
    if not content.marks:
        return ""
    rows = [
        [escaped(one.picture), escaped(one.note), "" if one.pixels is None else f"{one.pixels:,}"]
        for one in content.marks
    ]
    return f"{_heading('Marked regions', 'marked')}{_table(['picture', 'note', 'pixels'], rows)}"


def recipe(content: Content) -> str:
    """The recipe, to read and to take away."""
    if not content.recipe:
        return ""
    data = base64.b64encode(content.recipe.encode()).decode()
    link = (
        f'<a class="button" download="recipe.json" href="data:application/json;base64,{data}">Download recipe.json</a>'
    )
    return f"{_heading('Recipe', 'recipe')}<pre>{lines_escaped(content.recipe)}</pre><p>{link}</p>"


def how_made(content: Content) -> str:
    """Versions, device, fingerprints."""
    entries = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in content.facts)
    notes = "".join(f"<li>{escaped(note)}</li>" for note in content.notes)
    return f'{_heading("How it was made", "made")}<dl class="facts">{entries}</dl>' + (
        f'<ul class="left">{notes}</ul>' if notes else ""
    )


def command(content: Content) -> str:
    """What makes the report again."""
    return (
        f"{_heading('The same again', 'command')}<pre>{lines_escaped(content.command)}</pre>" if content.command else ""
    )


def left_out(content: Content) -> str:
    """What is not in the report, and why."""
    if not content.left_out:
        return ""
    entries = "".join(f"<li>{escaped(one.what)}: {escaped(one.why)}.</li>" for one in content.left_out)
    return f'{_heading("Left out", "left")}<ul class="left">{entries}</ul>'


def _card(shown: Shown, content: Content) -> str:
    width, height = shown.size
    marks = _outlines([one for one in content.marks if one.picture == shown.name and one.box])
    words = {name: escaped(content.reference if name == "reference" else name) for name in LAYERS}
    images = "".join(
        f'<figure><img src="data:{kind};base64,{base64.b64encode(data).decode()}" width="{width}" height="{height}"'
        f' alt="{words[name]}" data-layer="{name}"{"" if name == "picture" else " class=map"}>{words[name]}</figure>'
        for name in LAYERS
        for kind, data in (shown.layers[name],)
    )
    before, after = (percent(shown.miou[one], 1) for one in ("reference", "merge"))
    domain = f", {escaped(shown.domain)}" if shown.domain not in ("", shown.name) else ""
    return (
        f'<figure class="card"><figcaption><h3>{escaped(shown.name)}</h3><span class="small quiet">'
        f'<b class="{_direction(shown.gain)}">{points(shown.gain)}</b> points, {before} to {after}{domain}</span>'
        f'</figcaption><div class="layers">{images}</div>{marks}</figure>'
    )


def _outlines(marks: Sequence[Mark]) -> str:
    """What is marked, drawn over the wipe by the page, and its notes for those who read."""
    if not marks:
        return ""
    drawn = "".join(f"{_outline(one)}" for one in marks)
    notes = "".join(f"<li>{escaped(one.note or 'marked')}</li>" for one in marks)
    return (
        f'<svg class="marks" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        f'<ol class="small notes">{notes}</ol>'
    )


def _outline(mark: Mark) -> str:
    x, y, width, height = mark.box or (0.0, 0.0, 0.0, 0.0)
    if mark.shape == "ellipse":
        return (
            f'<ellipse cx="{x + width / 2:.5f}" cy="{y + height / 2:.5f}" rx="{width / 2:.5f}" ry="{height / 2:.5f}"/>'
        )
    return f'<rect x="{x:.5f}" y="{y:.5f}" width="{width:.5f}" height="{height:.5f}"/>'


def _named(one: Network, several: bool) -> str:
    best = several and one.role == "best"
    return escaped(one.name) + (' <span class="quiet">best of the others</span>' if best else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = (), text: bool = False) -> str:
    """Cells are HTML already, titles are not."""
    style = ' class="text"' if text else ""
    titles = "".join(f"<th{style}>{escaped(title)}</th>" for title in head)
    lines = [
        f'<tr class="{kinds[number] if kinds else ""}">{"".join(f"<td{style}>{cell}</td>" for cell in row)}</tr>'
        for number, row in enumerate(rows)
    ]
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _heading(title: str, anchor: str) -> str:
    return f'<h2 id="{anchor}">{escaped(title)}</h2>\n'


def _swatch(colour: Sequence[int]) -> str:
    return f'<span class="swatch" style="background:{_colour(colour)}"></span>'


def _colour(colour: Sequence[int]) -> str:
    red, green, blue = (int(part) for part in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _direction(change: float | None) -> str:
    rounded = round(change or 0.0, 4)
    return "" if not rounded else "up" if rounded > 0 else "down"
