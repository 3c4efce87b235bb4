"""Five sessions that scrub at once for a few seconds against the real server: nobody starves, and no frame is another's."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.benchmarks.sessions import scrub, serving, wrong_frames

pytest.importorskip("websockets", reason="websockets is not installed")


def test_sessions_that_scrub_at_once_each_get_their_own_frames(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server, ExitStack() as pages:
        bases = [pages.enter_context(server.session()) for _ in range(5)]
        assert len(set(bases)) == 5, "a key for each"
        run = scrub(server, bases, 3)
    assert [problem for one in run.scrubbers for problem in one.problems] == []
    assert min(run.counts) >= 1 and max(run.counts) <= min(run.counts) + 3, "in turn"
    assert wrong_frames([run], tmp_path / "reference") == []
    assert "Traceback" not in (tmp_path / "home.log").read_text()
