"""Looks again and again at what is told of by gauges and does not tell of itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from agent_executor.errors import AgentExecutorError

_LOGGER = logging.getLogger(__name__)


def sample(
    look: Callable[[], Awaitable[None]], *, period_seconds: float, resources: AsyncExitStack
) -> None:
    """Begins to look, at once and after each period, until the resources are closed.

    Args:
        look: Sets the gauges. If it fails it is tried again after the period.
        period_seconds: How often.
        resources: What it looks at is closed by these, after the looking has ended.
    """
    looking = asyncio.create_task(_look_again_and_again(look, period_seconds), name="sampling")

    async def stop() -> None:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking

    resources.push_async_callback(stop)


async def _look_again_and_again(look: Callable[[], Awaitable[None]], period_seconds: float) -> None:
    while True:
        try:
            await look()
        except AgentExecutorError as error:
            _LOGGER.debug("What metrics tell of could not be looked up: %s", error.message)
        except Exception:  # a bug must not end the looking
            _LOGGER.exception("What metrics tell of could not be looked up.")
        await asyncio.sleep(period_seconds)
