"""A report as Markdown with PNGs, for a pull request or a lab book."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from PIL import Image

from fusionlib.report.content import LAYERS, Content
from fusionlib.report.page_parts import CELLS, WORDS, score
from fusionlib.report.text import between, code, fenced, percent, points, prose


def markdown(content: Content, folder: str) -> tuple[str, dict[str, bytes]]:
    """The text, and the PNGs that lie in `folder` beside it, by name."""
    images = {
        f"picture-{number:02d}-{name}.png": _png(*one.layers[name])
        for number, one in enumerate(content.pictures, start=1)
        for name in LAYERS
    }
    parts = (_head, _curve, _transitions, _networks, _classes)
    texts = [part(content) for part in parts]
    texts += [_pictures(content, folder), _marked(content), _end(content)]
    return "\n\n".join(filter(None, texts)) + "\n", images


def _head(content: Content) -> str:
    about = f"{code(content.data)}, {content.images} pictures."
    return f"# Report: {code(content.title)}\n\n**{prose(content.sentence)}**\n\n{about}"


def _curve(content: Content) -> str:
    if not content.curve:
        return ""
    rows = [[f"{one['alpha']:g}", percent(one["miou"]), score("loss", one["loss"])] for one in content.curve]
    ends = f"Alpha 0 is {code(content.ends[1])}, 1 is {code(content.ends[0])}."
    return f"## Between the two\n\n{ends}\n\n{_table(['alpha', 'mIoU', 'loss (nats)'], rows)}"


def _transitions(content: Content) -> str:
    if not content.figures:
        return ""
    changed, total = content.figures["transitions"], content.figures["pixels"] or 1
    rows = [[words, f"{changed[name]:,}", percent(changed[name] / total)] for name, words in WORDS.items()]
    return f"## What happens to the pixels\n\n{_table([f'from {code(content.reference)}', 'pixels', 'share'], rows)}"


def _networks(content: Content) -> str:
    rows = [
        [
            code(one.name),
            one.role,
            *(score(name, one.scores[name]) for name in CELLS),
            code(one.about.get("fingerprint") or one.about["build"]),
        ]
        for one in content.networks
    ]
    return f"## Networks\n\n{_table(['network', 'role', *CELLS.values(), 'fingerprint or build'], rows)}"


def _classes(content: Content) -> str:
    if not content.classes:
        return ""
    rows = [
        [
            code(row["name"]),
            *(percent(row["iou"][one], 1) for one in ("reference", "merge")),
            points(row["change"]),
            between(row["interval"]),
            *(f"{row[one]:,}" for one in ("pixels", "fixed", "broken")),
        ]
        for row in content.classes
    ]
    head = ["class", code(content.reference), "merge", "change", "95 %", "pixels", "fixed", "broken"]
    return f"## Class by class\n\n{_table(head, rows)}"


def _pictures(content: Content, folder: str) -> str:
    if not content.pictures:
        return ""
    texts = ["## Pictures"]
    for number, one in enumerate(content.pictures, start=1):
        before, after = (percent(one.miou[name], 1) for name in ("reference", "merge"))
        images = [f"![{name}]({quote(folder)}/picture-{number:02d}-{name}.png)" for name in LAYERS]
        texts += [f"{code(one.name)}: {points(one.gain)} points, {before} to {after}", _table(LAYERS, [images])]
    return "\n\n".join(texts)


def _marked(content: Content) -> str:
    rows = [[code(one.picture), code(one.note)] for one in content.marks]
    return f"## Marked regions\n\n{_table(['picture', 'note'], rows)}" if rows else ""


def _end(content: Content) -> str:
    texts = [f"## Recipe\n\n{fenced(content.recipe, 'json')}"] if content.recipe else []
    facts = [[prose(name), code(value)] for name, value in content.facts]
    texts.append(f"## How it was made\n\n{_table(['what', 'value'], facts)}")
    texts += [f"- {prose(note)}" for note in content.notes]
    if content.left_out:
        texts.append(
            "## Left out\n\n" + "\n".join(f"- {prose(one.what)}: {prose(one.why)}" for one in content.left_out)
        )
    texts += [f"## The same again\n\n{fenced(content.command, 'bash')}"] if content.command else []
    return "\n\n".join(texts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _png(kind: str, data: bytes) -> bytes:
    if kind == "image/png":
        return data
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
