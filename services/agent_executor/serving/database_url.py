"""Which PostgreSQL database a service uses: one of its own, or a schema of one that all share."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode

SCHEME: Final = "postgresql://"
SCHEMAS: Final = {"executor": "executor", "tool-runner": "tool_runner", "ledger": "ledger"}
"""Each service's schema in a database that the services share."""


def database_url_of(service: str, own_url: str, shared_url: str) -> str:
    """Returns the database of a service, its schema included; empty if it has a SQLite file.

    Args:
        service: A key of ``SCHEMAS``.
        own_url: The database of this service alone, in whose default schema it is; it wins.
        shared_url: The database of all services, each of which has a schema there.
    """
    if own_url or not shared_url:
        return own_url
    # Not put together again by urllib, which makes postgresql:/name of postgresql:///name.
    place, _, settings = shared_url.partition("?")
    # asyncpg hands what it does not know itself to the server as settings of the session.
    query = [pair for pair in parse_qsl(settings) if pair[0] != "search_path"]
    query.append(("search_path", SCHEMAS[service]))
    return f"{place}?{urlencode(query)}"
