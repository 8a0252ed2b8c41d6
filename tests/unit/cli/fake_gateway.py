"""A gateway that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    authorization: str
    body: Any


@dataclass
class FakeGateway:
    """Answers by method and path; several answers to one are given one after the other.

    Attributes:
        url: Where it is.
        answers: What it answers, JSON or bytes; the last one is given again and again.
        breaks_off: Whether it ends a file before it is whole.
    """

    url: str = ""
    answers: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    breaks_off: bool = False

    def will_answer(self, method: str, path: str, *answers: Any) -> None:
        """Tells what to answer."""
        self.answers[method, path] = list(answers)


@contextlib.contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    """Yields a gateway on a free port."""
    gateway = FakeGateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            authorization = self.headers.get("authorization", "")
            query = parse_qs(parts.query)
            gateway.asked.append(Asked(self.command, parts.path, query, authorization, body))
            answers = gateway.answers.get((self.command, parts.path))
            if answers is None:
                self._send(404, {"success": False, "error": "There is no such thing."})
                return
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self._send(200, answer)

        def _send(self, status: int, answer: Any) -> None:
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content) + gateway.breaks_off))
            if gateway.breaks_off:
                self.close_connection = True
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 -- the names of the base class

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
