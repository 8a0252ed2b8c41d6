"""What is served below `/docs`: the page, and the viewer that it shows the OpenAPI document with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent_executor.web.application import Room
from agent_executor.web.static_files import static_file

# Styles that the viewer makes as it goes need 'unsafe-inline'; scripts come from here alone, and
# nothing is fetched from, framed by or sent to any other origin.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_FOLDER: Final = Path(__file__).parent


def room() -> Room:
    """Returns the routes of the documentation page."""
    pages = _FOLDER / "page"
    files = {
        "/docs": pages / "index.html",
        "/docs/": pages / "index.html",
        "/docs/page.css": pages / "page.css",
        "/docs/page.js": pages / "page.js",
        "/docs/icon.svg": pages / "icon.svg",
        "/docs/viewer.js": _FOLDER / "viewer" / "scalar.js.gz",
    }
    return Room(
        "docs", [static_file(path, file, CONTENT_SECURITY_POLICY) for path, file in files.items()]
    )
