"""A button that copies the address: what is seen is what whoever opens it will see."""

from __future__ import annotations

import streamlit as st
import streamlit.components.v2  # type: ignore[import-not-found]

_JS = """export default ({ parentElement }) => {
  const root = parentElement.querySelector("button");
  root.onclick = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      root.textContent = "Copied";
    } catch {
      root.textContent = "Copy the address bar"; // a page without https may not write to the clipboard
    }
    setTimeout(() => { root.textContent = "Copy link to this view"; }, 2000);
  };
};"""

_CSS = """button {
  width: 100%; min-height: 40px; font: inherit; color: var(--st-text-color); cursor: pointer;
  background: var(--st-background-color); border: 1px solid var(--st-border-color); border-radius: 8px;
}
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color); }"""

_HTML = '<button type="button" data-testid="copy-link">Copy link to this view</button>'
_mount = st.components.v2.component(  # pyright: ignore[reportAttributeAccessIssue]
    "fusion_copy_link", html=_HTML, css=_CSS, js=_JS
)


def copy_link() -> None:
    """Draw it."""
    _mount(key="copy-link")
