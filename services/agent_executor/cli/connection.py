"""How a command reaches a platform that runs, and how it tells what went wrong."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import typer
from rich.console import Console

from agent_executor.cli.environment import inherited_environment
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import Keys
from agent_executor.cli.rest import RestClient, RestError

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_VARIABLE = "AGENT_EXECUTOR_TOKEN"
FAILURE_EXIT_CODE = 1
_HTTP_PORT, _HTTPS_PORT = 80, 443
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


def connect(target: Target) -> RestClient:
    """Returns a client of a platform.

    Raises:
        ConnectionFaultError: The URL is none, or there is no token for it.
    """
    parts = urlsplit(target.url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        msg = f"{target.url!r} is no URL of a platform; it looks like {DEFAULT_URL}."
        raise ConnectionFaultError(msg)
    is_encrypted = parts.scheme == "https"
    return RestClient(
        host=parts.hostname,
        port=port or (_HTTPS_PORT if is_encrypted else _HTTP_PORT),
        token=_token(target, parts.hostname),
        is_encrypted=is_encrypted,
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


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Returns a path with those parameters that are set; a sequence is a repeated one."""
    given = {name: value for name, value in query.items() if value not in (None, "", (), [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Turns what can go wrong with a call into one sentence and an exit code."""
    try:
        yield
    except (ConnectionFaultError, RestError) as error:
        message = str(error)
    except json.JSONDecodeError:
        message = "What answered is no platform: its answer is no JSON."
    except OSError as error:
        message = f"The platform cannot be reached: {error.strerror or error}."
    else:
        return
    Console(stderr=True).print(
        f"agent-executor: {message}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    raise typer.Exit(FAILURE_EXIT_CODE)
