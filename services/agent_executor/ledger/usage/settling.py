"""Recording what a model call used, and the tool calls whose results it was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agent_executor.errors import EntryConflictError, UnknownModelError
from agent_executor.ledger.accounting.commands import Outcome, Recorded, Settle
from agent_executor.ledger.accounting.entry import UNKNOWN_PURPOSE, Purpose, UsageEntry
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenUsage, check_token_count
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.checks import (
    MAX_ID_BYTES,
    MAX_MODEL_BYTES,
    MAX_NAME_BYTES,
    PROCESSINGS,
    SPEEDS,
    WRITE_PERMISSION,
    check_text,
    invalid,
)
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.ledger.usage.operation import Operation
from agent_executor.serving.security import SecurityContext

# A token costs a dollar at most, and an entry nine millions of them.
ALWAYS_PAYABLE_TOKENS: Final = 9_000_000


class ToolUse(msgspec.Struct, frozen=True):
    """A tool call whose result a model call was given.

    Attributes:
        tool_call_id: The idempotency key of its entry.
        arguments_digest: Names the arguments; empty: not known.
    """

    tool_call_id: str
    tool_name: str
    arguments_digest: str = ""


class SettleRequest(msgspec.Struct, frozen=True):
    """A model call that was made.

    Attributes:
        entry_id: The idempotency key.
        reservation_id: The hold to free; empty if there was none.
        estimated: The usage is an estimate, since the provider's own count was lost.
        attempt: How often the call has been made, from 1.
        processing: ``batch`` or empty.
        speed: ``fast`` or empty.
        purpose: What the call was made for.
        tool_uses: The tool calls whose results it was given.
    """

    entry_id: str
    agent_id: str
    run_id: str
    model: str
    usage: TokenUsage
    reservation_id: str = ""
    estimated: bool = False
    is_test: bool = False
    attempt: int = 1
    processing: str = ""
    speed: str = ""
    purpose: Purpose = UNKNOWN_PURPOSE
    tool_uses: tuple[ToolUse, ...] = ()


class Settled(msgspec.Struct, frozen=True):
    """What settling recorded.

    Attributes:
        entry: The model call's entry.
        tool_cost_nano_usd: What the tool calls that were settled with it cost.
    """

    entry: UsageEntry
    tool_cost_nano_usd: int = 0

    @property
    def cost_nano_usd(self) -> int:
        """What the model call and its tool calls cost together."""
        return self.entry.cost_nano_usd + self.tool_cost_nano_usd


class SettleUsage(Operation[SettleRequest, Settle, Settled]):
    """Records what a model call used and frees its hold; a repeat gets the first entry again.

    A reservation that has expired, was voided or never was is no hindrance, and the entry says so:
    what was used counts.

    Args:
        store: Knows the card of a reservation whose model has lost its price since.
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        store: AccountingStore,
        rate_cards: RateCards,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._rate_cards = rate_cards
        self._clock = clock

    async def prepare(self, request: SettleRequest, security: SecurityContext) -> Settle:
        """Makes the entries, without what only the reservation knows.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: An id, the attempt or the cost cannot be.
            UnknownModelError: The model has no price, and had none when it was reserved.
        """
        security.require(WRITE_PERMISSION)
        _check(request)
        now_ms = self._now_ms()
        card = await self._card(request, security, now_ms)
        if request.usage.tokens_used > ALWAYS_PAYABLE_TOKENS:
            # Refuses what costs more than can be, before it is one of many commands.
            card.cost(request.usage)
        entry = UsageEntry(
            id=request.entry_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            agent_id=request.agent_id,
            run_id=request.run_id,
            model=request.model,
            usage=request.usage,
            processing=request.processing,
            speed=request.speed,
            estimated=request.estimated,
            is_test=request.is_test,
            attempt=request.attempt,
            reservation_id=request.reservation_id,
            purpose=request.purpose,
            occurred_at_ms=now_ms,
            created_at_ms=now_ms,
        )
        if not request.tool_uses:
            return Settle(entry, card)
        uses = [await self._tool_entry(use, entry) for use in request.tool_uses]
        return Settle(entry, card, tuple(uses))

    def conclude(self, command: Settle, outcome: Outcome, happened: Happened) -> Settled:
        """Returns the entry, and what its tool calls cost.

        Raises:
            EntryConflictError: An entry of this id records something else.
        """
        if not isinstance(outcome, Recorded):
            raise TypeError(outcome)
        if outcome.is_new:
            happened.entries.append(outcome.entry)
            happened.entries += outcome.tool_entries
            happened.events += outcome.events
        elif not outcome.entry.records_the_same(command.entry):
            raise conflict(command.entry.id)
        return Settled(outcome.entry, outcome.tool_cost_nano_usd)

    async def _card(
        self, request: SettleRequest, security: SecurityContext, now_ms: int
    ) -> RateCard:
        try:
            return await self._rate_cards.find(
                security.organization_id,
                request.model,
                now_ms,
                processing=request.processing,
                speed=request.speed,
            )
        except UnknownModelError:
            # Its price may have been withdrawn while the call ran: what was used counts.
            card = await self._reserved_at(request, security, now_ms)
            if card is None:
                raise
            return card

    async def _reserved_at(
        self, request: SettleRequest, security: SecurityContext, now_ms: int
    ) -> RateCard | None:
        """Returns the card at which the same model was reserved, or None."""
        if not request.reservation_id:
            return None
        reservation = await self._store.get_reservation(
            security.organization_id, request.reservation_id, now_ms
        )
        asked = (request.model, request.processing, request.speed)
        if reservation is None or asked != (
            reservation.model,
            reservation.processing,
            reservation.speed,
        ):
            return None
        return await self._store.get_rate_card(reservation.rate_card_id)

    async def _tool_entry(self, use: ToolUse, call: UsageEntry) -> UsageEntry:
        """Returns the entry of a tool call that was made for the same run as the model call."""
        check_text("tool_uses.tool_call_id", use.tool_call_id, MAX_ID_BYTES, min_bytes=1)
        check_text("tool_uses.tool_name", use.tool_name, MAX_NAME_BYTES, min_bytes=1)
        check_text("tool_uses.arguments_digest", use.arguments_digest, MAX_NAME_BYTES)
        rate_card_id, fee = await self._rate_cards.tool_fee(
            call.organization_id, use.tool_name, call.occurred_at_ms
        )
        return UsageEntry(
            id=use.tool_call_id,
            organization_id=call.organization_id,
            kind="tool_call",
            user_id=call.user_id,
            agent_id=call.agent_id,
            run_id=call.run_id,
            tool_name=use.tool_name,
            cost_nano_usd=fee,
            rate_card_id=rate_card_id,
            is_test=call.is_test,
            purpose=Purpose(content_digest=use.arguments_digest),
            occurred_at_ms=call.occurred_at_ms,
            created_at_ms=call.created_at_ms,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def conflict(entry_id: str) -> EntryConflictError:
    """Returns the error that an id is taken by another entry."""
    return EntryConflictError(
        "An entry of this id records something else.", metadata={"entry_id": entry_id}
    )


def _check(request: SettleRequest) -> None:
    check_text("entry_id", request.entry_id, MAX_ID_BYTES, min_bytes=1)
    check_text("reservation_id", request.reservation_id, MAX_ID_BYTES)
    check_text("agent_id", request.agent_id, MAX_NAME_BYTES)
    check_text("run_id", request.run_id, MAX_NAME_BYTES)
    check_text("model", request.model, MAX_MODEL_BYTES, min_bytes=1)
    check_text("purpose.prefix_digest", request.purpose.content_digest, MAX_NAME_BYTES)
    check_token_count("attempt", request.attempt, minimum=1)
    if request.processing not in PROCESSINGS:
        raise invalid("processing", 'is "batch" or empty.')
    if request.speed not in SPEEDS:
        raise invalid("speed", 'is "fast" or empty.')
