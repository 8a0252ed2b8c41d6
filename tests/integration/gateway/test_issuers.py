"""Tokens of further issuers, whose keys are fetched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt

from agent_executor.cli.issuer import new_private_key, public_jwk
from agent_executor.serving.settings import IssuerSettings
from tests.integration.gateway.running_gateway import running_gateway, until

ISSUER = "https://issuer.example"


@contextmanager
def served(content: bytes) -> Iterator[str]:
    """Serves a document on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            server.shutdown()
            thread.join()


def test_tokens_of_a_further_issuer_are_believed(tmp_path: Path) -> None:
    key = new_private_key()
    jwk = public_jwk(key)
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "agent-executor", "sub": "ada", "iat": now, "exp": now + 60}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": jwk["kid"]})
    with (
        served(json.dumps({"keys": [jwk]}).encode()) as uri,
        running_gateway(
            tmp_path, auth_issuers=(IssuerSettings(issuer=ISSUER, jwks_uri=uri),)
        ) as gateway,
    ):
        until(lambda: gateway.call("GET", "/api/v1/agents/a", token=token).status == 200)
        assert gateway.call("GET", "/api/v1/agents/a").status == 200
        forged = jwt.encode(claims, new_private_key(), "ES256", {"kid": jwk["kid"]})
        assert gateway.call("GET", "/api/v1/agents/a", token=forged).status == 401
