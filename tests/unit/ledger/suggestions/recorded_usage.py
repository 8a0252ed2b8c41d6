"""Histories of usage with round prices, so that a saving can be told by mental arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates, Tier
from agent_executor.ledger.suggestions.prices import CardOptions
from agent_executor.ledger.suggestions.store_memory import MemoryEvidenceStore
from agent_executor.ledger.suggestions.suggestion import Suggestion
from agent_executor.ledger.suggestions.suggestions import SuggestionPage, Suggestions
from agent_executor.serving.security import SecurityContext

ADA = SecurityContext("acme", "ada", frozenset({"ledger:read"}))
EVE = SecurityContext("other", "eve", frozenset({"ledger:read"}))

# 2026-02-23 10:00 UTC.
NOW_MS = 1_771_840_800_000
SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# Where histories begin, well within 30 days; the beginning of an hour.
START_MS = NOW_MS - 10 * DAY_MS

_NUMBERS = itertools.count(1)


def rates(input_usd: int, factor: float = 1) -> Rates:
    """Returns rates by dollars per million input tokens; the rest as Anthropic has it."""
    pico = input_usd * 1_000_000
    multiples = (1, 5, 0.1, 1.25, 2)
    return Rates(*(PicoUsdPerToken(int(pico * each * factor)) for each in multiples))


def card(
    model: str, base: Rates, tiers: tuple[Tier, ...] = (), context: PriceContext = ()
) -> RateCard:
    """Returns a card."""
    return RateCard.of(provider="test", model=model, base=base, tiers=tiers, context=context)


BATCH_CONTEXT: PriceContext = (("processing", "batch"),)
# Dollars per million tokens: $3 in, $15 out, $0.30 read, $3.75 and $6 written.
LARGE = card("claude-large", rates(3))
# $1 in, $5 out, $0.10 read.
SMALL = card("claude-small", rates(1))
LARGE_BATCH = card("claude-large", rates(3, 0.5), context=BATCH_CONTEXT)
# As LARGE; above 100,000 input tokens everything costs double.
TIERED = card("claude-tiered", rates(3), (Tier(100_000, rates(6)),))
TOOL_CARD_ID = "organization/search@0"

OPTIONS = {
    LARGE.id: CardOptions(LARGE, cheaper=SMALL, batch=LARGE_BATCH, min_cacheable_tokens=1_024),
    SMALL.id: CardOptions(SMALL),
    TIERED.id: CardOptions(TIERED),
    LARGE_BATCH.id: CardOptions(LARGE_BATCH),
}


class FixedPrices:
    """``SuggestionPrices`` that a test sets; it records what it was asked."""

    def __init__(self, options: Mapping[str, CardOptions] | None = None) -> None:
        self.known = OPTIONS if options is None else options
        self.asked: list[tuple[str, str, int, int]] = []

    async def options(
        self, organization_id: str, rate_card_id: str, max_input_tokens: int, at_ms: int
    ) -> CardOptions | None:
        """See ``SuggestionPrices``."""
        self.asked.append((organization_id, rate_card_id, max_input_tokens, at_ms))
        return self.known.get(rate_card_id)


def model_call(
    usage: TokenUsage,
    at_ms: int = START_MS,
    *,
    priced_by: RateCard = LARGE,
    agent_id: str = "agent",
    run_id: str = "run",
    purpose: Purpose | None = None,
    **changes: Any,
) -> UsageEntry:
    """Returns a model call at the price of its card."""
    entry = UsageEntry(
        id=f"call-{next(_NUMBERS)}",
        organization_id="acme",
        user_id="ada",
        agent_id=agent_id,
        run_id=run_id,
        model=priced_by.model,
        usage=usage,
        cost_nano_usd=priced_by.cost(usage),
        rate_card_id=priced_by.id,
        processing=dict(priced_by.context).get("processing", ""),
        purpose=purpose or Purpose(),
        occurred_at_ms=at_ms,
        created_at_ms=at_ms,
    )
    return msgspec.structs.replace(entry, **changes)


def tool_call(
    digest: str, at_ms: int, fee_nano_usd: int, *, run_id: str = "run", **changes: Any
) -> UsageEntry:
    """Returns a tool call with a fee."""
    entry = UsageEntry(
        id=f"call-{next(_NUMBERS)}",
        organization_id="acme",
        kind="tool_call",
        user_id="ada",
        agent_id="agent",
        run_id=run_id,
        tool_name="search",
        cost_nano_usd=NanoUsd(fee_nano_usd),
        rate_card_id=TOOL_CARD_ID,
        purpose=Purpose(content_digest=digest),
        occurred_at_ms=at_ms,
        created_at_ms=at_ms,
    )
    return msgspec.structs.replace(entry, **changes)


def change(
    of: UsageEntry, kind: str, usage: Mapping[str, int], cost_nano_usd: int, rate_card_id: str = ""
) -> UsageEntry:
    """Returns a correction or a rerating of a call: the differences."""
    return msgspec.structs.replace(
        of,
        id=f"call-{next(_NUMBERS)}",
        kind=kind,
        usage=TokenCounts(**usage),
        cost_nano_usd=NanoUsd(cost_nano_usd),
        rate_card_id=rate_card_id or of.rate_card_id,
        corrects_entry_id=of.id,
        purpose=Purpose(),
    )


async def suggest(
    entries: Iterable[UsageEntry],
    *,
    prices: FixedPrices | None = None,
    security: SecurityContext = ADA,
    agent_id: str = "",
    days: int = 30,
    now_ms: int = NOW_MS,
) -> SuggestionPage:
    """Returns what is suggested for a history."""
    history = list(entries)
    suggestions = Suggestions(
        MemoryEvidenceStore(lambda: history), prices or FixedPrices(), lambda: now_ms / 1000
    )
    return await suggestions.list(security, agent_id=agent_id, days=days)


async def suggest_one(entries: Iterable[UsageEntry], kind: str) -> Suggestion | None:
    """Returns the only suggestion of a kind for a history, or None if there is none."""
    page = await suggest(entries)
    found = [one for one in page.suggestions if one.kind == kind]
    assert len(found) <= 1
    return found[0] if found else None


def in_dollars(suggestion: Suggestion | None) -> tuple[float, float, float]:
    """Returns low, expected and high of a suggestion in dollars."""
    assert suggestion is not None
    low, expected, high = msgspec.structs.astuple(suggestion.saving)
    return low / 1e9, expected / 1e9, high / 1e9
