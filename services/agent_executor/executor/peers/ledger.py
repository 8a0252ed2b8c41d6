"""The port to the ledger."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from agent_executor.errors import DeadlineExceededError, LimitExceededError, UnavailableError
from agent_executor.executor.model_calls.purpose import CallPurpose, ToolUse
from agent_executor.executor.models.model import ModelUsage
from agent_executor.serving.security import SecurityContext

# What says that the ledger is away or overloaded, so that the same call may succeed later.
PASSING_ERRORS: Final = (UnavailableError, DeadlineExceededError, LimitExceededError)


class Hold(msgspec.Struct, frozen=True):
    """The worst case of a model call, to be reserved under ``model_call_id``.

    Attributes:
        ttl_seconds: How long it lasts if nobody settles or voids it: longer than the call may take,
            so that it covers a call whose owner lives.
        min_output_tokens: The least output with which the call makes sense, if the whole does not
            fit; 0: all or nothing.
        amount_id: The amount to draw from; empty: the budgets.
        writes_cache: Whether input may be written to the provider's prompt cache, which costs more
            than to have it read.
        processing: ``batch`` if it goes through a batch of its provider, at the price of that; else
            empty.
    """

    model_call_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    ttl_seconds: int
    min_output_tokens: int = 0
    amount_id: str = ""
    writes_cache: bool = False
    processing: str = ""


class AmountHold(msgspec.Struct, frozen=True):
    """An amount for a run, from which its model calls and the runs that it starts draw.

    Attributes:
        amount_id: Unique among reservations; the run's id.
        ttl_seconds: How long it lasts unless it is renewed or voided.
        parent_amount_id: The amount to draw from; empty: the budgets.
    """

    amount_id: str
    agent_id: str
    run_id: str
    amount_nano_usd: int
    ttl_seconds: int
    parent_amount_id: str = ""


class FoundHold(msgspec.Struct, frozen=True):
    """A hold that was made, whatever became of it.

    Attributes:
        held_nano_usd: What it held at first.
        spent_nano_usd: Of an amount: what was settled of it.
    """

    held_nano_usd: int
    spent_nano_usd: int = 0


class Settlement(msgspec.Struct, frozen=True):
    """What a model call used. The entry's id is ``model_call_id``, so it counts once.

    Attributes:
        is_held: Whether money may be held under ``model_call_id``.
        estimated: The provider's own count was lost.
        attempt: How often the turn had been tried, from 1.
        purpose: What the call was made for; None if the run's log does not say.
        tool_uses: The tool calls whose results the call was given.
        processing: As in ``Hold``.
    """

    model_call_id: str
    agent_id: str
    run_id: str
    model: str
    usage: ModelUsage
    is_held: bool = True
    estimated: bool = False
    is_test: bool = False
    attempt: int = 1
    purpose: CallPurpose | None = None
    tool_uses: tuple[ToolUse, ...] = ()
    processing: str = ""


class Correction(msgspec.Struct, frozen=True):
    """What a model call really used, in all, after its settlement was an estimate.

    Attributes:
        entry_id: The correction's own id, so it counts once.
    """

    entry_id: str
    model_call_id: str
    usage: ModelUsage
    description: str


class Ledger(Protocol):
    """Holds money before model calls and records their usage after them.

    Every method may be repeated with the same content: it has its effect once.
    """

    async def reserve(self, hold: Hold, security: SecurityContext) -> int:
        """Reserves the worst case and returns the output tokens that it covers.

        They are ``max_output_tokens``, or fewer if ``min_output_tokens`` allows it and no more
        fitted. The same hold again is the same reservation.

        Raises:
            BudgetExceededError: What is left does not cover it. If it is a budget that refuses, the
                metadata hold ``budget_id``, and ``resets_at_unix_ms`` unless its window is the total;
                ``retry_after_seconds`` is set if the next window will cover the call. Without
                ``budget_id`` it is the amount that refuses.
            UnknownModelError: The model has no price.
            ConflictError: A reservation of this id holds something else.
            FailedPreconditionError: The reservation of this id has ended.
            ReservationNotFoundError: The amount to draw from never was.
            UnavailableError: The ledger is away.
        """
        ...

    async def reserve_amount(self, hold: AmountHold, security: SecurityContext) -> None:
        """Reserves an amount; the same hold again is the same reservation.

        Raises:
            BudgetExceededError: As ``reserve``.
            ConflictError, FailedPreconditionError, ReservationNotFoundError: As ``reserve``.
            UnavailableError: The ledger is away.
        """
        ...

    async def renew(self, reservation_id: str, ttl_seconds: int, security: SecurityContext) -> None:
        """Lets a hold last for so long from now. It never ends earlier than it did.

        Raises:
            ReservationNotFoundError: It never was.
            FailedPreconditionError: It has ended.
            UnavailableError: The ledger is away.
        """
        ...

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """Records the usage, frees the hold and returns the cost in nano-US-dollars.

        Raises:
            UnavailableError: The ledger is away; it may have recorded the usage all the same.
        """
        ...

    async def correct(self, correction: Correction, security: SecurityContext) -> int:
        """Records what a settled call really used and returns the difference in nano-US-dollars.

        Raises:
            UsageEntryNotFoundError: The call is not settled yet.
            UnavailableError: The ledger is away; it may have recorded the correction all the same.
        """
        ...

    async def void(self, reservation_id: str, security: SecurityContext) -> None:
        """Frees a hold whose call was never made, or cost nothing; of an amount what is left.

        Raises:
            ReservationNotFoundError: It never was.
            UnavailableError: The ledger is away.
        """
        ...

    async def find_hold(self, reservation_id: str, security: SecurityContext) -> FoundHold | None:
        """Returns a hold, also one that has ended; None if it never was made.

        Raises:
            UnavailableError: The ledger is away.
        """
        ...
