"""Streams a run to its caller as it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.executor.feed import RunReader
from agent_executor.executor.run_log import RunLog
from agent_executor.executor.run_updates import RunTelling, RunUpdate

# Text is told at most so often; what is written meanwhile goes out together. What a slow caller has
# not taken by then does too.
TEXT_INTERVAL_SECONDS: Final = 0.02


async def updates_of(
    log: RunLog,
    reader: RunReader,
    driving: asyncio.Task[Any],
    *,
    silence_seconds: float | None = None,
) -> AsyncGenerator[RunUpdate]:
    """Yields what happens in a new run, until its end or until it cannot be read.

    Args:
        log: The run's log, whose first event is not durable yet.
        reader: Reads it, since before it began.
        driving: What drives the run.
        silence_seconds: After which time without news a sign of life is given; None: never.

    Raises:
        AgentExecutorError: The run did not begin, or cannot be read, and nothing was told yet.
    """
    telling = RunTelling(log.run)
    driving.add_done_callback(_waking(reader))
    is_told = False
    try:
        while True:
            for event in await reader.events(telling.state.last_sequence):
                for update in telling.of_event(event):
                    is_told = True
                    yield update
            written = telling.of_answer(reader.answer)
            for update in written:
                yield update
            if telling.state.finished is not None:
                return
            if driving.done() and log.run.last_sequence == 0:
                raise UnavailableError("The run could not be recorded, and has not begun.")
            if written:
                await reader.wait_for_events(TEXT_INTERVAL_SECONDS)
            elif not await reader.wait(silence_seconds):
                is_told = True
                yield telling.of_silence()
    except AgentExecutorError as error:
        if not is_told:
            raise
        yield telling.of_break(error.message, error.reason)


def _waking(reader: RunReader) -> Callable[[asyncio.Task[Any]], None]:
    """Returns what wakes the reader of a run that nobody drives here any more."""

    def wake(driving: asyncio.Task[Any]) -> None:
        del driving
        reader.look_in_journal()

    return wake
