"""`agent-executor keys`: API keys of programs, and the sessions of browsers."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from agent_executor.cli.api_keys_report import show_api_keys
from agent_executor.cli.as_json import as_json as to_json
from agent_executor.cli.connection import (
    DEFAULT_URL,
    AsJson,
    Organization,
    Target,
    Url,
    connect,
    failures_told,
)
from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.figures import output_console
from agent_executor.cli.pages import PAGE_ROWS, rows_of

MAX_KEYS = 10_000
SECONDS_PER_DAY = 86_400
MAX_DAYS = 365

app = typer.Typer(help="Makes, shows and revokes API keys.", no_args_is_help=True)


class KeyState(StrEnum):
    """How a key stands."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@app.callback()
def keys() -> None:
    """Make, show and revoke API keys."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    permission: Annotated[
        list[str] | None,
        typer.Option(help="What it permits, for example run:execute; repeatable. Default: all."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="How long it is valid.")] = 90,
    user: Annotated[str, typer.Option(help="The user it acts for. Default: the caller.")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Make a key, and print it, this once. What is known of it goes to standard error.

    For example:

        agent-executor keys create deployment --permission run:execute --days 30
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        created = client.api_keys.create(
            name=name,
            permissions=permission,
            ttl_seconds=days * SECONDS_PER_DAY,
            user_id=user,
        )
        made = to_json(created)
    if as_json:
        typer.echo(json.dumps(made))
        return
    show_api_keys([made["api_key"]], Console(stderr=True))
    typer.echo(made["key"])


@app.command("list")
def list_keys(
    state: Annotated[KeyState | None, typer.Option(help="Only those that stand so.")] = None,
    user: Annotated[str, typer.Option(help="Only those that act for this user.")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show keys and the sessions of browsers, the newest first.

    For example:

        agent-executor keys list --state active
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        keys_found = client.api_keys.list(
            user_id=user, state=state.value if state else "", page_size=PAGE_ROWS
        )
        found = rows_of(keys_found, MAX_KEYS)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_api_keys(found, output_console())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it; not the key.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Revoke a key for good. It opens nothing anywhere after 30 seconds.

    For example:

        agent-executor keys revoke 01a2226c-dd8e-7c17-8eb0-5523510221ac
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        revoked = to_json(client.api_keys.revoke(api_key_id=key_id))
    if as_json:
        typer.echo(json.dumps(revoked))
    else:
        show_api_keys([revoked], output_console())
