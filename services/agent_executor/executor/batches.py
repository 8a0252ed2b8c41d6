"""Several inputs for one agent in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.begun_run import BegunRun
from agent_executor.executor.journal import IdempotencyKey
from agent_executor.executor.run_options import RunOptions
from agent_executor.executor.run_view import RunView
from agent_executor.executor.runs import Runs
from agent_executor.serving.security import SecurityContext


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one input: its run, whatever became of that, or why there is none."""

    view: RunView | None = None
    error: AgentExecutorError | None = None


async def execute_batch(
    runs: Runs,
    agent_id: str,
    inputs: Sequence[str],
    security: SecurityContext,
    options: RunOptions,
    keys: Sequence[IdempotencyKey] = (),
) -> list[BatchResult]:
    """Starts a run for each input, and waits for the ends of all.

    They take the same places as all runs: those for which there is none wait for their turn.

    Args:
        runs: The runs.
        agent_id: The agent.
        inputs: What is asked of it.
        security: Who asks.
        options: How each run is to be run.
        keys: One for each input, if the call has a key: its repeat waits for the same runs.

    Returns:
        One result for each input, in their order.

    Raises:
        AgentExecutorError: As ``Runs.execute``, for what concerns the agent or the caller.
    """
    each = [replace(options, key=key) for key in keys] or [options] * len(inputs)
    known = await asyncio.gather(*(runs.known_run(security, option) for option in each))
    plan = await runs.plan(agent_id, security, options) if None in known else None

    async def run_one(text: str, option: RunOptions, begun: BegunRun | None) -> BatchResult:
        try:
            if begun is None and plan is not None:
                begun = await runs.begin(replace(plan, options=option), text)
            if begun is None:
                raise AssertionError("an input without a known run has a plan")
            return BatchResult(await runs.end_of(begun, security))
        except AgentExecutorError as error:
            return BatchResult(error=error)

    return await asyncio.gather(*map(run_one, inputs, each, known))
