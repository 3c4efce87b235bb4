"""The verdict on one pair in words, with its figures, the way into Explore and the rules behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from fusionlib.diagnostics.bootstrap import COVERAGE, in_points
from pages.widgets.diagnostics_charts import open_in_merge
from pages.widgets.problems import plain

_BOXES = {
    "merge": (st.success, ":material/check_circle:"),
    "no difference": (st.info, ":material/equal:"),
    "measure to know": (st.warning, ":material/straighten:"),
    "do not merge": (st.error, ":material/block:"),
}


def verdict_line(pair: dict[str, Any]) -> None:
    """Level, gain with its interval (or what the weights say), and one sentence of advice."""
    verdict = pair["verdict"]
    box, icon = _BOXES[verdict["level"]]
    advice = verdict["advice"].removeprefix(f"{verdict['level']}; ")
    box(f"**{plain(_capital(verdict['line']))}.** {plain(_capital(advice))}.", icon=icon)


def reasons_section(pair: dict[str, Any]) -> None:
    """Why, and the figures beside the four that are always shown."""
    st.markdown("\n".join(f"- {plain(_capital(reason))}" for reason in pair["verdict"]["reasons"]))
    _figures(pair)
    if pair["reason"] and pair["both_run"]:
        st.caption(f"{plain(pair['reason'])}.")


def open_button(pair: dict[str, Any]) -> None:
    """The way to the Explore page."""
    st.button(
        "Open in Explore",
        key="diagnostics-open-pair",
        icon=":material/merge:",
        on_click=open_in_merge,
        args=(pair,),
        disabled=not pair["compatible"],
    )


def rules_section(rules: Any, cautions: Any, diagnostics: Any) -> None:
    """Where the verdict comes from and what each measure is."""
    with st.expander("The rules of the verdict, and where every measure comes from", icon=":material/rule:"):
        st.markdown(
            _table(
                ("When (the first that applies)", "Verdict", "Source"),
                [(rule.when, rule.then, rule.source) for rule in rules],
            )
        )
        st.markdown(
            _table(("Said beside it, when", "As", "Source"), [(rule.when, rule.then, rule.source) for rule in cautions])
        )
        st.markdown(
            _table(
                ("Measure", "What it says", "Needs", "Source"),
                [(item.title, item.summary, item.needs, item.source) for _, item in diagnostics],
            )
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, because its cells wrap; the texts are the library's own."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def four_figures(pair: dict[str, Any]) -> None:
    """How alike the weights are, how alike the answers, and what there is to gain."""
    _metrics(
        (
            "Cosine",
            _text(pair["cosine"], ".3f"),
            f"of all parameters; {_text(pair['cosine_with_buffers'], '.3f')} with running statistics",
        ),
        (
            "Discrepancy",
            _text(pair["discrepancy"]["convolution"], ".1f", 100, " %"),
            "weights of the convolutions that moved by at least 1/tau of their value in A",
        ),
        ("Disagreement", _text(pair["disagreement"], ".1f", 100, " %"), "pixels that the two label differently"),
        (
            "Oracle gain (points)",
            _text(pair["oracle_headroom"], "+.1f", 100),
            (
                "of mIoU over the better of the two, if each pixel came from the one that is right; over the best"
                f" measured merge: {_text(pair['oracle_over_merge'], '+.1f', 100, ' points')}"
            ),
        ),
    )


def _figures(pair: dict[str, Any]) -> None:
    barrier = ((pair["barrier"] or {}).get("loss") or {}).get("entezari")
    worst = pair["verdict"]["evidence"]["worst_block"]
    _metrics(
        ("Convolutions", _text(pair["cosine_groups"]["convolution"], ".3f"), "cosine of the convolutions alone"),
        (
            "Worst block",
            _text(worst and worst["cosine"], ".3f"),
            f"lowest cosine of a block's convolutions: {plain(worst['block']) if worst else 'n/a'}",
        ),
        (
            "Best merge (points)",
            _text(pair["gain"], "+.1f", 100),
            f"of mIoU over the better of the two, where the path is measured{_sure(pair['verdict']['evidence'])}",
        ),
        ("Diversity", _text(pair["diversity"], ".0f", 1, " %"), "disagreement as a share of the worse one's errors"),
        ("Loss barrier", _text(barrier, ".3f", 1, " nats"), "above the line between the ends"),
    )


def _metrics(*figures: tuple[str, str, str]) -> None:
    """In two columns; what each means is under the pointer."""
    columns = st.columns(2)
    for number, (label, value, meaning) in enumerate(figures):
        columns[number % 2].metric(label, value, help=meaning)


def _sure(evidence: dict[str, Any]) -> str:
    """The interval and what was resampled for it."""
    interval, units = evidence["interval"], evidence["units"]
    if units is None:
        return ""
    of = f"{units['count']} {units['kind']}"
    if interval is None:
        return f"; no interval from {of}"
    return f"; {in_points(interval)} with {100 * COVERAGE:g} % confidence, from resampling {of}"


def _text(value: float | None, form: str, scale: float = 1.0, unit: str = "") -> str:
    return "n/a" if value is None else format(scale * value, form) + unit


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
