"""Runs a function that blocks in a thread of its own, which the process does not wait for."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from agent_executor.errors import AgentExecutorError, UnavailableError

T = TypeVar("T")


def _do_nothing() -> None:
    """Is what is done at the end if nothing is to be done."""


async def run_in_own_thread(
    function: Callable[[], T], *, name: str, at_end: Callable[[], None] = _do_nothing
) -> T:
    """Runs a function in a new thread, in the context of the caller, and returns what it gives.

    The event loop's own threads are few, and names are resolved there. A thread cannot be stopped:
    a caller that is cancelled goes at once, and what the function gives is dropped.

    Args:
        function: What to run.
        name: The thread's.
        at_end: Called in the event loop when the function has ended, or could not be begun.

    Raises:
        UnavailableError: The system has no thread for it.
        Exception: What the function raised; what is none is raised as a ``RuntimeError``.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(result: T | None, error: BaseException | None) -> None:
        at_end()
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]  # without an error it is a T
        else:
            outcome.set_exception(error)

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = context.run(function)
        except BaseException as raised:  # noqa: BLE001 -- handed over to whoever waits
            error = _as_exception(raised)
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:
            # The event loop is gone, and with it everyone who could wait.
            return

    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        at_end()
        raise UnavailableError("The host can start no thread at present.") from None
    return await outcome


def _as_exception(error: BaseException) -> BaseException:
    """Returns the error, or what stands for it where a future cannot hold it."""
    if isinstance(error, AgentExecutorError | Exception) and not isinstance(error, StopIteration):
        return error
    replacement = RuntimeError(f"The tool raised {type(error).__name__}.")
    replacement.__cause__ = error
    return replacement
