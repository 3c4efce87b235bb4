"""Story: views in the order in which they are presented, and the history of what was looked at."""

from pages.widgets.problems import problems_shown
from pages.widgets.story import story_section
from pages.widgets.style import heading
from pages.widgets.tried_table import history_section

heading("Story", "Views to present, in their order, and everything that was looked at.", "presenting")
with problems_shown():
    story_section()
with problems_shown():
    history_section()
