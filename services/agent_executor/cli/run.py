"""`agent-executor run`: executes an agent and shows what happens as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from agent_executor.cli.agents import agent_id_of
from agent_executor.cli.connection import (
    DEFAULT_URL,
    FAILURE_EXIT_CODE,
    AsJson,
    Organization,
    Target,
    Url,
    connect,
    failures_told,
)
from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.rest import RestClient, RestError
from agent_executor.cli.run_display import RunDisplay
from agent_executor.cli.run_following import Show, display_of, follow, interruptible


def run(
    agent: Annotated[str, typer.Argument(help="The agent's id, or its name if no other has it.")],
    text: Annotated[str, typer.Argument(metavar="INPUT", help="What is asked of it.")],
    cancel: Annotated[
        bool,
        typer.Option("--cancel", help="Bind the run to this command: cancel it with Ctrl-C."),
    ] = False,
    max_cost_usd: Annotated[
        float,
        typer.Option(min=0, help="What the run may cost at most, in US dollars; 0: no limit."),
    ] = 0.0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Execute an agent and watch it: its text as it is written, its tool calls, its cost.

    The answer goes to standard output, all else to standard error. Ctrl-C leaves the run, which goes
    on, and says how to follow it. A stream that is cut is taken up where it was. The exit code is 0
    if the run completed.

    For example:

        agent-executor run "Math Assistant" "What is 15 + 27?"
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        path = f"/api/v1/agents/{quote(agent_id_of(client, agent), safe='')}/execute/stream"
        body = {
            "input": text,
            "max_cost_usd": max_cost_usd,
            "on_disconnect": "cancel" if cancel else "continue",
        }
        display, tell = display_of(as_json=as_json)
        with interruptible(client, display, cancels=cancel):
            ended = _watch(client, path, body, display, tell)
        is_completed = display.show_end(ended)
    if not is_completed:
        raise typer.Exit(FAILURE_EXIT_CODE)


def _watch(
    client: RestClient, path: str, body: dict[str, Any], display: RunDisplay, tell: Show
) -> dict[str, Any]:
    """Tells of a new run to its end, and returns how it ended."""
    for update in _until_cut(client.events("POST", path, body), display):
        tell(update)
        if update["type"] == "done":
            done: dict[str, Any] = update["done"]
            return done
    if not display.run_id:
        msg = "The stream was cut before the run was heard of; it may have begun."
        raise RestError(msg)
    display.note("The stream was cut; following the run.")
    return follow(client, display.run_id, display.last_sequence, tell)


def _until_cut(updates: Iterator[dict[str, Any]], display: RunDisplay) -> Iterator[dict[str, Any]]:
    """Yields updates until there are no more, or the connection breaks once the run is known."""
    try:
        for update in updates:
            if update["type"] == "error":
                return
            yield update
    except OSError:
        if not display.run_id:
            raise
