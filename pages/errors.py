"""Errors: which pictures, which pixels a merge gains and loses."""

from pages.widgets.errors_page import errors_view
from pages.widgets.style import heading

heading("Errors", "Which pixels does the merge put right, and which does it break?", "measuring#errors")
errors_view()
