"""`agent-executor run`: executes an agent and shows what happens as it happens."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent_executor.cli.agents import agent_id_of
from agent_executor.cli.as_json import as_json as to_json
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
from agent_executor.cli.run_following import ATTEMPTS, display_of, interruptible


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
        agent_id = agent_id_of(client, agent)
        display, tell = display_of(as_json=as_json)
        ended: dict[str, Any] = {}
        with interruptible(client, display, cancels=cancel):
            # A stream that is cut is taken up where it was.
            for update in client.with_options(max_attempts=ATTEMPTS).runs.stream(
                agent_id=agent_id,
                input=text,
                max_cost_usd=max_cost_usd,
                on_disconnect="cancel" if cancel else "continue",
            ):
                shown = to_json(update)
                tell(shown)
                ended = shown.get("done", {})
        is_completed = display.show_end(ended)
    if not is_completed:
        raise typer.Exit(FAILURE_EXIT_CODE)
