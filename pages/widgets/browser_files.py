"""The browser's part as native ES modules: each file of assets/ has an address that names what all of them contain.

Streamlit takes one inline module a component. That one is a stub: it asks for the real ones at once, relative to the
page, so that a base path or a proxy that cuts one makes no difference, and hands on what Streamlit calls it with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

ASSETS = Path(__file__).parents[2] / "assets"
FOLDERS = ("errors", "layers", "viewer")
"""Folders of assets/ that the browser may ask for."""


def _read() -> dict[str, bytes]:
    return {
        path.relative_to(ASSETS).as_posix(): path.read_bytes()
        for folder in FOLDERS
        for path in sorted((ASSETS / folder).glob("*.js"))
    }


def version_of(files: Mapping[str, bytes]) -> str:
    """Twelve hexadecimal digits that are others when a name or a byte of any file is."""
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:12]


FILES = _read()
VERSION = version_of(FILES)

_STUB = """
const root = new URL("browser/%(version)s/", document.baseURI);
for (const name of %(names)s) {
  const link = document.createElement("link");
  Object.assign(link, { rel: "modulepreload", href: new URL(name, root) });
  document.head.append(link);
}
let mount;
try {
  ({ default: mount } = await import(new URL("%(entry)s", root)));
} catch (error) {
  mount = ({ parentElement }) => {
    const message = document.createElement("p");
    message.textContent = `Got: no viewer (${error.message}). Needs: the running server. Do: reload the page.`;
    parentElement.replaceChildren(message);
  };
}
export default (component) => mount(component);
"""


def styles(*names: str) -> str:
    """Style sheets of a component, one after the other."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)


def stub(entry: str) -> str:
    """The inline module of a component whose own one is `entry`, as in ``viewer/main.js``.

    Raises:
        KeyError: there is no such file.
    """
    FILES[entry]
    folders = {"viewer", entry.split("/")[0]}
    names = [name for name in FILES if name.split("/")[0] in folders]
    return _STUB % {"version": VERSION, "names": json.dumps(names), "entry": entry}


def browser_route(base: str) -> Route:
    """The one route of all files, below `base`; of what it does not know it says so, and nothing is opened for it."""
    return Route(f"{base}/browser/{{version}}/{{name:path}}", _file)


async def _file(request: Request) -> Response:
    content = FILES.get(request.path_params["name"]) if request.path_params["version"] == VERSION else None
    if content is None:
        return PlainTextResponse("There is no such file: reload the page.\n", 404, {"Cache-Control": "no-store"})
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type="text/javascript", headers=kept)
