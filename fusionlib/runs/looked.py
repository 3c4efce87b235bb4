"""The tables of what people did and wrote: history, story, marks, what was dismissed; in a file of their own."""

from __future__ import annotations

from pathlib import Path

from fusionlib.runs import flags, history, marks, story
from fusionlib.runs.database import Database

FILE = "views.sqlite"
SCHEMA = history.SCHEMA + story.SCHEMA + flags.SCHEMA + marks.SCHEMA
LAYOUT = 2
"""Raised with every change of the schema: a file that has this number is taken to have all of its tables."""


class Looked:
    """Those of a home folder. Results are in another file: a damaged one of these takes no measurement along."""

    def __init__(self, home: Path) -> None:
        self.database = Database(home / FILE, SCHEMA, LAYOUT)
        self.history = history.History(self.database)
        self.story = story.Story(self.database)
        self.flags = flags.Flags(self.database)
        self.marks = marks.Marks(self.database)
