"""What a message is known by: the key of its run, and the context of its task if it names none."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from typing import Any, Final

_NAMESPACE: Final = uuid.UUID("6b0f7e0e-59c5-4c0e-8a3e-a2a2a2a2a2a2")


def message_key(agent_id: str, message_id: str) -> str:
    """Returns the idempotency key of the run that a message to an agent starts."""
    return f"a2a-{uuid.uuid5(_NAMESPACE, json.dumps([agent_id, message_id]))}"


def new_context_id(authorization: str, agent_id: str, message_id: str, text: str) -> str:
    """Returns the context of a message that begins one.

    The same message of the same caller has the same context, or its repeat would be another
    request. Who calls is read from the token unchecked: it opens nothing, it only keeps two callers
    apart who count their messages from 1.

    Args:
        authorization: The header of that name.
        agent_id: The agent.
        message_id: The id that the caller gave the message.
        text: What it asks.
    """
    parts = [*_caller(authorization), agent_id, message_id, text]
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


def _caller(authorization: str) -> list[Any]:
    payload = authorization.split(".")[1:2]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload[0] + "==")) if payload else {}
    except (binascii.Error, ValueError):
        claims = {}
    if not isinstance(claims, dict):
        claims = {}
    return [claims.get(name) for name in ("iss", "org", "sub")]
