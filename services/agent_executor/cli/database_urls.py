"""Which PostgreSQL database each service has, from what an operator says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from agent_executor.cli.service_databases import SERVICE_DATABASES

SHARED_VARIABLE: Final = "DATABASE_URL"


def database_urls(given: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the URLs by the names of the services.

    Args:
        given: One database for all of them; empty for what the environment says.
        environment: The variables.

    Raises:
        ValueError: A service has none.
    """
    urls: dict[str, str] = {}
    for database in SERVICE_DATABASES:
        own = "" if given else environment.get(database.url_variable, "")
        shared = given or environment.get(SHARED_VARIABLE, "")
        if not own and not shared:
            raise ValueError(
                f"No PostgreSQL database is named for the {database.name}: give --to, "
                f"{SHARED_VARIABLE} or {database.url_variable}."
            )
        urls[database.name] = own or _in_schema(shared, database.name.replace("-", "_"))
    return urls


def _in_schema(url: str, schema: str) -> str:
    """Returns the URL of a schema of a database that services share."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, f"search_path={schema}")))
    return urlunsplit(parts._replace(query=query))
