"""Idempotency keys: what makes the repeat of a request known, so that it starts nothing anew."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.journal.journal import IdempotencyKey

HEADER: Final = "Idempotency-Key"
DEFAULT_TTL_SECONDS: Final = 86_400.0

_VISIBLE: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
# Of a request that is no part of a batch.
_ALONE: Final = "-"


def idempotency_key(
    text: str, user_id: str, method: str, request: bytes, index: int | None = None
) -> IdempotencyKey:
    """Returns the key of a request.

    Keys belong to their user, so that two users of an organization may choose the same.

    Args:
        text: What the caller chose: 1 to 255 visible characters of ASCII.
        user_id: Who asks.
        method: What is asked for; the same request of another method is another request.
        request: The request as bytes, the same for the same request.
        index: Which input of a batch is meant; None if it is no batch.

    Raises:
        InvalidArgumentError: The text is no such key.
    """
    if _VISIBLE.fullmatch(text) is None:
        message = f"{HEADER} must be 1 to 255 visible characters of ASCII."
        raise InvalidArgumentError(message, field_violations=((HEADER, message),))
    # Neither of the first two holds a space, so that no two names are the same by accident.
    name = f"{text} {_ALONE if index is None else index} {user_id}"
    digest = hashlib.sha256(method.encode() + b"\0" + request).hexdigest()
    return IdempotencyKey(name, digest)
