"""A ledger in memory: one budget, one price for every token, and trees of amounts."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_executor.errors import (
    AgentExecutorError,
    BudgetExceededError,
    EntryConflictError,
    FailedPreconditionError,
    ReservationNotFoundError,
    UnavailableError,
    UsageEntryNotFoundError,
)
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.peers.ledger import AmountHold, Correction, FoundHold, Hold, Settlement
from agent_executor.serving.security import SecurityContext

COST_NANO_USD_PER_TOKEN = 3
CACHE_WRITE_FACTOR = 2


def cost_of(usage: ModelUsage) -> int:
    """Returns what a usage costs here."""
    return COST_NANO_USD_PER_TOKEN * (usage.input_tokens + usage.output_tokens)


@dataclass
class Reserved:
    """A hold: of a model call, or an amount from which others draw."""

    asked: Hold | AmountHold
    held_nano_usd: int
    max_output_tokens: int = 0
    drawn_nano_usd: int = 0
    spent_nano_usd: int = 0
    state: str = "open"

    @property
    def parent_id(self) -> str:
        """The amount that it draws from."""
        asked = self.asked
        return asked.amount_id if isinstance(asked, Hold) else asked.parent_amount_id


@dataclass
class MemoryLedger:
    """A ``Ledger`` that keeps the promises of its port, and fails when a test tells it to.

    Attributes:
        limit_nano_usd: Of the budget ``everything``.
        resets_at_ms: When that budget resets, as its refusals say; 0: never.
        unavailable_times: How many more calls find the ledger away.
        error: What every reserve and settlement raises.
        renewed: The ids that were renewed, in order.
        refused: How many reserves were refused.
    """

    limit_nano_usd: int = 10**12
    resets_at_ms: int = 0
    unavailable_times: int = 0
    error: AgentExecutorError | None = None
    reserved: dict[str, Reserved] = field(default_factory=dict)
    settled: dict[str, Settlement] = field(default_factory=dict)
    corrected: dict[str, Correction] = field(default_factory=dict)
    renewed: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def holds(self) -> dict[str, Hold]:
        """The holds of model calls that were ever made, by id."""
        return {key: one.asked for key, one in self.reserved.items() if isinstance(one.asked, Hold)}

    @property
    def voided(self) -> set[str]:
        """The holds that were freed without a settlement."""
        return {key for key, one in self.reserved.items() if one.state == "voided"}

    @property
    def open_nano_usd(self) -> int:
        """What the budget holds at present."""
        return sum(_remaining(one) for one in self.reserved.values() if not one.parent_id)

    @property
    def spent_nano_usd(self) -> int:
        """What was settled, corrections included."""
        usage = {key: one.usage for key, one in self.settled.items()}
        usage |= {one.model_call_id: one.usage for one in self.corrected.values()}
        return sum(map(cost_of, usage.values()))

    async def reserve(self, hold: Hold, security: SecurityContext) -> int:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        known = self._known(hold.model_call_id, hold)
        if known is not None:
            return known.max_output_tokens
        input_tokens = hold.max_input_tokens * (CACHE_WRITE_FACTOR if hold.writes_cache else 1)
        left_tokens = self._left(hold.amount_id) // COST_NANO_USD_PER_TOKEN - input_tokens
        granted = min(hold.max_output_tokens, left_tokens)
        if granted < (hold.min_output_tokens or hold.max_output_tokens):
            raise self._refusal(hold.amount_id)
        held = COST_NANO_USD_PER_TOKEN * (input_tokens + granted)
        self._add(hold.model_call_id, Reserved(hold, held, granted))
        return granted

    async def reserve_amount(self, hold: AmountHold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        if self._known(hold.amount_id, hold) is None:
            if hold.amount_nano_usd > self._left(hold.parent_amount_id):
                raise self._refusal(hold.parent_amount_id)
            self._add(hold.amount_id, Reserved(hold, hold.amount_nano_usd))

    async def renew(self, reservation_id: str, ttl_seconds: int, security: SecurityContext) -> None:
        """See ``Ledger``."""
        del ttl_seconds, security
        self._fail_if_told()
        reserved = self._found(reservation_id)
        if reserved.state != "open":
            raise FailedPreconditionError(f"it is {reserved.state}")
        self.renewed.append(reservation_id)

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        known = self.settled.setdefault(settlement.model_call_id, settlement)
        if known != settlement:
            raise EntryConflictError("an entry id was used for two usages")
        cost = cost_of(settlement.usage)
        reserved = self.reserved.get(settlement.model_call_id) if settlement.is_held else None
        if reserved is not None and reserved.state == "open":
            self._end(reserved, "settled", cost)
        return cost

    async def correct(self, correction: Correction, security: SecurityContext) -> int:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        settled = self.settled.get(correction.model_call_id)
        if settled is None:
            raise UsageEntryNotFoundError("there is no such entry")
        known = self.corrected.setdefault(correction.entry_id, correction)
        if known != correction:
            raise EntryConflictError("a correction's id was used for two")
        return cost_of(correction.usage) - cost_of(settled.usage)

    async def void(self, reservation_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        del security
        reserved = self._found(reservation_id)
        if reserved.state == "open":
            self._end(reserved, "voided", 0)

    async def find_hold(self, reservation_id: str, security: SecurityContext) -> FoundHold | None:
        """See ``Ledger``."""
        del security
        reserved = self.reserved.get(reservation_id)
        if reserved is None:
            return None
        is_amount = isinstance(reserved.asked, AmountHold)
        return FoundHold(reserved.held_nano_usd, reserved.spent_nano_usd * is_amount)

    def expire(self, reservation_id: str) -> None:
        """Ends a hold as its time does."""
        self._end(self.reserved[reservation_id], "expired", 0)

    def _known(self, reservation_id: str, asked: Hold | AmountHold) -> Reserved | None:
        known = self.reserved.get(reservation_id)
        if known is None:
            return None
        if known.asked != asked:
            raise EntryConflictError("a reservation id was used for two")
        if known.state != "open":
            raise FailedPreconditionError(f"it is {known.state}")
        return known

    def _left(self, parent_id: str) -> int:
        if not parent_id:
            return self.limit_nano_usd - self.spent_nano_usd - self.open_nano_usd
        parent = self._found(parent_id)
        if parent.state != "open":
            return 0
        return parent.held_nano_usd - parent.spent_nano_usd - parent.drawn_nano_usd

    def _add(self, reservation_id: str, reserved: Reserved) -> None:
        self.reserved[reservation_id] = reserved
        if reserved.parent_id:
            self.reserved[reserved.parent_id].drawn_nano_usd += reserved.held_nano_usd

    def _end(self, reserved: Reserved, state: str, cost: int) -> None:
        before = _remaining(reserved)
        reserved.state = state
        reserved.spent_nano_usd += cost
        freed = before - _remaining(reserved)
        ancestor_id = reserved.parent_id
        while ancestor_id:
            parent = self.reserved[ancestor_id]
            parent_before = _remaining(parent)
            parent.drawn_nano_usd -= freed
            parent.spent_nano_usd += cost
            freed, ancestor_id = parent_before - _remaining(parent), parent.parent_id

    def _found(self, reservation_id: str) -> Reserved:
        reserved = self.reserved.get(reservation_id)
        if reserved is None:
            raise ReservationNotFoundError(f"there is no reservation {reservation_id}")
        return reserved

    def _refusal(self, parent_id: str) -> BudgetExceededError:
        self.refused += 1
        left = self._left(parent_id)
        if parent_id:
            metadata = {"parent_reservation_id": parent_id, "left_nano_usd": str(left)}
            return BudgetExceededError(f"{parent_id} has {left} left", metadata=metadata)
        metadata = {"budget_id": "everything", "left_nano_usd": str(left)}
        if self.resets_at_ms:
            metadata["resets_at_unix_ms"] = str(self.resets_at_ms)
        return BudgetExceededError(
            f"the budget 'everything' has {left} left",
            metadata=metadata,
            retry_after_seconds=1.0 if self.resets_at_ms else None,
        )

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error
        if self.unavailable_times:
            self.unavailable_times -= 1
            raise UnavailableError("the ledger is away")


def _remaining(reserved: Reserved) -> int:
    """Returns what a hold holds: of an open one what is not spent, of an ended one what is drawn."""
    if reserved.state != "open":
        return reserved.drawn_nano_usd
    return max(reserved.held_nano_usd - reserved.spent_nano_usd, reserved.drawn_nano_usd)
