"""What Git Re-Basin did to the barriers of a comparison, checkpoint by checkpoint."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

DEFINITIONS = {"entezari": "line", "frankle": "mean"}
"""Short names of the two definitions, as the caption explains them."""

WHEN = ("before", "after")


def show_barriers(rows: list[dict[str, Any]]) -> None:
    """Lines for every checkpoint whose units were matched; nothing where no row has any."""
    entries = [entry for row in rows for entry in row["barriers"]]
    if not entries:
        return
    st.markdown("### Barriers before and after Re-Basin")
    frame = pd.DataFrame([line for entry in entries for line in _shown(entry)])
    figures = [f"{short}, {when}" for short in DEFINITIONS.values() for when in WHEN]
    frame[figures] = frame[figures].apply(pd.to_numeric)
    st.dataframe(
        frame.style.format(dict.fromkeys(figures, "{:.3f}"), na_rep=""),
        hide_index=True,
        key="compare-barriers",
        placeholder="",
    )
    first = entries[0]
    st.caption(
        f"Each checkpoint's path to the anchor {first['anchor']}, measured at {len(first['alphas'])} alphas on"
        f" {first['images']} pictures with statistics: {first['buffers']}. Line: the highest point over the straight"
        " line between the ends (Entezari), 0 where there is no barrier; mean: over the mean of the ends (Frankle),"
        " never below half their difference. Where no unit moved the path is the same and is not measured."
    )


def _shown(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for the loss and one for mIoU, or a single one where nothing moved."""
    about = {
        "checkpoint": entry["name"],
        "units moved": f"{entry['moved']} of {entry['units']}",
        "groups": f"{entry['groups']} of {entry['of_groups']}",
    }
    meters = (
        (("loss", "loss (nats)", 1), ("miou", "mIoU (points)", 100)) if entry["before"] else (("", "unchanged", 1),)
    )
    lines = []
    for meter, title, scale in meters:
        line: dict[str, Any] = {**about, "barrier of": title}
        for mode, short in DEFINITIONS.items():
            for when in WHEN:
                heights = entry[when]["barriers"][meter] if meter else None
                line[f"{short}, {when}"] = scale * heights[mode] if heights else None
        lines.append(line)
    return lines
