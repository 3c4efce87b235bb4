"""Taking the merge away: the checkpoint, its recipe and the command that makes it again."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import LayerProfile, MergeView, mixture_name
from pages.widgets.server import studio

LARGE = 64 << 20
"""Bytes of weights from which writing takes long enough to deserve a progress bar of its own."""


def export_panel(view: MergeView, mixture: float | LayerProfile) -> None:
    """Write the merged checkpoint on request, then offer it and its recipe."""
    st.markdown("### Take it away")
    st.caption(f"{_in_words(view, mixture)}, running statistics: {view.selection.buffers}.")
    recipe = studio().recipe(view, mixture).without_folders()
    ready = st.session_state.get("export")
    wanted = (view.id, mixture_name(mixture))
    if st.button("Write merged checkpoint", key="export-write", icon=":material/save:", type="primary"):
        ready = st.session_state["export"] = (wanted, _write(view, mixture))
    name = f"{view.selection.a}-{view.selection.b}-{mixture_name(mixture)}"
    left, right = st.columns(2)
    with left:
        if ready and ready[0] == wanted and ready[1].path.exists():
            path = ready[1].path
            st.download_button(f"Checkpoint ({path.stat().st_size / 1e6:.1f} MB)", path.read_bytes, f"{name}.safetensors",
                               "application/octet-stream", key="export-file",
                               icon=":material/download:", on_click="ignore", width="stretch")
    with right if ready and ready[0] == wanted else left:
        st.download_button("Recipe (YAML)", recipe.to_yaml(), f"{name}.yaml", "application/yaml", key="export-recipe",
                           icon=":material/receipt_long:", on_click="ignore", width="stretch")
    for note in ready[1].notes if ready and ready[0] == wanted else ():
        st.caption(note)
    with st.expander("Recipe and command"):
        st.code(recipe.to_yaml(), language="yaml")
        st.code(f"python -m fusionlib merge {name}.yaml --out merged.safetensors", language="bash")


def _in_words(view: MergeView, mixture: float | LayerProfile) -> str:
    if isinstance(mixture, LayerProfile):
        return (f"A profile of {len(mixture.weights)} weights by {mixture.granularity}: w x {view.selection.a} + (1 - w) x "
                f"{view.selection.b}, anchor {'AB'[mixture.anchor]}")
    return f"Alpha {mixture:g}: {mixture:g} x {view.selection.a} + {1 - mixture:g} x {view.selection.b}"


def _write(view: MergeView, mixture: float | LayerProfile):
    if view.arena.weights.nbytes <= LARGE:
        with st.spinner("Writing", show_time=True):
            return studio().export(view, mixture)
    bar = st.progress(0.0, "Writing")
    result = studio().export(view, mixture, lambda done, total: bar.progress(done / max(1, total), "Writing"))
    bar.empty()
    return result
