"""What is still to be settled at the ledger."""

from __future__ import annotations

import msgspec

from agent_executor.executor.log.run_event import ToolCallStarted
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import ModelUsage


class UnsettledCall(msgspec.Struct, frozen=True):
    """A model call whose cost the log does not hold yet.

    Attributes:
        attempt: How often its turn had been tried, from 1.
        purpose: What it was made for; None if the log does not say. Then its settlement names
            neither attempt nor tool calls either: so it was done by the code that wrote such logs.
        tool_calls: The tool calls whose results it was given, of those whose tool was run.
        is_unheld: No money was held for it.
    """

    model_call_id: str
    usage: ModelUsage
    estimated: bool
    attempt: int = 1
    purpose: CallPurpose | None = None
    tool_calls: tuple[ToolCallStarted, ...] = ()
    is_unheld: bool = False
