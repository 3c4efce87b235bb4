"""Uploads: checkpoints and pictures, limited in size, kept by content, removable with undo."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from fusionlib.errors import FusionError
from fusionlib.listing import CHECKPOINT_ENDINGS, PICTURE_ENDINGS
from fusionlib.studio import Workspace
from pages.widgets.problems import show_problem
from pages.widgets.upload_limit import AT_A_TIME

_KINDS = [ending.removeprefix(".") for ending in (*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS)]


def upload_section(workspace: Workspace) -> None:
    """Take files in and list what was taken."""
    limit = workspace.options.upload_mb
    if not workspace.options.uploads:
        st.caption("Uploads are off on this server, which asks for no token; *--uploads* turns them on.")
        return
    with st.expander("Upload checkpoints or pictures", expanded=len(workspace.usable()) < 2):
        files = st.file_uploader(
            f"Checkpoints (.safetensors, .pth, .pt) or pictures (.png, .jpg), up to {limit} MB each, "
            f"{AT_A_TIME * limit} MB at a time",
            _KINDS,
            accept_multiple_files=True,
            key="uploads",
            max_upload_size=limit,
        )
        # By file and not by run: what was refused stays on the page as long as its file stays in the uploader.
        results: dict[str, FusionError | None] = st.session_state.setdefault("uploads-seen", {})
        fresh = [file for file in files or () if file.file_id not in results]
        for file in fresh:
            with st.spinner(f"Reading {file.name}"):
                results[file.file_id] = _taken(workspace, file)
            _let_go(file)
        if fresh:
            st.rerun()
        for file in files or ():
            problem = results.get(file.file_id)
            if problem is not None:
                show_problem(problem)
        _removal(workspace)


def _taken(workspace: Workspace, file: Any) -> FusionError | None:
    try:
        workspace.add_upload(file.name, file.getbuffer())
    except FusionError as error:
        return error
    return None


def _let_go(file: Any) -> None:
    """Free the bytes of a file that was taken or refused; its name stays in the uploader until somebody removes it
    there.
    """
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.add_file(context.session_id, UploadedFileRec(file.file_id, file.name, file.type, b""))


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
