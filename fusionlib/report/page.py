"""A report as one HTML file: it opens from disk, asks for nothing and runs nothing but what is in it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from fusionlib.charts.report import class_figure, curve_figure
from fusionlib.report.content import Content
from fusionlib.report.page_parts import (
    classes,
    command,
    curve,
    how_made,
    keys,
    left_out,
    marked,
    networks,
    pictures,
    recipe,
    transitions,
)
from fusionlib.report.text import escaped, in_chart, in_script

ASSETS = Path(__file__).parents[2] / "assets" / "report"


def page(content: Content) -> str:
    """The whole file. Its policy names the scripts by their hashes: nothing else runs, whatever a name says."""
    scripts = [get_plotlyjs(), (ASSETS / "page.js").read_text(encoding="utf-8")]
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    data = in_script(charts(content))
    parts = (curve, transitions, networks, classes, pictures, marked, recipe, how_made, left_out)
    body = "\n".join(part(content) for part in parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escaped(content.title)}</title>
<link rel="icon" href="data:,">
<style>{(ASSETS / "page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header>
<h1>{escaped(content.title)}</h1>
<p class="quiet">{escaped(content.data)}, {content.images} pictures</p>
<p class="verdict {escaped(content.level)}">{escaped(content.sentence)}</p>
{keys(content)}
</header>
{body}
{command(content)}
</main>
<script type="application/json" id="charts">{data}</script>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""


def charts(content: Content) -> dict[str, Any]:
    """Figures by the place where they stand, as Plotly's JSON."""
    found = {}
    if content.curve:
        ends = (in_chart(content.ends[0]), in_chart(content.ends[1]))
        merge = next(one.scores for one in content.networks if one.role == "merge")
        here = None if content.here is None else (content.here, merge)
        found["curve-chart"] = curve_figure(content.curve, ends, here)
    if any(row["change"] is not None for row in content.classes):
        found["class-chart"] = class_figure([in_chart(row["name"]) for row in content.classes], content.classes)
    return {name: json.loads(figure.to_json()) for name, figure in found.items()}


def _hash(script: str) -> str:
    """As a policy names an inline script; a browser makes one line end of all kinds before it looks."""
    text = script.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
