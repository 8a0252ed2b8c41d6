"""Reads a list to its end, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_executor.cli.connection import with_query
from agent_executor.cli.rest import RestClient

PAGE_ROWS = 1_000


def all_of(
    client: RestClient, path: str, name: str, most: int, query: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    """Returns the rows of a list.

    Args:
        client: Calls the platform.
        path: The list's path.
        name: Its field in the answer.
        most: How many rows at most.
        query: Further parameters.

    Raises:
        RestError: If the answer is an error.
        OSError: If there is no connection.
    """
    rows: list[dict[str, Any]] = []
    token = ""
    while len(rows) < most:
        asked = {**(query or {}), "page_size": min(PAGE_ROWS, most), "page_token": token}
        page = client.get(with_query(path, asked))
        rows += page[name]
        token = page["next_page_token"]
        if not token:
            break
    return rows[:most]
