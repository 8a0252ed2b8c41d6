"""What is served below `/console`: a page and its modules, which call the API as any client does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent_executor.web.application import Room
from agent_executor.web.static_files import static_file

# Nothing inline, nothing of another origin, and no text that becomes HTML: a browser that knows
# Trusted Types refuses every way to do that, whoever wrote the text.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

_PAGE: Final = Path(__file__).parent / "page"


def room() -> Room:
    """Returns the routes of the console: one per file of its folder, and the page itself."""
    files = {path.relative_to(_PAGE).as_posix(): path for path in sorted(_PAGE.rglob("*.*"))}
    files[""] = _PAGE / "index.html"
    routes = [
        static_file(f"/console/{name}", file, CONTENT_SECURITY_POLICY)
        for name, file in files.items()
    ]
    return Room(
        "console",
        [static_file("/console", _PAGE / "index.html", CONTENT_SECURITY_POLICY), *routes],
    )
