"""What users choose between by name when checkpoints are opened and written: texts alone, without torch."""

from __future__ import annotations

SAME = "same"
"""Each tensor in the narrowest type that holds it in all files."""

WRITTEN = (SAME, "float32", "float16", "bfloat16")
"""What floating tensors may be written in."""

RULE = "the trained network before averages and teachers of it"
"""Which tensors of a file are taken where it holds several networks and nobody says which."""
