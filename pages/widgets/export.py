"""Taking the merge away: the checkpoint, its recipe and the command that makes it again."""

from __future__ import annotations

import streamlit as st

from fusionlib.studio import LETTERS, Export, LayerProfile, MergeMethod, MergeView, Mixture, mixture_name, mixture_words
from pages.widgets.dtype_choice import dtype_choice
from pages.widgets.problems import plain, problems_shown
from pages.widgets.report_export import report_panel
from pages.widgets.server import studio
from pages.widgets.taken import download, folder_button

LARGE = 64 << 20
"""Bytes of weights from which writing takes long enough to deserve a progress bar of its own."""


def export_panel(view: MergeView, mixture: Mixture) -> None:
    """Write the merged checkpoint on request, then offer it and its recipe."""
    st.markdown("### Take it away")
    st.caption(f"{_in_words(view, mixture)}, running statistics: {view.selection.buffers}.")
    dtype_choice(st, view.selection.names)
    recipe = studio().recipe(view, mixture).without_folders()
    name = "-".join(filter(None, ("-".join(view.selection.names)[:100], mixture_name(mixture), recipe.dtype)))
    wanted = (view.id, mixture_name(mixture))
    _write_buttons(view, mixture, wanted)
    written = st.session_state.get("export")
    ready = written[1] if written and written[0] == wanted and written[1].path.exists() else None
    left, right = st.columns(2)
    if ready:
        download(left, ready.path, name, "export-file")
    with right if ready else left:
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
    for note in ready.notes if ready else ():
        st.caption(note)
    report_panel(view, mixture, recipe, name)
    with st.expander("Recipe and command"):
        st.code(recipe.to_yaml(), language="yaml")
        out = "--export hf --out merged" if ready and ready.path.is_dir() else "--out merged.safetensors"
        st.code(f"python -m fusionlib merge {name}.yaml --folder DIR {out}", language="bash")
        st.caption("DIR is where the checkpoints lie: the recipe names their files and contents, not their folders.")


def _write_buttons(view: MergeView, mixture: Mixture, wanted: tuple[str, str]) -> None:
    """One for a file, one for a folder of Hugging Face; what was written last is kept for the session."""
    why = studio().hub_obstacle(view, mixture)
    pressed = st.button("Write merged checkpoint", key="export-write", icon=":material/save:", type="primary")
    as_folder = folder_button(st, "export-hub", why)
    if why:
        st.caption(f"{plain(why)}.")
    if pressed or as_folder:
        with problems_shown():  # the recipe can be taken away all the same
            st.session_state["export"] = (wanted, _write(view, mixture, as_folder))


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


def _write(view: MergeView, mixture: Mixture, as_folder: bool) -> Export:
    if view.arena.weights.nbytes <= LARGE:
        with st.spinner("Writing", show_time=True):
            return studio().export(view, mixture, hub=as_folder)
    bar = st.progress(0.0, "Writing")
    try:
        return studio().export(
            view, mixture, lambda done, total: bar.progress(done / max(1, total), "Writing"), hub=as_folder
        )
    finally:
        bar.empty()
