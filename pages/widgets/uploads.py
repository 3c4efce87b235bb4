"""Uploads: checkpoints and pictures, limited in size, kept by content, removable with undo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from fusionlib.errors import FusionError
from fusionlib.listing import CHECKPOINT_ENDINGS, PICTURE_ENDINGS
from fusionlib.studio import Item, Workspace
from pages.widgets.problems import plain, problems_shown, show_problem
from pages.widgets.sidebar import use_as
from pages.widgets.upload_limit import AT_A_TIME

_KINDS = [ending.removeprefix(".") for ending in (*CHECKPOINT_ENDINGS, *PICTURE_ENDINGS)]


def upload_section(workspace: Workspace) -> None:
    """Take files in and list what was taken."""
    limit = workspace.options.upload_mb
    if not workspace.options.uploads:
        st.caption("Uploads are off on this server, which asks for no token; *--uploads* turns them on.")
        return
    expanded = len(workspace.usable()) < 2 or bool(st.session_state.get("uploads"))  # what is answered stays in sight
    with st.expander("Upload checkpoints or pictures", expanded=expanded):
        files = st.file_uploader(
            f"Checkpoints (.safetensors, .pth, .pt) or pictures (.png, .jpg), up to {limit} MB each, "
            f"{AT_A_TIME * limit} MB at a time",
            _KINDS,
            accept_multiple_files=True,
            key="uploads",
            max_upload_size=limit,
        )
        # By file and not by run: an answer stays on the page as long as its file stays in the uploader.
        results: dict[str, FusionError | Path] = st.session_state.setdefault("uploads-seen", {})
        fresh = [file for file in files or () if file.file_id not in results]
        for file in fresh:
            with st.spinner(f"Reading {file.name}"):
                results[file.file_id] = _taken(workspace, file)
            _let_go(file)
        if fresh:
            st.rerun()
        for file in files or ():
            _answer(workspace, file, results[file.file_id])
        _removal(workspace)


def _taken(workspace: Workspace, file: Any) -> FusionError | Path:
    """Where it is kept, or why it was refused."""
    try:
        return workspace.add_upload(file.name, file.getbuffer())
    except FusionError as error:
        return error


def _answer(workspace: Workspace, file: Any, result: FusionError | Path) -> None:
    """What became of a file: refused, a picture, or a checkpoint that can be A or B; nothing once it was removed."""
    if isinstance(result, FusionError):
        show_problem(result)
    elif result.parent == workspace.uploads.pictures:
        st.success(f"**{plain(file.name)}**: loaded. Choose *uploaded pictures* under Data.", icon=":material/image:")
    elif (item := workspace.at(result)) is not None:
        with problems_shown():
            _offer(workspace, item, file.file_id)


def _offer(workspace: Workspace, item: Item, key: str) -> None:
    """How a checkpoint fits A, or B where it is A itself, and the buttons that make it one of them."""
    words, fits = _fit(workspace, item)
    text, *buttons = st.columns([5, 1, 1], vertical_alignment="center")
    show, icon = (text.success, ":material/check_circle:") if fits else (text.warning, ":material/block:")
    show(f"**{plain(item.name)}**: loaded, {len(item.checkpoint.tensors)} tensors{words}", icon=icon)  # type: ignore[union-attr]
    for end, column in zip(("a", "b"), buttons, strict=True):
        column.button(
            f"Use as {end.upper()}",
            key=f"upload-{end}-{key}",
            width="stretch",
            disabled=st.session_state.get(end) == item.name,
            on_click=use_as,
            args=(end, item.name),
        )


def _fit(workspace: Workspace, item: Item) -> tuple[str, bool]:
    """The end of the sentence, and whether it is good news."""
    is_a = st.session_state.get("a") == item.name
    end = "b" if is_a else "a"
    other, begun = st.session_state.get(end), ", is A" * is_a
    if other is None or other == item.name:
        return f"{begun}.", True
    misfit = workspace.misfit(item.name, other)
    if misfit is None:
        return f"{begun}, fits {end.upper()} ({plain(other)}).", True
    do = f" {plain(misfit.do)}." if misfit.do else ""
    return f"{begun}, does not fit {end.upper()} ({plain(other)}): {plain(misfit.title)}.{do}", False


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
