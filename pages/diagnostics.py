"""Diagnose: will a merge work and why; and how far the confidence of the networks and of their merge can be trusted."""

from pages.widgets.diagnose import VERDICT, diagnose
from pages.widgets.style import heading

heading("Diagnose", "Can these be merged, and why?", "diagnosing")
diagnose(VERDICT)
