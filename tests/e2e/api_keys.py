"""Keys and sessions for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.platforms import Client

COOKIE = "agent_executor_session"


@dataclass(frozen=True)
class CreatedKey:
    """A key that was just made.

    Attributes:
        key_id: Its id.
        secret: What is shown as a bearer token.
        shown: What the platform says of it.
    """

    key_id: str
    secret: str
    shown: dict[str, Any]


def create_api_key(client: Client, **fields: Any) -> CreatedKey:
    """Makes a key."""
    answer = client.post("/api/v1/api-keys", {"name": "A program's", **fields})
    assert answer.status == 200, answer.content
    return CreatedKey(answer.body["api_key"]["id"], answer.body["key"], answer.body["api_key"])


def sign_in(client: Client) -> str:
    """Begins a browser's session and returns the header `cookie` that the browser then sends."""
    answer = client.post("/api/v1/session", {})
    assert answer.status == 200, answer.content
    cookie: str = answer.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith(f"{COOKIE}=aes_")
    return cookie
