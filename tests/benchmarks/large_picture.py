"""What a picture of 64 megapixels costs those who look at it, and their neighbours: `python
tests/benchmarks/large_picture.py`.

Seconds until its first frame, memory of the server, and the pace of a session that scrubs ordinary pictures: alone,
beside the opening of the large one, and beside somebody who drags alpha over it all the time.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.sessions import Run, Scrubber, serving

SECONDS = 20.0


def pace(what: str, scrubber: Scrubber, seconds: float = SECONDS) -> None:
    """Scrub for so long and say how it went."""
    begun, before = time.monotonic(), len(scrubber.frames)
    scrubber.run(begun + seconds)
    part = Scrubber(scrubber.port, scrubber.base, 0, scrubber.frames[before:])
    print(Run([part], time.monotonic() - begun, []).line(what))


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large"
        large.mkdir()
        Image.effect_noise((100, 100), 80).convert("RGB").resize((8000, 8000), Image.Resampling.NEAREST).save(
            large / "large.png"
        )
        print(f"a PNG of {(large / 'large.png').stat().st_size // 1000} KB, 8000 x 8000 pixels")
        with (
            serving(Path(folder) / "home", ["--data", f"pictures:{large}"]) as server,
            server.session(urlencode({"data": "streets clear"})) as base,
        ):
            neighbour = Scrubber(server.port, base, 0)
            neighbour.run(time.monotonic() + 3)
            before = server.megabytes
            pace("neighbour alone", neighbour)
            opening = threading.Thread(target=_open, args=(server, time.monotonic()))
            opening.start()
            pace("neighbour beside the opening", neighbour, 10)
            opening.join()
            with server.session(urlencode({"data": "pictures large"})) as wide:
                dragging = Scrubber(server.port, wide, 1)
                thread = threading.Thread(target=dragging.run, args=(time.monotonic() + SECONDS, 1))
                thread.start()
                pace("neighbour beside somebody who drags", neighbour)
                thread.join()
            print(Run([dragging], SECONDS, []).line("the large picture meanwhile"))
            print(f"memory of the server: {before:.0f} MB before, at most {server.peak:.0f} MB")


def _open(server, begun: float) -> None:
    with server.session(urlencode({"data": "pictures large"})) as base:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        connection.request("GET", f"{base}/frame/0?alpha=0.5")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        print(
            f"first frame {time.monotonic() - begun:.1f} s after the page was asked for,"
            f" {len(answer.read()) // 1000} KB"
        )


if __name__ == "__main__":
    main()
