"""`agent-executor runs`: what runs there are, watching them, and ending them."""

from __future__ import annotations

import json
import time
from enum import StrEnum
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
from agent_executor.cli.figures import output_console
from agent_executor.cli.pages import rows_of
from agent_executor.cli.run_following import display_of, events_until, follow, interruptible
from agent_executor.cli.run_inputs import in_requests
from agent_executor.cli.run_steps import steps_of
from agent_executor.cli.run_waterfall import show_run
from agent_executor.cli.runs_report import show_receipt, show_runs

app = typer.Typer(help="Shows runs, follows and ends them.", no_args_is_help=True)


class State(StrEnum):
    """What a run is doing, or how it ended."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BUDGET_EXCEEDED = "budget_exceeded"


@app.callback()
def runs() -> None:
    """Show runs, follow and end them."""


@app.command("list")
def list_runs(
    state: Annotated[State | None, typer.Option(help="Only runs in this state.")] = None,
    agent: Annotated[str, typer.Option(help="Only this agent's runs.")] = "",
    parent: Annotated[str, typer.Option(help="Only runs that this run has started.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 20,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show runs, newest first: what they are doing, what they cost, and what was asked.

    For example:

        agent-executor runs list --state running
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        runs_found = client.runs.list(
            state=state or "", agent_id=agent, parent_run_id=parent, page_size=limit
        )
        found = rows_of(runs_found, limit)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_runs(found, output_console())


@app.command("start")
def start_runs(
    agent: Annotated[str, typer.Argument(help="The agent's id, or its name if no other has it.")],
    inputs_file: Annotated[
        typer.FileText,
        typer.Argument(help="What is asked, one input per line; `-` reads standard input."),
    ],
    batch: Annotated[
        bool,
        typer.Option(
            "--batch",
            help="Make the model calls through the provider's batches: cheaper, within a day each.",
        ),
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Start a run in the background for each line of a file, and print their ids.

    They are in the order of the lines; an empty line starts nothing. The exit code is 0 if all were
    started; why one was not is told on standard error.

    For example:

        agent-executor runs start "Math Assistant" questions.txt --batch
    """
    inputs = [line for line in inputs_file.read().splitlines() if line]
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        agent_id = agent_id_of(client, agent)
        processing = "batch" if batch else "standard"
        started: list[dict[str, Any]] = []
        for some in in_requests(inputs):
            answer = client.runs.start_batch(agent_id=agent_id, inputs=some, processing=processing)
            started += map(to_json, answer.results)
    if as_json:
        typer.echo(json.dumps(started))
    for text, result in zip(inputs, started, strict=True):
        if result["run_id"] and not as_json:
            typer.echo(result["run_id"])
        if result.get("error"):
            typer.echo(f"{text}: {result['error']}", err=True)
    if any(result.get("error") for result in started):
        raise typer.Exit(FAILURE_EXIT_CODE)


@app.command("show")
def show_one(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show what a run did and when: its model calls, tool calls and waits as bars over its time.

    It is drawn from the run's log, and needs nothing that collects traces. What a run that goes on
    has done so far is shown. With `--json` the log itself is printed, one event a line.

    For example:

        agent-executor runs show 01a22142-4b53-7d2b-a8b3-9131db1471a3
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        run = to_json(client.runs.get(run_id=run_id))
        events = events_until(client, run_id, run["last_sequence"])
    if as_json:
        for event in events:
            typer.echo(json.dumps(event))
    else:
        show_run(run, steps_of(events), time.time(), output_console())


@app.command("cancel")
def cancel_run(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the run's log.")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """End a run with those that it has started, and say what was stopped.

    It returns once nothing of the run goes on any more. A run that has ended is left as it is.

    For example:

        agent-executor runs cancel 01a22142-4b53-7d2b-a8b3-9131db1471a3 --reason "too slow"
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        receipt = to_json(client.runs.cancel(run_id=run_id, reason=reason))
    if as_json:
        typer.echo(json.dumps(receipt))
    else:
        show_receipt(receipt, output_console())


@app.command("follow")
def follow_run(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
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

        agent-executor runs follow 01a22142-4b53-7d2b-a8b3-9131db1471a3
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
