"""What becomes of a run whose caller goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.drivers import RunDrivers
from agent_executor.executor.run_log import RunLog

CANCEL: Final = "cancel"
REASON: Final = "The caller of the run went away."

_LOGGER = logging.getLogger(__name__)


@contextmanager
def waiting_caller(drivers: RunDrivers, log: RunLog, on_disconnect: str) -> Iterator[None]:
    """Surrounds the time in which a caller waits for its run.

    Args:
        drivers: Where the run is driven.
        log: The run.
        on_disconnect: ``cancel`` ends it if the caller goes away; anything else lets it go on. An
            executor that stops sends its callers away, and that ends no run.
    """
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        is_bound = on_disconnect == CANCEL and log.state.finished is None
        if is_bound and not drivers.feed.is_closed:
            drivers.in_background(_cancel(drivers, log))
        raise


async def _cancel(drivers: RunDrivers, log: RunLog) -> None:
    try:
        await drivers.cancellations.request(log.run, "", REASON)
    except AgentExecutorError as error:
        _LOGGER.warning("Run %s could not be cancelled: %s", log.run.run_id, error.message)
