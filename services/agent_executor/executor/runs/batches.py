"""Several inputs for one agent in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.runs.begun_run import BegunRun
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.runs.runs import Runs
from agent_executor.serving.security import SecurityContext


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one input: its run, whatever became of that, or why there is none."""

    view: RunView | None = None
    error: AgentExecutorError | None = None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """What came of starting a run for one input: its id, or why there is none."""

    run_id: str = ""
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
    begin = await _planned(runs, agent_id, len(inputs), security, options, keys)

    async def run_one(index: int, text: str) -> BatchResult:
        try:
            return BatchResult(await runs.end_of(await begin(index, text, False), security))
        except AgentExecutorError as error:
            return BatchResult(error=error)

    return await asyncio.gather(*map(run_one, range(len(inputs)), inputs))


async def start_batch(
    runs: Runs,
    agent_id: str,
    inputs: Sequence[str],
    security: SecurityContext,
    options: RunOptions,
    keys: Sequence[IdempotencyKey] = (),
) -> list[StartedRun]:
    """Starts a run in the background for each input.

    The runs that are started are durable on return, in as few commits as the storage needs for all of
    them. The arguments are those of ``execute_batch``; a repeat is answered with the same runs.

    Returns:
        One result for each input, in their order.

    Raises:
        AgentExecutorError: As ``Runs.start``, for what concerns the agent or the caller.
    """
    begin = await _planned(runs, agent_id, len(inputs), security, options, keys)

    async def start_one(index: int, text: str) -> StartedRun:
        try:
            return StartedRun((await begin(index, text, True)).run_id)
        except AgentExecutorError as error:
            return StartedRun(error=error)

    # All wait for their commit at the same time, and so they share it.
    return await asyncio.gather(*map(start_one, range(len(inputs)), inputs))


async def _planned(
    runs: Runs,
    agent_id: str,
    count: int,
    security: SecurityContext,
    options: RunOptions,
    keys: Sequence[IdempotencyKey],
) -> Callable[[int, str, bool], Awaitable[BegunRun]]:
    """Returns what begins the run of an input, or finds that of an earlier call with the same key.

    Raises:
        AgentExecutorError: As ``Runs.execute``, for what concerns the agent or the caller.
    """
    each = [replace(options, key=key) for key in keys] or [options] * count
    known = await asyncio.gather(*(runs.known_run(security, option) for option in each))
    plan = await runs.plan(agent_id, security, options) if None in known else None

    async def begin(index: int, text: str, is_background: bool) -> BegunRun:
        found = known[index]
        if found is not None:
            return found
        if plan is None:
            raise AssertionError("an input without a known run has a plan")
        of_input = replace(plan, options=each[index])
        return await runs.begin(of_input, text, is_background=is_background)

    return begin
