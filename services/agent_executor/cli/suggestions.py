"""`agent-executor suggestions`: how the same work could cost less."""

from __future__ import annotations

import json
from typing import Annotated

import typer

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
from agent_executor.cli.suggestions_report import show_suggestions


def suggestions(
    agent: Annotated[str, typer.Option(help="Only this agent's usage.")] = "",
    days: Annotated[
        int, typer.Option(min=1, max=90, help="How many days of usage to look at.")
    ] = 30,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show how the same work could cost less, computed from what was recorded.

    Each suggestion says what was found, in which runs, what to change, and what that saves in 30 days
    at the rate of the time looked at: what is expected, and from the low end to the high one.

    For example:

        agent-executor suggestions --days 7
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        found = to_json(client.suggestions.list(agent_id=agent, days=days))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_suggestions(found, output_console())
