"""Finds ways to spend less in what an organization has used."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.suggestions import (
    batch,
    cheaper_model,
    history_trimming,
    prompt_caching,
    tier_cliff,
    tool_result_cache,
)
from agent_executor.ledger.suggestions.evidence import MAX_ENTRIES, Period, Spending
from agent_executor.ledger.suggestions.prices import (
    CardOptions,
    SuggestionPrices,
    band_edges,
    with_more_tokens,
)
from agent_executor.ledger.suggestions.store import EvidenceStore
from agent_executor.ledger.suggestions.suggestion import Evidence, Kind, Subject, Suggestion
from agent_executor.serving.security import SecurityContext

PERMISSION: Final = "ledger:read"
DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 90
MAX_SUGGESTIONS: Final = 100
MAX_AGENT_ID_BYTES: Final = 128

_DAY_MS: Final = 86_400_000


class SuggestionPage(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        suggestions: Each with its saving per 30 days; the largest first, at most 100. Two that
            concern the same calls cannot both save all they say.
        start_ms: The first instant that was looked at, in milliseconds since 1970-01-01 UTC; later
            than was asked for if there are too many entries.
        end_ms: The instant after the last one.
        cost_nano_usd: What was spent in that time.
    """

    suggestions: tuple[Suggestion, ...]
    start_ms: int
    end_ms: int
    cost_nano_usd: int


class Suggestions:
    """Computes savings from recorded usage, for one organization at a time.

    Args:
        evidence: What was recorded. It is asked one question at a time, so that other readers of the
            ledger do not wait for it.
        prices: What calls were priced by, and could be.
        clock: Seconds since 1970-01-01 UTC.
        max_entries: How many of the newest entries are looked at, beside those of the last day.
    """

    def __init__(
        self,
        evidence: EvidenceStore,
        prices: SuggestionPrices,
        clock: Callable[[], float],
        *,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._evidence = evidence
        self._prices = prices
        self._clock = clock
        self._max_entries = max_entries
        self._one_at_a_time = asyncio.Lock()

    async def list(
        self, security: SecurityContext, *, agent_id: str = "", days: int = 0
    ) -> SuggestionPage:
        """Returns suggestions for the caller's organization.

        Args:
            security: The caller.
            agent_id: Only this agent's usage; empty: all.
            days: How many days of usage to look at, up to now, 0 to 90; 0: 30.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The days or the agent's id cannot be.
            UnavailableError: The storage failed.
        """
        security.require(PERMISSION)
        if not 0 <= days <= MAX_DAYS:
            message = f"days must be between 0 and {MAX_DAYS}."
            raise InvalidArgumentError(message, field_violations=(("days", message),))
        if len(agent_id.encode()) > MAX_AGENT_ID_BYTES:
            message = f"agent_id must have at most {MAX_AGENT_ID_BYTES} bytes."
            raise InvalidArgumentError(message, field_violations=(("agent_id", message),))
        now_ms = int(self._clock() * 1000)
        start_ms = now_ms - (days or DEFAULT_DAYS) * _DAY_MS
        asked = Period(security.organization_id, start_ms, now_ms, agent_id)
        async with self._one_at_a_time:
            period = await self._bounded(asked)
            spending = await self._evidence.spending(period)
            found = await self._find(period, spending) if spending.cards else []
            chosen = _worth_telling(found, period.end_ms - period.start_ms)
            suggestions = await self._with_evidence(period, chosen)
        return SuggestionPage(
            tuple(suggestions), period.start_ms, period.end_ms, spending.cost_nano_usd
        )

    async def _bounded(self, period: Period) -> Period:
        """Returns a period with the same end that has no more entries than can be looked at."""
        start_ms = await self._evidence.occurrence_of_newest(period, self._max_entries)
        if start_ms is None:
            return period
        last_day_ms = period.end_ms - _DAY_MS
        return msgspec.structs.replace(
            period, start_ms=max(period.start_ms, min(start_ms, last_day_ms))
        )

    async def _find(self, period: Period, spending: Spending) -> Sequence[Suggestion]:
        options = await self._options(period, spending)
        edges = band_edges(options.values())
        sums = await self._evidence.call_sums(period, edges)
        found = batch.find(sums, options) + tier_cliff.find(sums, options)
        shapes = await self._evidence.run_shapes(period)
        found += cheaper_model.find(shapes, sums, options)
        repeats = await self._evidence.prefix_repeats(period, edges)
        found += prompt_caching.find(repeats, options)
        histories = await self._evidence.history_sums(period, edges)
        found += history_trimming.find(histories, options)
        return found + tool_result_cache.find(await self._evidence.tool_repeats(period))

    async def _options(self, period: Period, spending: Spending) -> Mapping[str, CardOptions]:
        """Returns the cards of the period that have tokens, with their alternatives of today."""
        options = {}
        for card in spending.cards:
            if card.max_input_tokens:
                found = await self._prices.options(
                    period.organization_id,
                    card.rate_card_id,
                    with_more_tokens(card.max_input_tokens),
                    period.end_ms,
                )
                if found is not None:
                    options[card.rate_card_id] = found
        return options

    async def _with_evidence(
        self, period: Period, suggestions: Sequence[Suggestion]
    ) -> Sequence[Suggestion]:
        subjects: dict[Kind, list[Subject]] = defaultdict(list)
        for one in suggestions:
            subjects[one.kind].append(one.subject)
        evidence = {
            kind: await self._evidence.evidence(period, kind, about)
            for kind, about in subjects.items()
        }
        return [
            msgspec.structs.replace(one, evidence=evidence[one.kind].get(one.subject, Evidence()))
            for one in suggestions
        ]


def _worth_telling(found: Sequence[Suggestion], period_ms: int) -> list[Suggestion]:
    """Returns what saves enough in a month, the largest saving first."""
    monthly = (
        msgspec.structs.replace(one, saving=one.saving.per_month(period_ms)) for one in found
    )
    worth = [one for one in monthly if one.saving.is_worth_telling]
    worth.sort(key=lambda one: (-one.saving.expected_nano_usd, one.id))
    return worth[:MAX_SUGGESTIONS]
