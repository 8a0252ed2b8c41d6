"""What the command line reads from the environment it was started in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from agent_executor.serving.database_url import database_url_of

DOTENV_FILE = Path(".env")
_SERVICE_PREFIXES = ("EXECUTOR_", "TOOL_RUNNER_", "LEDGER_", "WEB_")


def inherited_environment(
    dotenv_file: Path | None = DOTENV_FILE, *, for_people: bool = False
) -> dict[str, str]:
    """Returns the variables that the platform's processes inherit.

    Args:
        dotenv_file: Further variables; those of the environment win. It need not exist.
        for_people: Whether logs are written for people where no format is set.
    """
    environment = dict(_log_formats()) if for_people else {}
    if dotenv_file is not None:
        values = dotenv_values(dotenv_file)
        environment |= {name: value for name, value in values.items() if value is not None}
    return environment | dict(os.environ)  # noqa: TID251 -- the children inherit it, as from a shell


def database_url_in_environment(service: str) -> str:
    """Returns the PostgreSQL database of a service, as its process would use it; empty for none."""
    return database_url_of_process(service, inherited_environment())


def database_url_of_process(service: str, environment: Mapping[str, str]) -> str:
    """Returns the PostgreSQL database of a service that has these variables; empty for none."""
    own = f"{service.replace('-', '_').upper()}_DATABASE_URL"
    return database_url_of(service, environment.get(own, ""), environment.get("DATABASE_URL", ""))


def _log_formats() -> Mapping[str, str]:
    return {f"{prefix}LOG_FORMAT": "console" for prefix in _SERVICE_PREFIXES}
