"""One resource of each kind that the tool-runner keeps for an organization."""

from __future__ import annotations

import functools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.platforms import Client

TOOL_NAME: Final = "greeter"
TOOL: Final[dict[str, Any]] = {
    "name": TOOL_NAME,
    "class_name": "Greeter",
    "source": """
from agent_executor import ToolBase


class Greeter(ToolBase):
    def __init__(self):
        super().__init__("greeter", "Greets.", effect="read_only")

    def _execute_impl(self, arguments):
        return "Hello!"
""",
}
DOMAIN: Final = "ours.example.com"
CREDENTIAL_NAME: Final = "ours"
MCP_SERVER_NAME: Final = CREDENTIAL_NAME  # Both are {name} in paths.
# By the names that they have in paths.
NAMES: Final = {"tool_name": TOOL_NAME, "domain": DOMAIN, "name": CREDENTIAL_NAME}


class _McpServer(BaseHTTPRequestHandler):
    """The least MCP server that there can be: it lists no tools."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answers one message."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "least", "version": "1"},
            },
            "tools/list": {"tools": []},
        }
        result = results.get(request["method"])
        content = b""
        if result is not None:
            message = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            content = json.dumps(message).encode()
        self.send_response(200 if content else 202 if "id" not in request else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- its own name
        """Says nothing."""


_SERVER: Final = ThreadingHTTPServer(("127.0.0.1", 0), _McpServer, bind_and_activate=False)
_SERVER.daemon_threads = True
_SERVER.server_bind()
MCP_SERVER: Final = {"url": f"http://localhost:{_SERVER.server_address[1]}/mcp"}


@functools.cache
def _serve() -> None:
    """Lets the MCP server answer, once for all tests of the process."""
    _SERVER.server_activate()
    threading.Thread(target=_SERVER.serve_forever, daemon=True).start()


def create_mcp_server(client: Client) -> None:
    """Registers an MCP server, which takes long enough to be left out where it is not needed."""
    _serve()
    for answer in (
        client.post("/api/v1/allowed-domains", {"domain": "localhost"}),
        client.put(f"/api/v1/mcp-servers/{MCP_SERVER_NAME}", MCP_SERVER),
    ):
        assert answer.status == 200, answer.content


def create_tool_runner_resources(client: Client) -> None:
    """Creates all of them but the MCP server, and a rate limit of the tool."""
    for answer in (
        client.post("/api/v1/tools", TOOL),
        client.put(f"/api/v1/tools/{TOOL_NAME}/rate-limit", {"max_calls": 9, "window_seconds": 1}),
        client.post("/api/v1/allowed-domains", {"domain": DOMAIN}),
        client.put(f"/api/v1/credentials/{CREDENTIAL_NAME}", {"secret": "s3cret"}),
    ):
        assert answer.status == 200, answer.content
