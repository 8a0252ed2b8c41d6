"""`agent-executor runs`: runs that are under way, or were."""

from __future__ import annotations

from typing import Annotated

import typer

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
from agent_executor.cli.run_following import cancel as cancel_run
from agent_executor.cli.run_following import display_of, follow, interruptible

app = typer.Typer(help="Runs that are under way, or were.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@app.command("follow")
def follow_run(
    run_id: RunId,
    after: Annotated[
        int, typer.Option(min=0, help="Only what happened after the event of this sequence.")
    ] = 0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Watch a run to its end, wherever and by whomever it was started.

    Ctrl-C leaves it. The exit code is 0 if it completed.

    For example:

        agent-executor runs follow 0193d1e2-6f2c-7a61-b2a7-5a3f1c9e8d40
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        display, tell = display_of(as_json=as_json)
        display.run_id, display.last_sequence = run_id, after
        with interruptible(client, display, cancels=False):
            ended = follow(client, run_id, after, tell)
        is_completed = display.show_end(ended)
    if not is_completed:
        raise typer.Exit(FAILURE_EXIT_CODE)


@app.command("cancel")
def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the run's log.")] = "",
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Stop a run with all that it has under way, and say what was stopped.

    For example:

        agent-executor runs cancel 0193d1e2-6f2c-7a61-b2a7-5a3f1c9e8d40 --reason "Asked twice."
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        display, _ = display_of(as_json=False)
        display.run_id = run_id
        cancel_run(client, display, reason)
