"""Calibration: the address of earlier links; it is the second tab of the Diagnose page."""

from pages.widgets.diagnose import CALIBRATION, diagnose
from pages.widgets.style import heading

heading("Diagnose", "Can these be merged, and why?", "measuring#calibration")
diagnose(CALIBRATION)
