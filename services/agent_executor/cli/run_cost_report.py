"""What `agent-executor usage run` shows: a run's cost step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent_executor.cli.figures import NARROW_WIDTH, decimals_for, new_table, usd

_CACHE_CLASSES = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
)
# How an entry may find its reservation that is worth a word; it was open as a rule.
_LATE = {
    "unknown": "settled without a hold",
    "settled": "settled a second time",
    "voided": "settled after it was cancelled",
    "expired": "settled after its hold had ended",
}
_ENDED = {
    "open": "under way",
    "voided": "cancelled or failed before it was made",
    "expired": "never settled",
}


def show_run_cost(cost: Mapping[str, Any], console: Console) -> None:
    """Prints every entry of a run, what was held and came to nothing, and the sums."""
    entries: Sequence[Mapping[str, Any]] = cost["entries"]
    total = int(cost["total"]["cost_nano_usd"])
    amounts = [total, *(int(entry["cost_nano_usd"]) for entry in entries)]
    decimals = decimals_for(amounts)
    console.print(Text.assemble("run ", (cost["run_id"], "bold")))
    if entries:
        console.print(_steps(entries, decimals, is_narrow=console.width < NARROW_WIDTH))
    unsettled = [one for one in cost["reservations"] if one["state"] in _ENDED]
    if unsettled:
        console.print()
        console.print(_holds(unsettled, decimals))
    console.print()
    console.print(_sums(cost, total, decimals), highlight=False)


def _steps(entries: Sequence[Mapping[str, Any]], decimals: int, *, is_narrow: bool) -> Table:
    table = new_table()
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("step", overflow="fold")
    if not is_narrow:
        for name in ("input", "cached", "output"):
            table.add_column(name, justify="right")
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("", overflow="fold", style="yellow")
    began = min(_time(entry) for entry in entries)
    for entry in entries:
        seconds = (_time(entry) - began).total_seconds()
        cells = [f"{seconds:,.1f} s", _step(entry)]
        if not is_narrow:
            cells += _tokens(entry)
        cells += [usd(int(entry["cost_nano_usd"]), decimals), ", ".join(_remarks(entry))]
        table.add_row(*map(Text, cells))
    return table


def _holds(reservations: Sequence[Mapping[str, Any]], decimals: int) -> Table:
    table = new_table()
    table.add_column("held, and not spent", overflow="fold")
    table.add_column("worst case", justify="right", no_wrap=True)
    table.add_column("", style="yellow")
    for one in reservations:
        held = usd(int(one["held_nano_usd"]), decimals)
        table.add_row(*map(Text, (one["id"], held, _ENDED[one["state"]])))
    return table


def _sums(cost: Mapping[str, Any], total: int, decimals: int) -> str:
    sums = f"{usd(total, decimals)} in all, {int(cost['total']['tokens_used']):,} tokens"
    estimated, held = int(cost["estimated_nano_usd"]), int(cost["reserved_nano_usd"])
    if estimated:
        sums += f"; {usd(estimated, decimals)} of it is estimated, for the answer was lost"
    if held:
        sums += f"; {usd(held, decimals)} is held now"
    return f"{sums}."


def _step(entry: Mapping[str, Any]) -> str:
    what = entry["tool_name"] or entry["model"]
    if entry["kind"] == "model_call":
        return str(what)
    return f"{entry['kind'].replace('_', ' ')} {what}".rstrip()


def _tokens(entry: Mapping[str, Any]) -> list[str]:
    # Absent for what has no tokens.
    usage = entry.get("usage") or {}
    cached = sum(int(usage.get(name, 0)) for name in _CACHE_CLASSES)
    counts = (int(usage.get("input_tokens", 0)), cached, int(usage.get("output_tokens", 0)))
    return [f"{count:,}" if count else "" for count in counts]


def _remarks(entry: Mapping[str, Any]) -> list[str]:
    remarks = []
    if int(entry["attempt"]) > 1:
        remarks.append(f"attempt {entry['attempt']}")
    if entry["estimated"]:
        remarks.append("estimated")
    if entry["is_test"]:
        remarks.append("test")
    if entry["reservation_outcome"] in _LATE:
        remarks.append(_LATE[entry["reservation_outcome"]])
    if entry["corrects_entry_id"]:
        remarks.append(f"of {entry['corrects_entry_id']}")
    if entry["description"]:
        remarks.append(entry["description"])
    return remarks


def _time(entry: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["occurred_at"] or entry["created_at"])
