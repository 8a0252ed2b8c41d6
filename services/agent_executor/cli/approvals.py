"""`agent-executor approvals`: tool calls that wait for a person's decision."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent_executor.cli.approvals_report import show_approvals
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

MAX_APPROVALS = 10_000

app = typer.Typer(
    help="Shows tool calls that wait for a person, and decides about them.", no_args_is_help=True
)

RunId = Annotated[str, typer.Argument(help="The run.")]
ToolCallId = Annotated[str, typer.Argument(help="The tool call.")]
Reason = Annotated[str, typer.Option(help="Why; the model is told the reason of a denial.")]


@app.callback()
def approvals() -> None:
    """Show tool calls that wait for a person, and decide about them."""


@app.command("list")
def list_approvals(
    run: Annotated[str, typer.Option(help="Only this run's.")] = "",
    agent: Annotated[str, typer.Option(help="Only this agent's.")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Show the tool calls that wait, oldest first.

    For example:

        agent-executor approvals list
    """
    with failures_told():
        client = connect(Target(url=url, data_dir=data_dir, organization=organization))
        waiting = client.approvals.list(run_id=run, agent_id=agent, page_size=PAGE_ROWS)
        found = rows_of(waiting, MAX_APPROVALS)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_approvals(found, output_console())


@app.command()
def approve(
    run_id: RunId,
    tool_call_id: ToolCallId,
    reason: Reason = "",
    arguments: Annotated[
        str, typer.Option(help="The arguments to use in place of the model's, as JSON.")
    ] = "",
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Let a tool call pass, with the model's arguments or with others.

    For example:

        agent-executor approvals approve RUN TOOL_CALL --arguments '{"to": "ada@example.com"}'
    """
    target = Target(url=url, data_dir=data_dir, organization=organization)
    answer = {"decision": "approve", "reason": reason, "arguments_json": arguments}
    _resolve(target, run_id, tool_call_id, answer)


@app.command()
def deny(
    run_id: RunId,
    tool_call_id: ToolCallId,
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Organization = "default",
) -> None:
    """Deny a tool call; the model is told, and its run goes on.

    For example:

        agent-executor approvals deny RUN TOOL_CALL --reason "Not to customers."
    """
    target = Target(url=url, data_dir=data_dir, organization=organization)
    _resolve(target, run_id, tool_call_id, {"decision": "deny", "reason": reason})


def _resolve(target: Target, run_id: str, tool_call_id: str, answer: dict[str, str]) -> None:
    with failures_told():
        approvals = connect(target).approvals
        decided = approvals.resolve(run_id=run_id, tool_call_id=tool_call_id, **answer)
    typer.echo(f"{decided.state} by {decided.decided_by}")
