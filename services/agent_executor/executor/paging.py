"""Page tokens: opaque to callers, the last id of the page before to us."""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Final

from agent_executor.errors import InvalidArgumentError

DEFAULT_PAGE_SIZE: Final = 100


def page_size_of(requested: int) -> int:
    """Returns how many resources a page holds; 0 asks for the default."""
    return requested or DEFAULT_PAGE_SIZE


def encode_page_token(last_id: str) -> str:
    """Returns the token of the page after the one that ends with a resource's id."""
    return base64.urlsafe_b64encode(uuid.UUID(last_id).bytes).decode().rstrip("=")


def decode_page_token(token: str) -> str:
    """Returns the id in a token; the empty string for the empty token.

    Raises:
        InvalidArgumentError: The token was not made by ``encode_page_token``.
    """
    if not token:
        return ""
    try:
        padded = token + "=" * (-len(token) % 4)
        return str(uuid.UUID(bytes=base64.b64decode(padded, altchars=b"-_", validate=True)))
    except (ValueError, binascii.Error) as error:
        message = "page_token is not one that this service gave out."
        raise InvalidArgumentError(message, field_violations=(("page_token", message),)) from error
