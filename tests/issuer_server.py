"""An OpenID Connect issuer on loopback: its configuration and its keys, which a test may change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class IssuerServer:
    """An issuer that runs.

    Attributes:
        url: Where it is, and the `iss` of its tokens.
        keys: Its public keys, as JSON Web Keys.
        says_it_is: The issuer in its configuration.
        is_away: Whether it answers 503.
        asked: The paths that were asked for.
    """

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    says_it_is: str = ""
    is_away: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> Any:
        """Returns the document of a path; None if there is none."""
        documents = {
            "/.well-known/openid-configuration": {
                "issuer": self.says_it_is or self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/keys": {"keys": self.keys},
        }
        return documents.get(path)


@contextmanager
def issuer_server() -> Iterator[IssuerServer]:
    """Runs an issuer on a free port."""
    issuer = IssuerServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            document = None if issuer.is_away else issuer.answer(self.path)
            self.send_response(503 if document is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
