"""An HTTP server on loopback for programs to reach: it remembers requests and can hold answers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "localhost"
HOLD_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request as it came; the names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebServer:
    """What the server has got, and how it answers.

    A path that begins with ``/held/`` is answered after ``release``; ``/redirect?URL`` redirects
    there; any other is answered with the request itself as JSON, headers included.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    port: int = 0
    _requests: list[WebRequest] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _released: threading.Event = field(default_factory=threading.Event)

    @property
    def origin(self) -> str:
        """Its origin, by name."""
        return f"http://{HOST}:{self.port}"

    @property
    def requests(self) -> list[WebRequest]:
        """The requests so far."""
        with self._changed:
            return list(self._requests)

    def requests_to(self, path: str) -> list[WebRequest]:
        """Returns the requests to a path so far."""
        return [request for request in self.requests if request.path == path]

    def wait_for(self, path: str, count: int = 1) -> None:
        """Waits until so many requests to a path have come."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(each.path == path for each in self._requests) >= count,
                HOLD_SECONDS_MAX,
            ), f"no request to {path} came in time"

    def release(self) -> None:
        """Lets held answers go, now and later."""
        self._released.set()

    def receive(self, request: WebRequest) -> bytes:
        """Takes a request and returns what answers it, once it may go."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        if request.path.startswith("/held/"):
            self._released.wait(HOLD_SECONDS_MAX)
        return json.dumps(
            {
                "method": request.method,
                "path": request.path,
                "headers": request.headers,
                "body": request.body.decode(),
            }
        ).encode()


@contextlib.contextmanager
def running_web_server() -> Iterator[WebServer]:
    """Serves on a free port, and lets go what it still holds at the end."""
    state = WebServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = WebRequest(self.command, self.path, headers, self.rfile.read(length))
            content = state.receive(request)
            # Whoever asked may have been killed meanwhile.
            with contextlib.suppress(ConnectionError):
                self._send(request.path, content)

        def _send(self, path: str, content: bytes) -> None:
            target = path.removeprefix("/redirect?")
            self.send_response(200 if target == path else 302)
            if target != path:
                self.send_header("location", target)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 -- the base class calls them so

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- its own name
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Says nothing: those who ask may be killed at any time."""

    with Server(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.release()
            server.shutdown()
            thread.join()
