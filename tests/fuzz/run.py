"""Hostile input in large numbers: `python tests/fuzz/run.py [--count 5000] [--seed 0]`. A short seeded part is in
tests/test_fuzz.py.

Every command must end with status 0, or with status 2 and one line that says what to do; every request with a status
under 500. Nothing is run, nothing takes longer than 10 seconds or more than 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.fuzz.cases import Case, cases, world  # noqa: E402
from tests.helpers import request, tiny_registered  # noqa: E402

SECONDS, GIGABYTES = 10, 2


def problem_of(case: Case, app: Callable[..., Any]) -> str | None:
    """What is wrong with how this case ended; None where nothing is."""
    start = time.monotonic()
    try:
        wrong = _of_request(case, app) if case.request else _of_command(case)
    except TimeoutError:
        return f"over {SECONDS} s"
    return wrong or (f"{time.monotonic() - start:.1f} s" if time.monotonic() - start > SECONDS else None)


def _of_command(case: Case) -> str | None:
    from fusionlib.cli import main

    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _alarm():
        try:
            main(list(case.arguments))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except TimeoutError:
            raise
        except BaseException:  # noqa: BLE001 - whatever comes out of a command is the finding
            return traceback.format_exc()
    lines = err.getvalue().strip().splitlines()
    if status not in (0, 2) or "Traceback" in err.getvalue():
        return f"status {status}: {err.getvalue()[-500:]}"
    if status == 2 and len(lines) != 1:
        return f"{len(lines)} lines: {err.getvalue()[:500]}"
    return (
        "control characters in the terminal"
        if any(ord(sign) < 32 and sign not in "\n\t\r" for sign in err.getvalue())
        else None
    )


def _of_request(case: Case, app: Callable[..., Any]) -> str | None:
    assert case.request
    method, path, body, query = case.request
    with _alarm():
        try:
            answer = request(app, method, path, body, query)
        except TimeoutError:
            raise
        except BaseException:  # noqa: BLE001 - as above
            return traceback.format_exc()
    return f"status {answer.status}: {answer.body[:200]!r}" if answer.status >= 500 else None


@contextlib.contextmanager
def _alarm() -> Any:
    def ring(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS + 1)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _granted(folder: Path) -> tuple[str, str]:
    """The key of a session that may ask for frames of a view, and the view's name."""
    from fusionlib.studio import Selection
    from pages.widgets.server import reset, studio

    os.environ["FUSION_ARGS"] = (
        f"--no-demo --device cpu --checkpoints {folder / 'sound'} --data folder:{folder / 'data'}"
    )
    reset()
    workspace = studio().workspace
    view = studio().view(Selection("a", "b", workspace.sources[0].name, None))
    session = studio().live.open()
    studio().live.grant(session, view)
    return session.key, view.id


def fuzz(count: int, seed: int, tell: Callable[[int, Case, str], None]) -> Counter[str]:
    """Run `count` cases; how many of each kind. `tell` gets every problem."""
    from starlette.applications import Starlette

    from pages.widgets.routes import live_routes

    seen: Counter[str] = Counter()
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as name, tiny_registered():
        folder = world(Path(name))
        os.environ |= {"FUSION_HOME": str(folder / "home"), "FUSION_ARGS": "--no-demo --device cpu"}
        os.chdir(folder)
        try:
            app, (key, view) = Starlette(routes=live_routes()), _granted(folder)
            for number, case in enumerate(cases(folder, count, seed)):
                seen[case.kind] += 1
                if case.request:
                    method, path, body, query = case.request
                    case = replace(case, request=(method, path.replace("KEY", key).replace("VIEW", view), body, query))
                wrong = problem_of(case, app)
                if (folder / "ran").exists():
                    wrong = "code was run"
                    (folder / "ran").unlink()
                if wrong:
                    tell(number, case, wrong)
        finally:
            os.chdir(before)
    return seen


def main() -> None:
    """Print every problem, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong: list[str] = []

    def tell(number: int, case: Case, problem: str) -> None:
        wrong.append(problem)
        print(f"--- case {number} {case.kind} {case.arguments or case.request}\n{problem}"[:3000], flush=True)

    seen = fuzz(given.count, given.seed, tell)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if peak > GIGABYTES:
        wrong.append(f"{peak:.1f} GB")
    print(f"{sum(seen.values())} cases of seed {given.seed}: {dict(seen)}; {len(wrong)} problems; peak {peak:.2f} GB")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
