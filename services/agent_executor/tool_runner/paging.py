"""Pages of the tool-runner's lists: a page's token is the key of the last entry before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from agent_executor.errors import InvalidArgumentError

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


def page_of(found: list[T], entries_max: int, token_of: Callable[[T], str]) -> Page[T]:
    """Returns the page of what was found, which is one more than the page has if there is more."""
    entries = found[:entries_max]
    return Page(entries, token_of(entries[-1]) if len(found) > entries_max else "")


def bad_page_token() -> InvalidArgumentError:
    """Returns the refusal of a token that was not given out."""
    message = "page_token is not one that was given out."
    return InvalidArgumentError(message, field_violations=(("page_token", message),))
