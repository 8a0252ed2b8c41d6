"""The port to the ledger."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from agent_executor.errors import DeadlineExceededError, LimitExceededError, UnavailableError
from agent_executor.executor.models.model import ModelUsage
from agent_executor.serving.security import SecurityContext

# What says that the ledger is away or overloaded, so that the same call may succeed later.
PASSING_ERRORS: Final = (UnavailableError, DeadlineExceededError, LimitExceededError)


class Hold(msgspec.Struct, frozen=True):
    """The worst case of a model call, to be reserved under ``model_call_id``.

    ``ttl_seconds`` is how long it lasts if nobody settles or voids it: longer than the call may
    take, so that it covers a call whose owner lives.
    """

    model_call_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    ttl_seconds: int


class Settlement(msgspec.Struct, frozen=True):
    """What a model call used. The entry's id is ``model_call_id``, so it counts once."""

    model_call_id: str
    agent_id: str
    run_id: str
    model: str
    usage: ModelUsage
    estimated: bool = False
    is_test: bool = False


class Ledger(Protocol):
    """Holds money before model calls and records their usage after them."""

    async def reserve(self, hold: Hold, security: SecurityContext) -> None:
        """Reserves the worst case; the same hold again is the same reservation.

        Raises:
            BudgetExceededError: What is left of a budget does not cover it.
            UnknownModelError: The model has no price.
            UnavailableError: The ledger is away.
        """
        ...

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """Records the usage, frees the hold and returns the cost in nano-US-dollars.

        Raises:
            UnavailableError: The ledger is away; it may have recorded the usage all the same.
        """
        ...

    async def void(self, model_call_id: str, security: SecurityContext) -> None:
        """Frees a hold whose call was never made, or cost nothing.

        Raises:
            UnavailableError: The ledger is away.
        """
        ...

    async def is_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """Returns whether the hold was made, so that the model may have been called.

        Raises:
            UnavailableError: The ledger is away.
        """
        ...
