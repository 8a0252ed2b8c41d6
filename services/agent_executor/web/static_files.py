"""Files that are served as they are, each with what a browser needs to keep it and to keep it apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # It is asked each time whether what the browser has is still what there is.
    "cache-control": "no-cache",
}
_NOT_MODIFIED: Final = 304


def static_file(path: str, file: Path, content_security_policy: str) -> Route:
    """Returns a route that answers a file, which is read once; `.gz` ones are sent as they are.

    Args:
        path: Where it is served.
        file: The file; its name says what it is: HTML, CSS, JavaScript or SVG.
        content_security_policy: What it may load and do in a browser.
    """
    content = file.read_bytes()
    headers = {
        **_HEADERS,
        "content-security-policy": content_security_policy,
        "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    kind = file.suffix
    if kind == ".gz":
        headers["content-encoding"] = "gzip"
        kind = file.with_suffix("").suffix
    media_type = _MEDIA_TYPES[kind]

    async def answer(request: Request) -> Response:
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=_NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return Route(path, answer, methods=["GET"])
