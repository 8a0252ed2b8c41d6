"""What `agent-executor demo` shows of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent_executor.cli.otlp_receiver import ReceivedSpan
from agent_executor.cli.timeline import timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What was seen of one run.

    Attributes:
        run: The answer of the execute route.
        entries: What the ledger has for the run.
        spans: The run's trace.
    """

    run: Mapping[str, Any]
    entries: Sequence[Mapping[str, Any]]
    spans: Sequence[ReceivedSpan]


def show(demonstration: Demonstration, console: Console) -> None:
    """Prints the answer, the tool calls, the cost, the timeline and the ledger entries."""
    run = demonstration.run
    summary = Table.grid(padding=(0, 2))
    summary.add_row("[bold]input[/]", Text(run["input"]))
    summary.add_row("[bold]answer[/]", Text(run["output"]["response"]))
    cost = f"{run['tokens_used']} tokens, ${run['cost_usd']:.6f}"
    summary.add_row("[bold]state[/]", Text(f"{run['state']}, {cost}, {run['model']}"))
    console.print(summary)
    _section(console, "tool calls", _tool_calls(run["output"]["tool_results"]))
    _section(console, "timeline", timeline(demonstration.spans))
    _section(console, "ledger entries", _entries(demonstration.entries))


def _section(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(f"[bold]{title}[/]")
    console.print(table)


def _tool_calls(results: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("tool", "result", "tool call id"):
        table.add_column(column, no_wrap=True)
    for result in results:
        outcome = json.dumps(result["result"]) if result["success"] else result["error"]
        cells = (result["tool_name"], outcome, result["tool_call_id"])
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _entries(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("entry", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("input tokens", "output tokens", "nano-dollars"):
        table.add_column(column, justify="right")
    for entry in entries:
        usage = entry["usage"]
        tokens = (str(usage["input_tokens"]), str(usage["output_tokens"]))
        table.add_row(entry["id"], entry["kind"], *tokens, str(entry["cost_nano_usd"]))
    table.add_row(
        "[bold]total[/]", "", "", "", str(sum(int(entry["cost_nano_usd"]) for entry in entries))
    )
    return table
