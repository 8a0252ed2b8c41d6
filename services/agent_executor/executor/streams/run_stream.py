"""Streams a run to its caller as it goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.runs.begun_run import BegunRun
from agent_executor.executor.streams.feed import RunReader
from agent_executor.executor.streams.run_updates import RunTelling, RunUpdate

# Text is told at most so often; what is written meanwhile goes out together. What a slow caller has
# not taken by then does too.
TEXT_INTERVAL_SECONDS: Final = 0.02


async def updates_of(
    begun: BegunRun, run: RunRecord, reader: RunReader, *, silence_seconds: float | None = None
) -> AsyncGenerator[RunUpdate]:
    """Yields what happens in a run, from its beginning to its end, or until it cannot be read.

    Args:
        begun: The run.
        run: Its record.
        reader: Reads it, since before any of its events was durable, unless ``begun.view`` is set or
            it is not driven here.
        silence_seconds: After which time without news a sign of life is given; None: never.

    Raises:
        AgentExecutorError: The run did not begin, or cannot be read, and nothing was told yet.
    """
    telling, is_told = RunTelling(run), False
    if begun.view is not None or begun.driving is None:
        reader.look_in_journal()
    if begun.driving is not None:
        begun.driving.add_done_callback(lambda _: reader.look_in_journal())
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
            _check_begun(begun)
            if written:
                await reader.wait_for_events(TEXT_INTERVAL_SECONDS)
            elif not await reader.wait(silence_seconds):
                is_told = True
                yield telling.of_silence()
    except AgentExecutorError as error:
        if not is_told:
            raise
        yield telling.of_break(error.message, error.reason)


def _check_begun(begun: BegunRun) -> None:
    """Checks that a run was not given up before its first event.

    Raises:
        UnavailableError: It was.
    """
    log, driving = begun.log, begun.driving
    if log is not None and driving is not None and driving.done() and log.run.last_sequence == 0:
        raise UnavailableError("The run could not be recorded, and has not begun.")
