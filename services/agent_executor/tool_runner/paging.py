"""Pages of the tool-runner's lists: a page's token holds the key of the last entry before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.page_tokens import content_of, refused, token_of

T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries, and the token of the next page; empty on the last one."""

    entries: list[T]
    next_page_token: str


def entries_of_page(page_size: int) -> int:
    """Returns how many entries a page has at most; 0 asks for 100.

    Raises:
        InvalidArgumentError: The size is out of range.
    """
    if not 0 <= page_size <= PAGE_SIZE_MAX:
        message = f"page_size must be from 0 to {PAGE_SIZE_MAX}."
        raise InvalidArgumentError(message, field_violations=(("page_size", message),))
    return page_size or DEFAULT_PAGE_SIZE


def page_of(found: list[T], entries_max: int, key_of: Callable[[T], str]) -> Page[T]:
    """Returns the page of what was found, which is one more than the page has if there is more."""
    entries = found[:entries_max]
    has_more = len(found) > entries_max
    return Page(entries, encode_page_token(key_of(entries[-1])) if has_more else "")


def encode_page_token(key: str) -> str:
    """Returns the token of the page after the one that ends with the entry of this key."""
    return token_of(key.encode())


def decode_page_token(token: str, is_key: Callable[[str], bool]) -> str:
    """Returns the key in a token; the empty string for the empty token.

    Raises:
        InvalidArgumentError: The token was not made by ``encode_page_token`` of such a key.
    """
    if not token:
        return ""
    try:
        text = content_of(token).decode()
    except ValueError:
        raise refused() from None
    if not is_key(text) or encode_page_token(text) != token:
        raise refused()
    return text
