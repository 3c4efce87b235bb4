"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int], Any]
"""Called with (done, total) units of work; may raise `Cancelled`."""
