"""Figures as they stand in a sentence."""

from __future__ import annotations

from typing import Final

from agent_executor.ledger.money import NANO_USD_PER_USD

_NANO_USD_PER_CENT: Final = NANO_USD_PER_USD // 100
_NANO_USD_PER_TEN_THOUSANDTH: Final = NANO_USD_PER_USD // 10_000


def dollars(nano_usd: int) -> str:
    """Returns an amount to the cent, one below 10 cents to a hundredth of a cent; half goes up."""
    if nano_usd < 10 * _NANO_USD_PER_CENT:
        return f"$0.{_rounded(nano_usd, _NANO_USD_PER_TEN_THOUSANDTH):04d}"
    cents = _rounded(nano_usd, _NANO_USD_PER_CENT)
    return f"${cents // 100:,}.{cents % 100:02d}"


def _rounded(amount: int, unit: int) -> int:
    return (2 * amount + unit) // (2 * unit)


def percent(part: int, whole: int) -> int:
    """Returns a part in whole percent, rounded down; of nothing it is 0."""
    return part * 100 // whole if whole else 0


def counted(count: int, noun: str) -> str:
    """Returns a number of things, for example ``1 call`` or ``1,200 calls``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def of_agent(agent_id: str) -> str:
    """Returns whose calls are meant."""
    return f"Agent {agent_id}" if agent_id else "Usage without an agent"
