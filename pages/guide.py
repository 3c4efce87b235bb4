"""Guide: how to use the app, chapter by chapter, with tables of all that is registered."""

import streamlit as st

from fusionlib.guide import CHAPTERS, Chapter, chapter, filled, linked
from pages.widgets.link import only_of
from pages.widgets.problems import plain, problems_shown
from pages.widgets.style import chapter_address, heading

WIDTH = 1040  # pixels: lines stay short enough to read, tables wide enough


def contents(found: Chapter) -> None:
    """Links to the sections of a chapter."""
    links = [f"[{section.title}](#{section.anchor})" for section in found.sections if section.title]
    st.caption(" · ".join(links))


def sections(found: Chapter) -> None:
    """The chapter itself."""
    for section in found.sections:
        if section.title:
            st.subheader(section.title, anchor=section.anchor)
        if section.text:
            st.markdown(filled(linked(section.text, chapter_address), plain))


heading("Guide", "Options, formats, methods, measures and rules. On the command line: `python -m fusionlib guide`.")
with problems_shown():
    only_of("chapter", CHAPTERS)
    st.session_state.setdefault("chapter", CHAPTERS[0])
    chosen = st.segmented_control(
        "Chapter",
        CHAPTERS,
        required=True,
        key="chapter",  # by its name, not its title: what stands in the URL is what is shown
        label_visibility="collapsed",
    )
    with st.container(key="guide", width=WIDTH):
        contents(chapter(chosen or CHAPTERS[0]))
        sections(chapter(chosen or CHAPTERS[0]))

# Tables above a section may be drawn after the browser has scrolled to it: look again, until the reader does something.
st.html(
    """<script>
(() => {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!id || window.fusionAnchor === location.href) return;
  window.fusionAnchor = location.href;
  let acted = false;
  const mine = () => { acted = true; };
  for (const gesture of ["wheel", "pointerdown", "keydown", "touchstart"]) addEventListener(gesture, mine, true);
  const until = Date.now() + 20000;
  const look = () => {
    if (acted || Date.now() > until) return;
    const there = document.getElementById(id);
    if (there && Math.abs(there.getBoundingClientRect().top) > 200) there.scrollIntoView();
    setTimeout(look, 250);
  };
  look();
})();
</script>""",
    unsafe_allow_javascript=True,
)
