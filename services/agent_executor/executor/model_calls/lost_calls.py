"""What a model call is taken to have cost whose answer, and with it the provider's count, is lost."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.log.next_action import ResolveLostCall
from agent_executor.executor.log.run_event import ModelCallFailed, ModelCallStarted
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.purpose import estimated_tokens
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Ledger
from agent_executor.executor.peers.retries import Retries

_ENCODER: Final = msgspec.json.Encoder()


async def resolve_lost(
    driven: DrivenRun, action: ResolveLostCall, ledger: Ledger, retries: Retries
) -> None:
    """Logs the loss of a model call whose owner died, at an estimate of its cost.

    If its money was to be held and never was, the model was never called, and it cost nothing.

    Args:
        driven: The run.
        action: The call.
        ledger: Is asked, for as long as it takes it to be back.
        retries: Spaces the tries while it is away.

    Raises:
        LeaseLostError: Another executor drives the run now.
    """
    log, call = driven.log, action.call
    may_be_made, tries = call.is_unheld, 0
    while not may_be_made:
        try:
            found = await ledger.find_hold(call.model_call_id, driven.security)
            may_be_made = found is not None
            break
        except PASSING_ERRORS:
            tries += 1
            await asyncio.sleep(retries.delay_seconds(tries))
    log.add(
        ModelCallFailed(
            model_call_id=call.model_call_id,
            error="The executor ended before the answer was recorded.",
            code="LEASE_LOST",
            will_retry=True,
            usage=lost_usage(log, driven.agent, call) if may_be_made else None,
        )
    )
    await log.commit()


def input_usage(size_bytes: int) -> ModelUsage:
    """Returns about what a request of this length is billed for that nobody has an answer to."""
    return ModelUsage(input_tokens=estimated_tokens(size_bytes) + 1, output_tokens=0)


def lost_usage(log: RunLog, agent: AgentVersion, call: ModelCallStarted) -> ModelUsage:
    """Returns the usage of a call, by what its beginning says of its request."""
    purpose = call.purpose
    if purpose is None:
        messages_bytes = len(_ENCODER.encode(tuple(log.state.messages)))
        return input_usage(messages_bytes + len(agent.system_prompt().encode()))
    # The newest message is the only one that is no history.
    newest = 0 if call.is_summary else len(_ENCODER.encode(log.state.messages[-1]))
    tokens = purpose.prefix_tokens + purpose.history_tokens
    usage = input_usage(newest)
    return msgspec.structs.replace(usage, input_tokens=usage.input_tokens + tokens)
