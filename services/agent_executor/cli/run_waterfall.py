"""What `agent-executor runs show` draws: a run's steps as bars over its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import decimals_for, new_table, usd
from agent_executor.cli.run_steps import Step
from agent_executor.cli.timeline import bar

_MICROSECONDS = 1_000_000


def show_run(run: Mapping[str, Any], steps: Sequence[Step], now: float, console: Console) -> None:
    """Prints a run and its steps.

    Args:
        run: As REST shows it.
        steps: What it did.
        now: In seconds since 1970-01-01 UTC, for what has not ended.
        console: Where to.
    """
    begun = datetime.fromisoformat(run["created_at"]).timestamp()
    ended = datetime.fromisoformat(run["ended_at"]).timestamp() if run.get("ended_at") else now
    cost = usd(int(run["cost_nano_usd"]))
    lines = [
        f"run {run['id']} · {run['model']} · {run['state']}",
        f"{run['tokens_used']:,} tokens · {cost} · {_seconds(ended - begun)}",
        f"asked: {' '.join(run['input'].split())}",
    ]
    if run.get("error"):
        lines.append(f"{run['code']}: {run['error']}")
    for line in lines:
        console.print(line, highlight=False, markup=False, overflow="ellipsis", no_wrap=True)
    if steps:
        console.print(_table(steps, begun, ended))


def _table(steps: Sequence[Step], begun: float, ended: float) -> Any:
    decimals = decimals_for([step.cost_nano_usd for step in steps])
    table = new_table()
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("timeline", no_wrap=True)
    table.add_column("step", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("outcome", overflow="ellipsis", no_wrap=True)
    for step in steps:
        until = ended if step.ended_at is None else step.ended_at
        style = "red" if step.has_failed else "green"
        drawn = bar(
            round((step.begun_at - begun) * _MICROSECONDS),
            round((until - begun) * _MICROSECONDS),
            round((ended - begun) * _MICROSECONDS),
        )
        table.add_row(
            _seconds(step.begun_at - begun),
            _seconds(until - step.begun_at),
            Text(drawn, style=style),
            Text(step.name),
            Text(usd(step.cost_nano_usd, decimals) if step.cost_nano_usd else ""),
            Text(step.outcome if step.ended_at is not None else "goes on"),
        )
    return table


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0.0):.3f} s"
