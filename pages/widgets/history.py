"""One entry in the browser's history for one thing that the user did."""

from __future__ import annotations

import streamlit as st

# Streamlit pushes an entry for every query parameter that a script run writes: a click that sets A, B and alpha on
# another page made six, and Back had to be pressed as often. A push that no gesture preceded therefore replaces the
# entry of the gesture before it.
_SCRIPT = """<script>
(() => {
  if (window.fusionHistory) return;
  window.fusionHistory = true;
  const push = history.pushState.bind(history);
  let acted = false;
  for (const gesture of ["pointerdown", "keydown", "wheel"]) addEventListener(gesture, () => { acted = true; }, true);
  history.pushState = (...entry) => {
    if (!acted) return history.replaceState(...entry);
    acted = false;
    return push(...entry);
  };
})();
</script>"""


def one_entry_a_gesture() -> None:
    """Let whatever a run writes into the URL be one step of Back; holds for every page of the session."""
    st.html(_SCRIPT, unsafe_allow_javascript=True)
