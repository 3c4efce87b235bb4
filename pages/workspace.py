"""Workspace: what is loaded, whether it fits together, and what to do where it does not."""

from pages.widgets.data_table import data_section
from pages.widgets.further import further_section
from pages.widgets.problems import problems_shown
from pages.widgets.report import checkpoint_table, preflight_section
from pages.widgets.server import studio
from pages.widgets.style import heading
from pages.widgets.uploads import upload_section

heading(
    "Workspace",
    "The checkpoints and data that this server has loaded, and whether the checkpoints fit together.",
    "files",
)
workspace = studio().workspace
with problems_shown():
    checkpoint_table(workspace)
with problems_shown():
    upload_section(workspace)
with problems_shown():
    further_section("workspace")
with problems_shown():
    preflight_section(workspace)
with problems_shown():
    data_section(workspace)
