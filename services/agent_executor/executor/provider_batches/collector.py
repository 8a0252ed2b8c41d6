"""Collects model calls for a short while and gives them to their provider as one batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from agent_executor.errors import AgentExecutorError, LeaseLostError, ModelError, UnavailableError
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.models.model import ModelAccess, ModelRequest
from agent_executor.executor.models.model_batches import (
    BatchRequest,
    ModelBatches,
    ProviderBatch,
    may_be_made,
)
from agent_executor.executor.provider_batches.batch import NOT_MADE, Batch, BatchedCall
from agent_executor.executor.provider_batches.store import BatchStore

# Gives the batches of a provider, which are built when they are first needed.
BatchesOf: TypeAlias = Mapping[str, Callable[[], Awaitable[ModelBatches]]]

DEFAULT_WINDOW_SECONDS: Final = 2.0
DEFAULT_POLL_SECONDS: Final = 30.0
DEFAULT_CREATE_TIMEOUT_SECONDS: Final = 60.0
CALLS_MAX: Final = 1_000
# Of all requests of a batch; the API takes 256 MB.
REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024
# What the answers may come to is bounded, as what a provider's connection takes in is.
OUTPUT_TOKENS_MAX: Final = 6_000_000
STORAGE_RETRY_SECONDS: Final = 0.5
# How much longer than its creation may take nobody asks whether a batch was made.
CREATE_MARGIN_SECONDS: Final = 5.0
# What a provider answers to a batch for the fault of one request in it.
_SPLIT_STATUSES: Final = frozenset({"400", "413", "422"})

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """How long what takes with batches, in seconds.

    Attributes:
        window: How long calls are collected for one batch.
        poll: How often a batch is looked at.
        create_timeout: How long its creation may take. A batch of which nobody heard that it was made
            is looked for after that.
    """

    window: float = DEFAULT_WINDOW_SECONDS
    poll: float = DEFAULT_POLL_SECONDS
    create_timeout: float = DEFAULT_CREATE_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
class WaitingCall:
    """A call that is to go into a batch.

    Attributes:
        call: As it is kept.
        request: What the model is asked.
        size_bytes: The request's length.
        given: Gets the batch's id; empty if nobody knows whether the batch was made.
    """

    call: BatchedCall
    request: ModelRequest
    size_bytes: int
    given: asyncio.Future[str] = field(default_factory=asyncio.Future)


@dataclass(slots=True)
class _Window:
    """Calls on one account that are collected at present."""

    provider: str
    access: ModelAccess
    closing: asyncio.TimerHandle
    calls: list[WaitingCall] = field(default_factory=list)
    request_bytes: int = 0
    output_tokens: int = 0

    def add(self, one: WaitingCall) -> bool:
        """Takes a call, and tells whether there is room for more."""
        self.calls.append(one)
        self.request_bytes += one.size_bytes
        self.output_tokens += one.request.max_tokens
        return (
            len(self.calls) < CALLS_MAX
            and self.request_bytes < REQUEST_BYTES_MAX
            and self.output_tokens < OUTPUT_TOKENS_MAX
        )


class BatchCollector:
    """Makes batches of the calls of this executor's runs.

    A batch is stored with its calls before it is made, and its provider's name for it afterwards. What
    is between the two when this process ends, or the provider's answer is lost, is found out by the
    ``BatchPoller`` of any executor.

    Args:
        store: Where batches are kept.
        batches_of: The providers' batches.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        times: How long what takes.
    """

    def __init__(
        self,
        store: BatchStore,
        batches_of: BatchesOf,
        now_ms: Callable[[], int],
        times: BatchTimes | None = None,
    ) -> None:
        self._store = store
        self._batches_of = batches_of
        self._now_ms = now_ms
        self._times = times or BatchTimes()
        self._windows: dict[tuple[str, ModelAccess], _Window] = {}
        self._making: set[asyncio.Task[None]] = set()

    async def submit(self, provider: str, access: ModelAccess, waiting: WaitingCall) -> str:
        """Gives a call into the next batch of its account.

        If it is cancelled before the batch is about to be made, the call goes into none.

        Returns:
            The provider's name for the batch; empty if nobody knows whether it was made.

        Raises:
            LeaseLostError: Another executor drives the run now.
            AgentExecutorError: The batch was not made.
        """
        account = (provider, access)
        window = self._windows.get(account)
        if window is None:
            closing = asyncio.get_running_loop().call_later(
                self._times.window, self._close_window, account
            )
            window = self._windows[account] = _Window(provider, access, closing)
        if not window.add(waiting):
            self._close_window(account)
        return await waiting.given

    async def close(self) -> None:
        """Makes no more batches, and waits for those that are being made, for a while."""
        for account in list(self._windows):
            window = self._windows.pop(account)
            window.closing.cancel()
        if self._making:
            await asyncio.wait(self._making, timeout=CREATE_MARGIN_SECONDS)
        for task in list(self._making):
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)

    def _close_window(self, account: tuple[str, ModelAccess]) -> None:
        window = self._windows.pop(account)
        window.closing.cancel()
        # Whoever does not wait any more was told to stop.
        calls = [one for one in window.calls if not one.given.done()]
        if calls:
            task = asyncio.create_task(self._make(window, calls))
            self._making.add(task)
            task.add_done_callback(self._making.discard)

    async def _make(self, window: _Window, calls: Sequence[WaitingCall]) -> None:
        try:
            await self._store_and_create(window, calls)
        except AgentExecutorError as error:
            _fail(calls, error)
        except Exception as error:
            _LOGGER.exception("A batch could not be made.")
            _fail(calls, UnavailableError(f"A batch could not be made ({type(error).__name__})."))

    async def _store_and_create(self, window: _Window, calls: Sequence[WaitingCall]) -> None:
        batches = await self._batches_of[window.provider]()
        now_ms = self._now_ms()
        looked_for_seconds = self._times.create_timeout + CREATE_MARGIN_SECONDS
        batch = Batch(
            key=new_id(),
            provider=window.provider,
            created_at_ms=now_ms,
            look_at_ms=now_ms + int(looked_for_seconds * 1000),
            access=window.access,
        )
        stored = set(await self._store.add(batch, [one.call for one in calls]))
        lost = [one for one in calls if one.call.model_call_id not in stored]
        _fail(lost, LeaseLostError("The run is driven by another executor."))
        kept = [one for one in calls if one.call.model_call_id in stored]
        # Whoever was told to stop meanwhile found the call in the store or not; it is made in neither
        # case. From the last of these looks to the request for the batch nothing is waited for.
        while stopped := [one for one in kept if one.given.done()]:
            not_made = {one.call.model_call_id: NOT_MADE for one in stopped}
            await self._store.add_outcomes(batch.key, not_made)
            kept = [one for one in kept if one not in stopped]
        if not kept:
            return
        try:
            made = await self._create(batches, window.access, kept)
        except ModelError as error:
            await self._until_stored(lambda: self._store.remove(batch.key))
            if len(kept) == 1 or error.metadata.get("status_code") not in _SPLIT_STATUSES:
                raise
            # One bad request must not spoil the calls of others.
            half = len(kept) // 2
            await self._make(window, kept[:half])
            await self._make(window, kept[half:])
            return
        if made is not None:
            look_at_ms = self._now_ms() + int(self._times.poll * 1000)
            batch_id = made.id
            await self._until_stored(lambda: self._store.made(batch.key, batch_id, look_at_ms))
        for one in kept:
            if not one.given.done():
                one.given.set_result(made.id if made is not None else "")

    async def _create(
        self, batches: ModelBatches, access: ModelAccess, calls: Sequence[WaitingCall]
    ) -> ProviderBatch | None:
        """Makes a batch; returns None if nobody knows whether it was made.

        Raises:
            ModelError: It was not.
        """
        requests = [BatchRequest(one.call.model_call_id, one.request) for one in calls]
        try:
            async with asyncio.timeout(self._times.create_timeout):
                return await batches.create(requests, access=access)
        except TimeoutError:
            _LOGGER.warning("A batch may have been made: its provider did not answer in time.")
            return None
        except ModelError as error:
            if not may_be_made(error):
                raise
            _LOGGER.warning("A batch may have been made: %s", error.message)
            return None

    async def _until_stored(self, operation: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await operation()
            except UnavailableError as error:
                _LOGGER.warning("The storage is waited for: %s", error.message)
                await asyncio.sleep(STORAGE_RETRY_SECONDS)
            else:
                return


def _fail(calls: Sequence[WaitingCall], error: AgentExecutorError) -> None:
    for one in calls:
        if not one.given.done():
            one.given.set_exception(error)
