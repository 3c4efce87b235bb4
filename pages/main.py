"""The frame around every page: navigation, the workspace and what is being compared, in one sidebar."""

from pathlib import Path

import streamlit as st

from pages.widgets import link, tried
from pages.widgets.first_look import end_what_is_no_longer_chosen
from pages.widgets.history import one_entry_a_gesture
from pages.widgets.link_notes import notice
from pages.widgets.sidebar import sidebar

ICON = str(Path(__file__).parents[1] / "assets" / "icon.png")

st.set_page_config(page_title="Merge explorer", page_icon=ICON, layout="wide", initial_sidebar_state="expanded")
page = st.navigation(
    [
        st.Page("explore.py", title="Explore", icon=":material/merge:", default=True),
        st.Page("errors.py", title="Errors", icon=":material/troubleshoot:"),
        st.Page("layers.py", title="Layers", icon=":material/layers:", visibility="hidden"),
        st.Page("compare.py", title="Compare", icon=":material/table_chart:"),
        st.Page("domains.py", title="Domains", icon=":material/public:"),
        st.Page("diagnostics.py", title="Diagnose", icon=":material/stethoscope:"),
        st.Page("calibration.py", title="Calibration", icon=":material/speed:", visibility="hidden"),
        st.Page("lab.py", title="Lab", icon=":material/science:"),
        st.Page("story.py", title="Story", icon=":material/slideshow:"),
        st.Page("workspace.py", title="Workspace", icon=":material/folder_open:"),
        st.Page("guide.py", title="Guide", icon=":material/menu_book:"),
    ]
)
link.follow(page.url_path)
with st.sidebar:  # where its empty element shifts nothing
    one_entry_a_gesture()
sidebar()
end_what_is_no_longer_chosen()
above = st.container()  # draws nothing while it is empty
page.run()
link.write()
link.settle()
with above:
    notice()
tried.settled()
