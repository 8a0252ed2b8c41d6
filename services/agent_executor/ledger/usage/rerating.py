"""Pricing past model calls again, by the cards that hold now for the time of each call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from agent_executor.ledger.accounting.commands import Recorded, Rerate
from agent_executor.ledger.accounting.entry import EntryKind, UsageEntry
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.usage_query import EntryFilter
from agent_executor.ledger.usage.checks import (
    ADMIN_PERMISSION,
    MAX_DESCRIPTION_BYTES,
    MAX_MODEL_BYTES,
    check_text,
    invalid,
)
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

_CORRECTING: Final[tuple[EntryKind, ...]] = ("correction", "rerating")
_ID_HEX_DIGITS: Final = 32


class RerateRequest(msgspec.Struct, frozen=True):
    """Which model calls are to be priced again.

    Attributes:
        start_ms: Only what occurred at or after it, in milliseconds since 1970-01-01 UTC.
        end_ms: Only what occurred before it; None: to the present.
        model: Only this model; empty: all.
        dry_run: Only tell what would change.
        description: Why, at most 1,000 bytes.
    """

    start_ms: int
    end_ms: int | None = None
    model: str = ""
    dry_run: bool = False
    description: str = ""


class Rerated(msgspec.Struct):
    """What rating again has changed, or would change.

    Attributes:
        examined_count: Model calls that were looked at.
        changed_count: Those of them that cost something else now.
        difference_nano_usd: The sum of the differences.
    """

    examined_count: int = 0
    changed_count: int = 0
    difference_nano_usd: NanoUsd = NanoUsd(0)


class _Sum(msgspec.Struct):
    """What the corrections and reratings of one call come to."""

    count: int = 0
    cost_nano_usd: int = 0
    usage: TokenCounts = TokenCounts()

    def add(self, entry: UsageEntry) -> None:
        self.count += 1
        self.cost_nano_usd += entry.cost_nano_usd
        self.usage = self.usage.plus(entry.usage)


_NOTHING: Final = _Sum()


class RerateUsage:
    """Records the difference between what calls were entered with and what they cost now.

    Args:
        store: Where entries go.
        reports: Knows what was recorded.
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts what is recorded.
    """

    def __init__(
        self,
        store: AccountingStore,
        reports: ReportStore,
        rate_cards: RateCards,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._reports = reports
        self._rate_cards = rate_cards
        self._clock = clock
        self._metrics = metrics

    async def rerate(self, request: RerateRequest, security: SecurityContext) -> Rerated:
        """Rates again what was recorded up to now. To do it twice changes nothing more.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:admin``.
            InvalidArgumentError: The time ends before it begins, or a text is too long.
            UnknownModelError: A model has lost its price; what came before it is rated.
        """
        security.require(ADMIN_PERMISSION)
        check_text("model", request.model, MAX_MODEL_BYTES)
        check_text("description", request.description, MAX_DESCRIPTION_BYTES)
        if request.end_ms is not None and request.end_ms < request.start_ms:
            raise invalid("end_time", "is before start_time.")
        corrected = await self._corrections(request, security.organization_id)
        rerated = Rerated()
        calls = self._reports.scan(security.organization_id, _filter(request, "model_call"))
        async for entries in calls:
            commands = []
            for entry in entries:
                rerated.examined_count += 1
                card = await self._card(entry)
                total = corrected.get(entry.id, _NOTHING)
                cost = card.cost(entry.usage.plus(total.usage))
                difference = cost - entry.cost_nano_usd - total.cost_nano_usd
                if not difference:
                    continue
                if request.dry_run:
                    _add(rerated, difference)
                else:
                    commands.append(self._command(request, entry, card, total.count, security))
            if commands:
                await self._apply(commands, rerated)
        return rerated

    async def _corrections(self, request: RerateRequest, organization_id: str) -> dict[str, _Sum]:
        """Returns what was corrected of each call; most have no correction.

        Corrections carry model and time of the call that they correct, so they are found as it is.
        """
        sums: dict[str, _Sum] = {}
        for kind in _CORRECTING:
            async for entries in self._reports.scan(organization_id, _filter(request, kind)):
                for entry in entries:
                    sums.setdefault(entry.corrects_entry_id, _Sum()).add(entry)
        return sums

    async def _card(self, entry: UsageEntry) -> RateCard:
        return await self._rate_cards.find(
            entry.organization_id,
            entry.model,
            entry.occurred_at_ms,
            processing=entry.processing,
            speed=entry.speed,
        )

    def _command(
        self,
        request: RerateRequest,
        entry: UsageEntry,
        card: RateCard,
        correction_count: int,
        security: SecurityContext,
    ) -> Rerate:
        now_ms = self._now_ms()
        rerating = UsageEntry(
            id=_rerating_id(entry.id, card.id, correction_count),
            organization_id=entry.organization_id,
            kind="rerating",
            user_id=security.user_id,
            corrects_entry_id=entry.id,
            description=request.description,
            occurred_at_ms=now_ms,
            created_at_ms=now_ms,
        )
        return Rerate(rerating, card)

    async def _apply(self, commands: list[Rerate], rerated: Rerated) -> None:
        happened = Happened()
        for outcome in await self._store.apply(commands, self._now_ms()):
            # Someone else may have done the same meanwhile: then there is nothing new.
            if isinstance(outcome, Recorded) and outcome.is_new:
                happened.entries.append(outcome.entry)
                happened.events += outcome.events
                _add(rerated, outcome.entry.cost_nano_usd)
        happened.tell(self._metrics)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _rerating_id(entry_id: str, rate_card_id: str, correction_count: int) -> str:
    """Returns the same id for the same rerating of the same state, by whomever it is asked.

    The count tells a price that comes back from the first time that it held.
    """
    content = msgspec.msgpack.encode((entry_id, rate_card_id, correction_count))
    return f"rerating-{hashlib.sha256(content).hexdigest()[:_ID_HEX_DIGITS]}"


def _filter(request: RerateRequest, kind: EntryKind) -> EntryFilter:
    return EntryFilter(
        model=request.model, kind=kind, start_ms=request.start_ms, end_ms=request.end_ms
    )


def _add(rerated: Rerated, difference: int) -> None:
    rerated.changed_count += 1
    rerated.difference_nano_usd = NanoUsd(rerated.difference_nano_usd + difference)
