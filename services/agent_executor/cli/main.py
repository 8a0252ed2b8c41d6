"""The `agent-executor` command and its sub-commands."""

from __future__ import annotations

import typer

from agent_executor.cli.api_keys import app as keys
from agent_executor.cli.approvals import app as approvals
from agent_executor.cli.audit import app as audit
from agent_executor.cli.backup import backup
from agent_executor.cli.budgets import app as budgets
from agent_executor.cli.certificates import certificates
from agent_executor.cli.copy_data import copy_data
from agent_executor.cli.demo import demo
from agent_executor.cli.gateway_config import gateway_config
from agent_executor.cli.ledger import app as ledger
from agent_executor.cli.mock_claude import mock_claude
from agent_executor.cli.monitor import monitor
from agent_executor.cli.rate_cards import app as rate_cards
from agent_executor.cli.restore import restore
from agent_executor.cli.run import run
from agent_executor.cli.runs import app as runs
from agent_executor.cli.serve import serve
from agent_executor.cli.suggestions import suggestions
from agent_executor.cli.token import token
from agent_executor.cli.up import up
from agent_executor.cli.usage import app as usage

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
app.add_typer(keys, name="keys")
app.command()(demo)
app.command()(run)
app.add_typer(runs, name="runs")
app.command()(monitor)
app.command()(serve)
app.command()(certificates)
app.command()(gateway_config)
app.command()(mock_claude)
app.add_typer(usage, name="usage")
app.add_typer(budgets, name="budgets")
app.add_typer(rate_cards, name="rate-cards")
app.command()(suggestions)
app.add_typer(approvals, name="approvals")
app.add_typer(audit, name="audit")
app.add_typer(ledger, name="ledger")
app.command()(backup)
app.command()(restore)
app.command()(copy_data)


def main() -> None:
    """Runs the command."""
    app()
