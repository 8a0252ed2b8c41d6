"""What is served below `/docs`: the page, and the viewer that it shows the OpenAPI document with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent_executor.web.application import Room

# Styles that the viewer makes as it goes need 'unsafe-inline'; scripts come from here alone, and
# nothing is fetched from, framed by or sent to any other origin.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # It is asked each time whether what the browser has is still what there is.
    "cache-control": "no-cache",
}
_FOLDER: Final = Path(__file__).parent
_NOT_MODIFIED: Final = 304


def room() -> Room:
    """Returns the routes of the documentation page."""
    pages = _FOLDER / "page"
    return Room(
        "docs",
        [
            _file("/docs", pages / "index.html", "text/html"),
            _file("/docs/", pages / "index.html", "text/html"),
            _file("/docs/page.css", pages / "page.css", "text/css"),
            _file("/docs/page.js", pages / "page.js", "text/javascript"),
            _file("/docs/icon.svg", pages / "icon.svg", "image/svg+xml"),
            _file("/docs/viewer.js", _FOLDER / "viewer" / "scalar.js.gz", "text/javascript"),
        ],
    )


def _file(path: str, file: Path, media_type: str) -> Route:
    """Returns a route that answers a file, which is read once; `.gz` ones are sent as they are."""
    content = file.read_bytes()
    headers = {**_HEADERS, "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
    if file.suffix == ".gz":
        headers["content-encoding"] = "gzip"

    async def answer(request: Request) -> Response:
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return Route(path, answer, methods=["GET"])
