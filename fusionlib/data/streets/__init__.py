"""Streets: a deterministic generator of labelled street scenes."""

from .generator import DOMAINS, VERSION, Scene, render_scene

__all__ = ["DOMAINS", "VERSION", "Scene", "render_scene"]
