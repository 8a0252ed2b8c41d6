"""How a command reaches a platform that runs, and how it tells what went wrong."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

from agent_executor.cli.environment import inherited_environment
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import Keys
from agent_executor.errors import AgentExecutorError

if TYPE_CHECKING:
    from agent_executor.client import AgentExecutorClient

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_VARIABLE = "AGENT_EXECUTOR_TOKEN"
FAILURE_EXIT_CODE = 1
_TOKEN_SECONDS = 3_600

Url = Annotated[
    str,
    typer.Option(
        "--url",
        help=f"The platform. With {TOKEN_VARIABLE} set that token is sent; without it, on this "
        "machine only, one is signed with the keys in the data folder.",
    ),
]
Organization = Annotated[
    str,
    typer.Option(help=f"Whose data is meant; of no account if {TOKEN_VARIABLE} is set."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the answers as JSON, one a line, and no table.")
]


class ConnectionFaultError(Exception):
    """A command cannot tell whom to call, or as whom; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom a command calls, and as whom.

    Attributes:
        url: The gateway.
        data_dir: Where the local platform keeps its keys.
        organization: Whose data is meant.
    """

    url: str = DEFAULT_URL
    data_dir: Path
    organization: str = "default"


def connect(target: Target) -> AgentExecutorClient:
    """Returns a client of a platform, which repeats nothing: a person sees at once what fails.

    Raises:
        ConnectionFaultError: The URL is none, or there is no token for it.
    """
    # Imported here so that commands which call no platform start quickly.
    from agent_executor.client import AgentExecutorClient

    parts = urlsplit(target.url)
    try:
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != -1
    except ValueError:
        is_url = False
    if not is_url:
        msg = f"{target.url!r} is no URL of a platform; it looks like {DEFAULT_URL}."
        raise ConnectionFaultError(msg)
    # Who names another machine by http:// has said that it may be called so.
    return AgentExecutorClient(
        target.url,
        _token(target, parts.hostname or ""),
        allow_plaintext=True,
        max_attempts=1,
    )


def _token(target: Target, host: str) -> str:
    token = inherited_environment().get(TOKEN_VARIABLE, "")
    if token:
        return token
    # A token of this machine's keys opens this machine's platform: it is shown to no other.
    if not _is_loopback(host):
        msg = f"Set {TOKEN_VARIABLE} to a token for {target.url}."
        raise ConnectionFaultError(msg)
    issuer = Keys(target.data_dir / "keys").issuer
    if not issuer.is_file():
        msg = (
            f"There are no keys in {target.data_dir}: name the platform's folder with --data-dir, "
            f"or set {TOKEN_VARIABLE}."
        )
        raise ConnectionFaultError(msg)
    claims = TokenClaims(organization=target.organization, ttl_seconds=_TOKEN_SECONDS)
    return issue_token(issuer.read_bytes(), claims)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Turns what can go wrong with a call into one sentence and an exit code."""
    try:
        yield
    except (ConnectionFaultError, AgentExecutorError, OSError) as error:
        message = str(error)
    else:
        return
    Console(stderr=True).print(
        f"agent-executor: {message}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    raise typer.Exit(FAILURE_EXIT_CODE)
