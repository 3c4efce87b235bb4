"""Figures of a search: what was evaluated, along alpha, in a triangle of three weights, or ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusionlib.candidate import SCORES
from fusionlib.charts.colours import ENSEMBLE, MERGE, QUIET, A, B

RANKED = 24
"""Bars of a ranking, the best first."""

LONGEST = 30
"""Characters of a bar's name; the whole is shown on hover."""

Evaluations = Sequence[Mapping[str, Any]]

_PERCENT = ("%", 100)
UNITS = {
    "miou": _PERCENT,
    "pixel_accuracy": _PERCENT,
    "loss": ("nats", 1),
    "ece": _PERCENT,
    "harmonic": _PERCENT,
}

_SIDE = 3**0.5 / 2
"""Height of the triangle whose sides are 1."""


def search_figure(found: Mapping[str, Any], colours: Sequence[str]) -> go.Figure:
    """What a search evaluated, of its snapshot: score over alpha for two, a triangle for three, else a ranking.

    `colours` are those of the checkpoints. `customdata` of a point starts with its number among the evaluations.
    """
    whole = [one for one in found["evaluations"] if "units" not in one]
    if len(found["checkpoints"]) == 2 and len(whole) == len(found["evaluations"]):
        return pair_figure(found, colours)
    if len(found["checkpoints"]) == 3 and len(whole) == len(found["evaluations"]):
        return triangle_figure(found, colours)
    return ranked_figure(found, colours)


def pair_figure(found: Mapping[str, Any], colours: Sequence[str] = (A, B)) -> go.Figure:
    """Score over the weight of the first of two checkpoints, on the pictures to choose by; what is known of the report
    as diamonds. Both alone are dashed lines; evaluations on a part of the pictures are hollow.
    """
    numbered = list(enumerate(found["evaluations"]))
    merges = sorted(
        (pair for pair in numbered if pair[1]["part"] is None and not pair[1]["ensemble"]),
        key=lambda pair: pair[1]["weights"][0],
    )
    figure = go.Figure()
    _alone(figure, found, colours, horizontal=True)
    figure.add_trace(_along(merges, found, "select", "chosen by", MERGE, mode="lines+markers"))
    report = [pair for pair in merges if pair[1]["report"] is not None] if _apart(found) else []
    for pairs, where, name, colour, symbol in (
        (report, "report", "report", MERGE, "diamond-open"),
        ([pair for pair in numbered if pair[1]["part"] is not None], "select", "a part", QUIET, "circle-open"),
        ([pair for pair in numbered if pair[1]["ensemble"]], "select", "ensemble", ENSEMBLE, "square"),
    ):
        if pairs:
            figure.add_trace(_along(pairs, found, where, name, colour, symbol=symbol))
    _star(figure, [pair for pair in merges if is_best(pair[1], found)], found, lambda one: one["weights"][0])
    figure.update_xaxes(title=f"alpha: weight of {plain(found['checkpoints'][0])}", range=[-0.03, 1.03])
    figure.update_yaxes(title=axis_title(found["score"]))
    return laid_out(figure, 380)


def triangle_figure(found: Mapping[str, Any], colours: Sequence[str]) -> go.Figure:
    """Weights of three checkpoints as places in a triangle whose corners are the checkpoints alone; the colour is the
    score on the pictures to choose by. Ensembles are squares.
    """
    numbered = [pair for pair in enumerate(found["evaluations"]) if pair[1]["part"] is None]
    figure = go.Figure(
        go.Scatter(
            x=[0, 1, 0.5, 0],
            y=[0, 0, _SIDE, 0],
            mode="lines",
            line={"color": QUIET, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for number, (name, colour) in enumerate(zip(found["checkpoints"], colours, strict=True)):
        x, y = place_of([float(number == other) for other in range(3)])
        figure.add_annotation(
            x=x, y=y, text=plain(name), showarrow=False, yshift=16 if y else -18, font={"color": colour, "size": 14}
        )
    if numbered:
        figure.add_trace(_coloured(numbered, found))
        _star(figure, [pair for pair in numbered if is_best(pair[1], found)], found, None)
    figure.update_xaxes(visible=False, range=[-0.15, 1.15])
    figure.update_yaxes(visible=False, range=[-0.12, 1.0], scaleanchor="x")
    return laid_out(figure, 460)


def ranked_figure(found: Mapping[str, Any], colours: Sequence[str]) -> go.Figure:
    """A bar for each of the best evaluations on all pictures to choose by, the best on top; checkpoints alone are
    lines, ensembles violet.
    """
    numbered = [pair for pair in enumerate(found["evaluations"]) if pair[1]["part"] is None]
    numbered = [pair for pair in numbered if score_of(pair[1]["select"], found["score"]) is not None]
    sign = SCORES[found["score"]][1]
    ranked = sorted(numbered, key=lambda pair: -sign * _score(pair, found))[:RANKED][::-1]
    names = [f"{words_of(one, found['checkpoints'])} #{number + 1}" for number, one in ranked]
    figure = go.Figure(
        go.Bar(
            x=[_score(pair, found) for pair in ranked],
            y=names,
            orientation="h",
            marker_color=[ENSEMBLE if one["ensemble"] else MERGE for _, one in ranked],
            marker_line={"width": [2 if is_best(one, found) else 0 for _, one in ranked], "color": "#f2b705"},
            customdata=[_about(pair, found) for pair in ranked],
            hovertemplate=_HOVER,
            showlegend=False,
        )
    )
    _alone(figure, found, colours, horizontal=False)
    figure.update_xaxes(title=axis_title(found["score"]), range=_room([_score(pair, found) for pair in ranked]))
    figure.update_yaxes(
        automargin=True, tickmode="array", tickvals=names, ticktext=[plain(_short(name)) for name in names]
    )
    return laid_out(figure, 130 + 24 * len(ranked))


def place_of(weights: Sequence[float]) -> tuple[float, float]:
    """Where three weights lie: the first at (0, 0), the second at (1, 0), the third above."""
    return weights[1] + weights[2] / 2, _SIDE * weights[2]


def score_of(figures: Mapping[str, Any] | None, score: str) -> float | None:
    """A score in the unit of its axis."""
    value = None if figures is None else figures[score]
    return None if value is None else UNITS[score][1] * value


def axis_title(score: str) -> str:
    """The name of a score with its unit: `mIoU (%)`."""
    return f"{SCORES[score][0]} ({UNITS[score][0]})"


def is_best(one: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an evaluation is about what the search found."""
    best = found["best"]
    same = ("weights", "ensemble", "units", "granularity", "anew")
    return best is not None and one["part"] is None and all(one.get(name) == best.get(name) for name in same)


def words_of(one: Mapping[str, Any], names: Sequence[str]) -> str:
    """An evaluation in words: its members with their weights, `ensemble` where they answer together."""
    shares = [f"{name} {share:.3g}" for name, share in zip(names, one["weights"], strict=True) if share]
    kind = "ensemble: " if one["ensemble"] else "profile, mean " if "units" in one else ""
    return kind + ", ".join(shares)


def plain(name: str) -> str:
    """A name with nothing in it acting as markup of a chart."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_HOVER = "<b>%{customdata[1]}</b><br>chosen by: %{customdata[2]}<br>report: %{customdata[3]}<extra></extra>"


def _about(pair: tuple[int, Mapping[str, Any]], found: Mapping[str, Any]) -> list[Any]:
    number, one = pair
    told = [score_of(one[where], found["score"]) for where in ("select", "report")]
    unit = UNITS[found["score"]][0]
    return [
        number,
        plain(words_of(one, found["checkpoints"])),
        *("not measured" if value is None else f"{value:.2f} {unit}" for value in told),
    ]


def _along(
    pairs: Sequence[tuple[int, Mapping[str, Any]]],
    found: Mapping[str, Any],
    where: str,
    name: str,
    colour: str,
    symbol: str = "circle",
    mode: str = "markers",
) -> go.Scatter:
    return go.Scatter(
        x=[one["weights"][0] for _, one in pairs],
        y=[score_of(one[where], found["score"]) for _, one in pairs],
        mode=mode,
        name=name,
        marker={"color": colour, "size": 9, "symbol": symbol},
        line={"color": colour, "width": 2},
        customdata=[_about(pair, found) for pair in pairs],
        hovertemplate=_HOVER,
    )


def _coloured(numbered: Sequence[tuple[int, Mapping[str, Any]]], found: Mapping[str, Any]) -> go.Scatter:
    places = [place_of(one["weights"]) for _, one in numbered]
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        name="evaluated",
        showlegend=False,
        marker={
            "size": 12,
            "symbol": ["square" if one["ensemble"] else "circle" for _, one in numbered],
            "color": [score_of(one["select"], found["score"]) for _, one in numbered],
            "colorscale": "Viridis",
            "reversescale": SCORES[found["score"]][1] < 0,
            "colorbar": {"title": axis_title(found["score"]), "thickness": 12},
            "line": {"width": 1, "color": QUIET},
        },
        customdata=[_about(pair, found) for pair in numbered],
        hovertemplate=_HOVER,
    )


def _alone(figure: go.Figure, found: Mapping[str, Any], colours: Sequence[str], *, horizontal: bool) -> None:
    """A line for each checkpoint alone, on the pictures to choose by."""
    for number, (name, colour) in enumerate(zip(found["checkpoints"], colours, strict=True)):
        one = _single(found, number)
        value = None if one is None else score_of(one["select"], found["score"])
        if value is None:
            continue
        line: dict[str, Any] = {"line_dash": "dash", "line_color": colour, "line_width": 2}
        words: dict[str, Any] = {"annotation_text": plain(_short(name)), "annotation_font_color": colour}
        if horizontal:
            corner = "bottom left" if number else "bottom right"
            figure.add_hline(value, **line, **words, annotation_position=corner)
        else:
            figure.add_vline(value, **line, **words, annotation_position="top" if number % 2 else "bottom")


def _single(found: Mapping[str, Any], number: int) -> Mapping[str, Any] | None:
    for one in found["evaluations"]:
        row = one["weights"]
        alone = row[number] == 1 and not one["ensemble"] and not one.get("anew") and "units" not in one
        if one["part"] is None and alone:
            return one
    return None


def _star(figure: go.Figure, pairs: Sequence[Any], found: Mapping[str, Any], across: Any) -> None:
    """A mark on what was found."""
    for number, one in pairs[:1]:
        x, y = place_of(one["weights"]) if across is None else (across(one), score_of(one["select"], found["score"]))
        figure.add_trace(
            go.Scatter(
                x=[x],
                y=[y],
                mode="markers",
                name="best",
                marker={"symbol": "star", "size": 18, "color": "#f2b705", "line": {"width": 1, "color": "#5c4600"}},
                customdata=[_about((number, one), found)],
                hovertemplate=_HOVER,
            )
        )


def _apart(found: Mapping[str, Any]) -> bool:
    return found["select"] != found["report"]


def _score(pair: tuple[int, Mapping[str, Any]], found: Mapping[str, Any]) -> float:
    return score_of(pair[1]["select"], found["score"]) or 0.0


def _room(values: Sequence[float]) -> list[float] | None:
    """A range that shows differences: bars of nearly equal scores are all alike from 0."""
    if not values:
        return None
    low, high = min(values), max(values)
    room = max(high - low, abs(high) * 0.02, 1e-6)
    return [low - 0.25 * room, high + 0.1 * room]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}\u2026{name[-8:]}"


def laid_out(figure: go.Figure, height: int) -> go.Figure:
    """A chart of a search: its legend above, points that answer to clicks. `height` in pixels."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        clickmode="event+select",
    )
    return figure
