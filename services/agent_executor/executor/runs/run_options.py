"""What a caller may say of a new run beside the agent and the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.webhooks.delivery import Webhook


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is to be run.

    Attributes:
        traceparent: W3C trace context of the call; empty if it is not traced.
        is_test: Whether it is marked as a test.
        parent_run_id: The run that starts this one; empty if none does.
        max_cost_nano_usd: What it may cost at most, with the runs that it starts; 0: only the agent's
            own limit and the budgets hold. Of this and the agent's the lower one holds.
        timeout_seconds: How long it may take; 0: as its agent says.
        conversation_id: The conversation that it continues; empty if it stands alone.
        processing: ``batch`` if its model calls go through batches of their provider; else empty.
        on_disconnect: ``cancel`` ends it if its caller goes away; else it goes on.
        key: Makes a repeat of the call known as such; None if it has none.
        webhook: What its end is told to; None if nothing is.
    """

    traceparent: str = ""
    is_test: bool = False
    parent_run_id: str = ""
    max_cost_nano_usd: int = 0
    timeout_seconds: int = 0
    conversation_id: str = ""
    processing: str = ""
    on_disconnect: str = ""
    key: IdempotencyKey | None = None
    webhook: Webhook | None = None


DEFAULT_OPTIONS: Final = RunOptions()
