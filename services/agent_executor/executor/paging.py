"""Pages of the executor's lists: a token holds the last id of the page before, maybe with a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Annotated, Final, Protocol, TypeAlias, TypeVar

import msgspec

from agent_executor.serving.page_tokens import content_of, refused, token_of

DEFAULT_PAGE_SIZE: Final = 100
# Half of what one message may have: a run shows its input, which alone may have half a MiB.
PAGE_BYTES_MAX: Final = 4 * 1024 * 1024

_Milliseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_PLACE: Final = msgspec.json.Decoder(tuple[_Milliseconds, str])


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
    return token_of(uuid.UUID(last_id).bytes)


def decode_page_token(token: str) -> str:
    """Returns the id in a token; the empty string for the empty token.

    Raises:
        InvalidArgumentError: The token was not made by ``encode_page_token``.
    """
    if not token:
        return ""
    try:
        return str(uuid.UUID(bytes=content_of(token)))
    except ValueError:
        raise refused() from None


def encode_place(time_ms: int, last_id: str) -> str:
    """Returns the token of the page after the one that ends with a resource of a time."""
    return token_of(msgspec.json.encode((time_ms, last_id)))


def decode_place(token: str) -> tuple[int, str] | None:
    """Returns the time and the id in a token; None for the empty token.

    Raises:
        InvalidArgumentError: The token was not made by ``encode_place``.
    """
    if not token:
        return None
    try:
        time_ms, last_id = _PLACE.decode(content_of(token))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise refused() from None
    # Who makes a token up may have put into it what no database holds.
    if "\0" in last_id:
        raise refused()
    return time_ms, last_id
