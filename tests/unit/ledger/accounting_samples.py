"""Round prices, and holds and entries at them: a hold is 200 nano-dollars, its call costs 100."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import RateCard, Rates

MODEL = "model-1"
DEARER_MODEL = "model-2"
ORGANIZATION = "acme"

# 2026-02-23 10:00 UTC, a Monday.
NOW_MS = 1_771_840_800_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS + DAY_MS


def card(model: str = MODEL, nano_usd_per_token: int = 1) -> RateCard:
    """Returns a card: input costs so much, output 5 times that, cache 1, 2 and 3 times."""
    pico = 1_000 * nano_usd_per_token
    rates = Rates(*(PicoUsdPerToken(pico * factor) for factor in (1, 5, 1, 2, 3)))
    return RateCard.of(provider="test", model=model, base=rates)


CARD = card()
DEARER = card(DEARER_MODEL, 10)
RAISED = card(nano_usd_per_token=7)
FREE = card(nano_usd_per_token=0)
CARDS = (CARD, DEARER, RAISED, FREE)


def hold(reservation_id: str = "call-1", **changes: Any) -> Reservation:
    """Returns what is asked for a call: 100 input and 20 output tokens, 200 in all, for an hour."""
    asked: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "user_id": "ada",
        "agent_id": "agent",
        "run_id": "run",
        "model": MODEL,
        "max_input_tokens": 100,
        "max_output_tokens": 20,
        "rate_card_id": CARD.id,
        "held_nano_usd": 200,
        "created_at_ms": NOW_MS,
        "ttl_ms": HOUR_MS,
        **changes,
    }
    asked.setdefault("asked_output_tokens", asked["max_output_tokens"])
    asked.setdefault("remaining_nano_usd", asked["held_nano_usd"])
    asked.setdefault("expires_at_ms", asked["created_at_ms"] + asked["ttl_ms"])
    return Reservation(id=reservation_id, **asked)


def amount(reservation_id: str = "run", nano_usd: int = 1_000, **changes: Any) -> Reservation:
    """Returns what is asked for a run: an amount from which its calls draw."""
    return hold(
        reservation_id,
        **{
            "model": "",
            "max_input_tokens": 0,
            "max_output_tokens": 0,
            "rate_card_id": "",
            "held_nano_usd": nano_usd,
            **changes,
        },
    )


def entry(entry_id: str = "call-1", **changes: Any) -> UsageEntry:
    """Returns what is known of a call when it is settled: 50 input and 10 output tokens, 100."""
    known = UsageEntry(
        id=entry_id,
        organization_id=ORGANIZATION,
        user_id="ada",
        agent_id="agent",
        run_id="run",
        model=MODEL,
        usage=TokenCounts(50, 10),
        reservation_id=entry_id,
        occurred_at_ms=NOW_MS,
        created_at_ms=NOW_MS,
    )
    return msgspec.structs.replace(known, **changes)


def priced(entry_id: str = "entry-1", cost_nano_usd: int = 100, **changes: Any) -> UsageEntry:
    """Returns an entry that is complete."""
    return entry(
        entry_id,
        **{
            "reservation_id": "",
            "cost_nano_usd": NanoUsd(cost_nano_usd),
            "rate_card_id": CARD.id,
            **changes,
        },
    )


def tool_entry(entry_id: str = "tool-1", fee_nano_usd: int = 0, **changes: Any) -> UsageEntry:
    """Returns the entry of a tool call."""
    return priced(
        entry_id,
        fee_nano_usd,
        **{
            "kind": "tool_call",
            "model": "",
            "tool_name": "search",
            "usage": TokenCounts(),
            "rate_card_id": "",
            **changes,
        },
    )


def adjustment(entry_id: str, cost_nano_usd: int, **changes: Any) -> UsageEntry:
    """Returns an amount without usage."""
    return priced(
        entry_id,
        cost_nano_usd,
        **{
            "kind": "adjustment",
            "model": "",
            "usage": TokenCounts(),
            "rate_card_id": "",
            **changes,
        },
    )


def budget(budget_id: str = "all", limit_nano_usd: int = 1_000, **changes: Any) -> Budget:
    """Returns a budget of the whole organization without an end."""
    return msgspec.structs.replace(
        Budget(budget_id, ORGANIZATION, NanoUsd(limit_nano_usd)), **changes
    )
