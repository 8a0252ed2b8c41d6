"""Page tokens: opaque to callers, the last id of the page before to us."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from agent_executor.errors import InvalidArgumentError

DEFAULT_PAGE_SIZE: Final = 100
# Half of what one message may have: a run shows its input, which alone may have half a MiB.
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024


class _Shown(Protocol):
    def ByteSize(self) -> int:  # noqa: N802 -- as messages of the contracts have it
        ...


S = TypeVar("S", bound=_Shown)


def page_size_of(requested: int) -> int:
    """Returns how many resources a page holds; 0 asks for the default."""
    return requested or DEFAULT_PAGE_SIZE


def fitting_page(shown: Iterable[S], size: int) -> list[S]:
    """Returns the first ``size`` resources, or fewer, if these are too much for one answer.

    There is at least one, if there are any.
    """
    page: list[S] = []
    size_bytes = 0
    for resource in shown:
        size_bytes += resource.ByteSize()
        if len(page) == size or (page and size_bytes > PAGE_BYTES_MAX):
            break
        page.append(resource)
    return page


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
