"""The `agent-executor` command and its sub-commands."""

from __future__ import annotations

import typer

from agent_executor.cli.audit import app as audit
from agent_executor.cli.demo import demo
from agent_executor.cli.mock_claude import mock_claude
from agent_executor.cli.serve import serve
from agent_executor.cli.token import token
from agent_executor.cli.up import up

app = typer.Typer(
    name="agent-executor",
    help="Runs LLM agents: durable runs, sandboxed tools, an exact ledger.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.command()(up)
app.command()(token)
app.command()(demo)
app.command()(serve)
app.command()(mock_claude)
app.add_typer(audit, name="audit")


def main() -> None:
    """Runs the command."""
    app()
