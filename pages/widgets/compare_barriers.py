"""What Git Re-Basin did to the barriers of a comparison, checkpoint by checkpoint."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

DEFINITIONS = {"entezari": "line", "frankle": "mean"}
"""Short names of the two definitions, as the caption explains them."""


def show_barriers(rows: list[dict[str, Any]]) -> None:
    """A line for every checkpoint whose units were matched; nothing where no row has any."""
    entries = [entry for row in rows for entry in row["barriers"]]
    if not entries:
        return
    st.markdown("### Barriers before and after Re-Basin")
    frame = pd.DataFrame([_shown(entry) for entry in entries])
    figures = [name for name in frame.columns if "barrier" in name]
    frame[figures] = frame[figures].apply(pd.to_numeric)
    st.dataframe(frame.style.format({name: "{:.3f}" if "loss" in name else "{:.2f}" for name in figures}, na_rep=""), hide_index=True,
                 key="compare-barriers", placeholder="")
    first = entries[0]
    st.caption(f"Each checkpoint's path to the anchor {first['anchor']}, measured at {len(first['alphas'])} alphas on {first['images']} "
               f"pictures with statistics: {first['buffers']}. Line: the highest point over the straight line between the ends (Entezari); "
               "mean: over the mean of the ends (Frankle). Loss in nats, mIoU in points; 0 is no barrier. Where no unit moved the path "
               "is the same and is not measured.")


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"checkpoint": entry["name"], "units moved": f"{entry['moved']} of {entry['units']}",
                            "groups": f"{entry['groups']} of {entry['of_groups']}"}
    for meter, title, scale in (("loss", "loss", 1), ("miou", "mIoU", 100)):
        for mode, short in DEFINITIONS.items():
            for when in ("before", "after"):
                heights = entry[when] and entry[when]["barriers"][meter]
                line[f"{title} barrier, {short}, {when}"] = scale * heights[mode] if heights else None
    return line
