"""What `agent-executor rate-cards` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from agent_executor.cli.figures import NARROW_WIDTH, new_table, usd

# The fields of rates, in the order in which a person gives them.
RATES = (
    "input_usd_per_million_tokens",
    "output_usd_per_million_tokens",
    "cache_read_usd_per_million_tokens",
    "cache_write_5m_usd_per_million_tokens",
    "cache_write_1h_usd_per_million_tokens",
)
_RATE_NAMES = ("input", "output", "cache read", "write 5 min", "write 1 h")


def show_cards(cards: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints a row per card."""
    if not cards:
        console.print("There are no prices of your own: the price list holds.", highlight=False)
        return
    is_narrow = console.width < NARROW_WIDTH
    table = new_table()
    table.add_column("rate card", overflow="fold")
    table.add_column("price", overflow="fold")
    if not is_narrow:
        for name in ("from (UTC)", "until (UTC)", "state"):
            table.add_column(name, overflow="fold")
    for card in cards:
        cells = [card["id"], _price(card)]
        if not is_narrow:
            cells += [_minute(card.get("valid_from")), _minute(card.get("valid_until"))]
            cells.append("withdrawn" if card.get("withdrawn_at") else "")
        table.add_row(*map(Text, cells))
    console.print(table)


def show_card(card: Mapping[str, Any], console: Console) -> None:
    """Prints one card, its tiers below one another."""
    console.print(Text(card["id"], style="bold"))
    if card["tool_name"]:
        console.print(f"{_dollars(card['fee_usd'])} per call", highlight=False)
        return
    table = new_table()
    table.add_column("dollars per million tokens", overflow="fold")
    for name in _RATE_NAMES:
        table.add_column(name, justify="right")
    table.add_row("below all tiers" if card["tiers"] else "", *_rates(card["rates"]))
    for tier in card["tiers"]:
        above = f"above {int(tier['above_input_tokens']):,} input tokens"
        table.add_row(above, *_rates(tier["rates"]))
    console.print(table)


def show_example(
    found: Mapping[str, Any], input_tokens: int, output_tokens: int, console: Console
) -> None:
    """Prints what an example costs."""
    cost = usd(int(found["cost_nano_usd"]), 9).rstrip("0")
    console.print(
        f"{input_tokens:,} input and {output_tokens:,} output tokens cost {cost}.", highlight=False
    )


def _price(card: Mapping[str, Any]) -> str:
    if card["tool_name"]:
        return f"{_dollars(card['fee_usd'])} per call"
    rates = ":".join(_rates(card["rates"]))
    tiers = len(card["tiers"])
    more = f" and {tiers} tier{'s' * (tiers > 1)}" if tiers else ""
    return f"{rates} per million tokens{more}"


def _rates(rates: Mapping[str, Any]) -> list[str]:
    """Returns rates as they hold: what is not set is as the one before it, reading as input."""
    shown = [f"{rates[RATES[0]]:.6g}", f"{rates[RATES[1]]:.6g}"]
    before = shown[0]
    for name in RATES[2:]:
        value = rates.get(name)
        before = before if value is None else f"{value:.6g}"
        shown.append(before)
    return shown


def _dollars(amount: float) -> str:
    return f"${amount:.9f}".rstrip("0").rstrip(".")


def _minute(rfc_3339: str | None) -> str:
    return (rfc_3339 or "")[:16].replace("T", " ")
