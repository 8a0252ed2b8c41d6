"""What `agent-executor runs` shows: a row for each run, and the receipt of a cancellation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import NARROW_WIDTH, decimals_for, new_table, usd

INPUT_CHARACTERS = 60

_LINES = (
    ("stopped", "stopped_call_ids"),
    ("of these, whether they took effect is unknown", "unknown_call_ids"),
    ("had finished before", "finished_call_ids"),
    ("never begun", "never_begun_call_ids"),
    ("runs stopped with it", "stopped_run_ids"),
)


def show_runs(runs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints a row per run."""
    if not runs:
        console.print("There are no such runs.", highlight=False)
        return
    is_narrow = console.width < NARROW_WIDTH
    decimals = decimals_for([int(run["cost_nano_usd"]) for run in runs])
    table = new_table()
    table.add_column("run", overflow="fold")
    table.add_column("state")
    table.add_column("cost", justify="right")
    if not is_narrow:
        table.add_column("begun (UTC)", no_wrap=True)
        table.add_column("input", overflow="ellipsis", no_wrap=True)
    for run in runs:
        cells = [
            Text(run["id"]),
            Text(run["state"]),
            Text(usd(int(run["cost_nano_usd"]), decimals)),
        ]
        if not is_narrow:
            begun = run["created_at"][:19].replace("T", " ")
            asked = " ".join(run["input"].split())
            cells += [Text(begun), Text(_shortened(asked))]
        table.add_row(*cells)
    console.print(table)


def show_receipt(receipt: Mapping[str, Any], console: Console) -> None:
    """Prints what a cancellation did."""
    was_stopped = receipt["was_stopped"]
    said = "was stopped" if was_stopped else f"had ended before, as {receipt['state']}"
    lines = [f"Run {receipt['run_id']} {said}."]
    for name, key in _LINES:
        ids = receipt.get(key) or []
        if ids:
            lines.append(f"  {name}: {', '.join(ids)}")
    cost, released = int(receipt["cost_nano_usd"]), int(receipt["released_nano_usd"])
    lines.append(f"  it cost {usd(cost)}; {usd(released)} that was held is free again")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _shortened(text: str) -> str:
    return text if len(text) <= INPUT_CHARACTERS else f"{text[: INPUT_CHARACTERS - 1]}…"
