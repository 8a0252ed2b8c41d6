"""How the pages of a list follow one another."""

from __future__ import annotations

from typing import Any


def following(request: Any, page: Any) -> Any:
    """Returns what asks for the page after a page; None after the last one.

    Args:
        request: What asked for the page; it is left as it is.
        page: The page.
    """
    if not page.next_page_token:
        return None
    again = type(request)()
    again.CopyFrom(request)
    again.page_token = page.next_page_token
    return again
