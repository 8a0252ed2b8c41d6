"""What `agent-executor usage` shows: a row per group, with how its cost went over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import (
    BLOCKS,
    NARROW_WIDTH,
    PLAIN_BLOCKS,
    can_draw,
    decimals_for,
    new_table,
    share,
    sparkline,
    usd,
)

TIME_GROUPS = ("hour", "day", "month")
WIDE_SPARKLINE = 32
SPARKLINE = 16
WIDE_WIDTH = 110

# The field of an answer in which a group is named.
_FIELDS = {
    "agent": "agent_id",
    "model": "model",
    "user": "user_id",
    "tool": "tool_name",
    "run": "run_id",
}
_INPUT_CLASSES = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
)


@dataclass(frozen=True, slots=True)
class CostOverTime:
    """The cost of groups by bucket of time.

    Attributes:
        bucket: What the buckets are.
        names: Of all buckets, in their order.
        rows: Sums by group and bucket, as the ledger answers them.
    """

    bucket: str
    names: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTable:
    """Sums by group.

    Attributes:
        groups: What they are grouped by.
        rows: As the ledger answers them.
        total: The sum over all groups.
        has_more: Whether there are more groups than rows.
        start: From when on, as asked; may be empty.
        end: Until when.
        over_time: None if it is grouped by time.
    """

    groups: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    total: Mapping[str, Any]
    has_more: bool
    start: str
    end: str
    over_time: CostOverTime | None = None


def show_usage(usage: UsageTable, console: Console) -> None:
    """Prints the table; at a narrow terminal without what takes most room."""
    span = f"{_minute(usage.start) or 'the beginning'} to {_minute(usage.end)}"
    if not usage.rows:
        console.print(f"Nothing was used from {span}.", highlight=False)
        return
    is_narrow = console.width < NARROW_WIDTH
    table = new_table()
    for group in usage.groups:
        table.add_column(group, overflow="fold")
    for name in ("entries",) if is_narrow else ("entries", "input", "output"):
        table.add_column(name, justify="right")
    table.add_column("cost", justify="right", no_wrap=True)
    if not is_narrow:
        table.add_column("share", justify="right", no_wrap=True)
    draws = usage.over_time is not None and not is_narrow
    if draws and usage.over_time is not None:
        table.add_column(f"cost by {usage.over_time.bucket}", style="green", no_wrap=True)
    decimals = decimals_for([int(row["cost_nano_usd"]) for row in (*usage.rows, usage.total)])
    lines = _sparklines(usage, console) if draws else {}
    for row in usage.rows:
        names = [_name(row, group) for group in usage.groups]
        line = [lines.get(tuple(names), "")] if draws else []
        table.add_row(*map(Text, [*names, *_figures(row, usage.total, decimals, is_narrow), *line]))
    table.add_section()
    total = ["total", *[""] * (len(usage.groups) - 1)]
    total += _figures(usage.total, usage.total, decimals, is_narrow)
    table.add_row(*(Text(cell, style="bold") for cell in total))
    console.print(span, highlight=False, style="dim")
    console.print(table)
    if usage.has_more:
        console.print("There are more rows; show them with --limit.", highlight=False)


def _figures(
    row: Mapping[str, Any], total: Mapping[str, Any], decimals: int, is_narrow: bool
) -> list[str]:
    cost = int(row["cost_nano_usd"])
    figures = [f"{int(row['entry_count']):,}"]
    if not is_narrow:
        figures.append(f"{sum(int(row[name]) for name in _INPUT_CLASSES):,}")
        figures.append(f"{int(row['output_tokens']):,}")
    figures.append(usd(cost, decimals))
    if not is_narrow:
        figures.append(share(cost, int(total["cost_nano_usd"])))
    return figures


def _name(row: Mapping[str, Any], group: str) -> str:
    return str(row[_FIELDS.get(group, group)]) or "-"


def _sparklines(usage: UsageTable, console: Console) -> dict[tuple[str, ...], str]:
    over_time = usage.over_time
    if over_time is None:
        return {}
    costs: dict[tuple[str, ...], Counter[str]] = {}
    for row in over_time.rows:
        names = tuple(_name(row, group) for group in usage.groups)
        costs.setdefault(names, Counter())[row[over_time.bucket]] += int(row["cost_nano_usd"])
    width = WIDE_SPARKLINE if console.width >= WIDE_WIDTH else SPARKLINE
    blocks = BLOCKS if can_draw(console) else PLAIN_BLOCKS
    return {
        names: sparkline([by_bucket[name] for name in over_time.names], width, blocks)
        for names, by_bucket in costs.items()
    }


def _minute(rfc_3339: str) -> str:
    """Returns a time of the API to the minute."""
    return f"{rfc_3339[:16].replace('T', ' ')} UTC" if rfc_3339 else ""
