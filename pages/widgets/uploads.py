"""Uploads: checkpoints and pictures, limited in size, kept by content, removable with undo."""

from __future__ import annotations

import streamlit as st

from fusionlib.errors import FusionError
from fusionlib.studio import Workspace
from pages.widgets.problems import show_problem

_KINDS = ["safetensors", "pth", "pt", "bin", "ckpt", "png", "jpg", "jpeg"]


def upload_section(workspace: Workspace) -> None:
    """Take files in and list what was taken."""
    limit = workspace.options.upload_mb
    with st.expander("Upload checkpoints or pictures", expanded=len(workspace.usable()) < 2):
        files = st.file_uploader(f"Checkpoints (.safetensors, .pth, .pt) or pictures (.png, .jpg), up to {limit} MB each", _KINDS,
                                 accept_multiple_files=True, key="uploads", max_upload_size=limit)
        seen: set[str] = st.session_state.setdefault("uploads-seen", set())
        fresh = [file for file in files or () if file.file_id not in seen]
        for file in fresh:
            seen.add(file.file_id)
            try:
                workspace.add_upload(file.name, file.getbuffer())
            except FusionError as error:
                show_problem(error)
        if fresh:
            st.rerun()
        _removal(workspace)


def _removal(workspace: Workspace) -> None:
    uploaded = [item.name for item in workspace.items if item.origin == "upload"]
    removed = st.session_state.get("removed-upload")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    if uploaded:
        name = left.selectbox("Uploaded checkpoints", uploaded, key="upload-name")
        if right.button("Remove", key="upload-remove", icon=":material/delete:", width="stretch"):
            st.session_state["removed-upload"] = workspace.remove_upload(name)
            st.rerun()
    if removed:
        left.caption(f"{removed[0]} was removed.")
        if right.button("Undo", key="upload-undo", icon=":material/undo:", width="stretch"):
            workspace.restore_upload(removed)
            del st.session_state["removed-upload"]
            st.rerun()
