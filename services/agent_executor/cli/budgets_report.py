"""What `agent-executor budgets` shows: a bar for each budget, and what has happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import (
    NARROW_WIDTH,
    can_draw,
    decimals_for,
    new_table,
    stacked_bar,
    usd,
)

MARKS = "█▒░"
PLAIN_MARKS = "#=."
BAR_WIDTH = 20

_SCOPES = (("user", "user_id"), ("agent", "agent_id"), ("run", "run_id"))


def show_budgets(budgets: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints a row per budget."""
    if not budgets:
        console.print(
            "There are no budgets: nothing limits what is spent. Make one with "
            "`agent-executor budgets set everyone --limit 50 --window month`.",
            highlight=False,
        )
        return
    is_narrow = console.width < NARROW_WIDTH
    marks = MARKS if can_draw(console) else PLAIN_MARKS
    table = new_table()
    table.add_column("budget", overflow="fold")
    if not is_narrow:
        table.add_column("of", overflow="fold")
    for name in ("limit", "spent", "held", "left"):
        table.add_column(name, justify="right", no_wrap=not is_narrow)
    if not is_narrow:
        table.add_column(f"spent {marks[0]} held {marks[1]} left {marks[2]}", no_wrap=True)
        table.add_column("resets (UTC)", overflow="fold")
    for budget in budgets:
        names = ("limit_nano_usd", "settled_nano_usd", "reserved_nano_usd", "left_nano_usd")
        amounts = [int(budget[name]) for name in names]
        limit, settled, reserved, left = amounts
        decimals = decimals_for([limit, settled])
        cells = [Text(budget["id"])]
        if not is_narrow:
            cells.append(Text(scope(budget)))
        cells += [Text(usd(amount, decimals)) for amount in amounts[:3]]
        cells.append(Text(usd(left, decimals), style="bold red" if left <= 0 else ""))
        if not is_narrow:
            drawn = stacked_bar((settled, reserved), limit, BAR_WIDTH, marks)
            cells += [Text(drawn, style="red" if left <= 0 else "green"), Text(_resets(budget))]
        table.add_row(*cells)
    console.print(table)


def show_events(events: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints a row per event."""
    if not events:
        console.print("Nothing has happened to any budget.", highlight=False)
        return
    table = new_table()
    for name in ("when (UTC)", "budget", "what happened"):
        table.add_column(name, overflow="fold")
    for name in ("limit", "spent", "held"):
        table.add_column(name, justify="right")
    table.add_column("entry", overflow="fold")
    for event in events:
        names = ("limit_nano_usd", "settled_nano_usd", "reserved_nano_usd")
        amounts = [int(event[name]) for name in names]
        decimals = decimals_for(amounts)
        is_overrun = event["kind"] == "overrun"
        what = "overrun" if is_overrun else f"reached {event['percent']} %"
        cells = (_second(event["created_at"]), event["budget_id"])
        table.add_row(
            *map(Text, cells),
            Text(what, style="red" if is_overrun else ""),
            *(Text(usd(amount, decimals)) for amount in amounts),
            Text(event["entry_id"] or "the limit was lowered"),
        )
    console.print(table)


def scope(budget: Mapping[str, Any]) -> str:
    """Returns whose spending is limited, and in which window."""
    whose = [f"{name} {budget[field]}" for name, field in _SCOPES if budget[field]]
    window = "in all" if budget["window"] == "total" else f"per {budget['window']}"
    zone = budget["time_zone"]
    if budget["window"] != "total" and zone not in ("", "UTC"):
        window += f" ({zone})"
    return f"{', '.join(whose) or 'everyone'} {window}"


def _resets(budget: Mapping[str, Any]) -> str:
    return _second(budget.get("resets_at") or "")[:16]


def _second(rfc_3339: str) -> str:
    return rfc_3339[:19].replace("T", " ")
