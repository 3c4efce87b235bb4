"""Taking the merge away: the checkpoint, its recipe and the command that makes it again."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import LETTERS, LayerProfile, MergeMethod, MergeView, Mixture, mixture_name, mixture_words
from pages.widgets.dtype_choice import dtype_choice
from pages.widgets.problems import problems_shown
from pages.widgets.report_export import report_panel
from pages.widgets.server import studio

LARGE = 64 << 20
"""Bytes of weights from which writing takes long enough to deserve a progress bar of its own."""


def export_panel(view: MergeView, mixture: Mixture) -> None:
    """Write the merged checkpoint on request, then offer it and its recipe."""
    st.markdown("### Take it away")
    st.caption(f"{_in_words(view, mixture)}, running statistics: {view.selection.buffers}.")
    dtype_choice(st, view.selection.names)
    recipe = studio().recipe(view, mixture).without_folders()
    ready = st.session_state.get("export")
    wanted = (view.id, mixture_name(mixture))
    if st.button("Write merged checkpoint", key="export-write", icon=":material/save:", type="primary"):
        with problems_shown():  # the recipe can be taken away all the same
            ready = st.session_state["export"] = (wanted, _write(view, mixture))
    name = "-".join(filter(None, ("-".join(view.selection.names)[:100], mixture_name(mixture), recipe.dtype)))
    left, right = st.columns(2)
    with left:
        if ready and ready[0] == wanted and ready[1].path.exists():
            path = ready[1].path
            st.download_button(
                f"Checkpoint ({path.stat().st_size / 1e6:.1f} MB)",
                path.read_bytes,
                f"{name}.safetensors",
                "application/octet-stream",
                key="export-file",
                icon=":material/download:",
                on_click="ignore",
                width="stretch",
            )
    with right if ready and ready[0] == wanted else left:
        st.download_button(
            "Recipe (YAML)",
            recipe.to_yaml(),
            f"{name}.yaml",
            "application/yaml",
            key="export-recipe",
            icon=":material/receipt_long:",
            on_click="ignore",
            width="stretch",
        )
    for note in ready[1].notes if ready and ready[0] == wanted else ():
        st.caption(note)
    report_panel(view, mixture, recipe, name)
    with st.expander("Recipe and command"):
        st.code(recipe.to_yaml(), language="yaml")
        st.code(f"python -m fusionlib merge {name}.yaml --folder DIR --out merged.safetensors", language="bash")
        st.caption("DIR is where the checkpoints lie: the recipe names their files and contents, not their folders.")


def _in_words(view: MergeView, mixture: Mixture) -> str:
    if isinstance(mixture, LayerProfile):
        names = view.selection.names
        parts = ("w", "(1 - w)") if len(names) == 2 else [f"w{number}" for number in range(1, len(names) + 1)]
        mixed = " + ".join(f"{part} x {name}" for part, name in zip(parts, names, strict=True))
        return (
            f"A profile of {len(mixture.weights)} weights by {mixture.granularity}: {mixed}, anchor"
            f" {LETTERS[mixture.anchor].upper()}"
        )
    if isinstance(mixture, MergeMethod):
        return f"{mixture_words(mixture)}, of {', '.join(view.selection.names)}"
    return f"Alpha {mixture:g}: {mixture:g} x {view.selection.a} + {1 - mixture:g} x {view.selection.b}"


def _write(view: MergeView, mixture: Mixture):
    if view.arena.weights.nbytes <= LARGE:
        with st.spinner("Writing", show_time=True):
            return studio().export(view, mixture)
    bar = st.progress(0.0, "Writing")
    try:
        return studio().export(view, mixture, lambda done, total: bar.progress(done / max(1, total), "Writing"))
    finally:
        bar.empty()
