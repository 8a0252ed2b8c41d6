"""Page tokens as texts, which are opaque to callers; what they hold is the services' business."""

from __future__ import annotations

import base64
import binascii

from agent_executor.errors import InvalidArgumentError


def token_of(content: bytes) -> str:
    """Returns the token that holds this."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def content_of(token: str) -> bytes:
    """Returns what a token holds.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise refused() from None


def refused() -> InvalidArgumentError:
    """Returns the error for a token that was not given out, or for another question."""
    message = "page_token was not given out for this question."
    return InvalidArgumentError(message, field_violations=(("page_token", message),))
