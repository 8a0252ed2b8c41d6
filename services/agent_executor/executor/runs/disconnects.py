"""What becomes of a run whose caller goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.driving.drivers import RunDrivers
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.runs.run_options import RunOptions

CANCEL: Final = "cancel"
REASON: Final = "The caller of the run went away."

_LOGGER = logging.getLogger(__name__)


@contextmanager
def waiting_caller(
    drivers: RunDrivers, options: RunOptions, find: Callable[[], Awaitable[RunRecord]]
) -> Iterator[None]:
    """Surrounds the time in which a caller waits for its run.

    An executor that stops sends its callers away, which ends no run.

    Args:
        drivers: Where runs are ended.
        options: What the caller has said becomes of the run if it goes away.
        find: Finds the run.
    """
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        if options.on_disconnect == CANCEL and not drivers.is_draining:
            drivers.in_background(_cancel(drivers, find))
        raise


async def _cancel(drivers: RunDrivers, find: Callable[[], Awaitable[RunRecord]]) -> None:
    try:
        run = await find()
        if run.state not in FINAL_STATES:
            await drivers.cancellations.request(run, "", REASON)
    except AgentExecutorError as error:
        _LOGGER.warning("A run whose caller went away could not be ended: %s", error.message)
