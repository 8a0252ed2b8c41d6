"""Tells those who read a run that it goes on: what is in its log, and what its model writes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Final

from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.executor.journal.event_pages import PAGE_EVENTS
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.open_answer import OpenAnswer
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallFailed,
    RunEvent,
    RunFinished,
)
from agent_executor.executor.models.model import DeltaListener

# How soon a reader sees the events of a run that another executor drives.
POLL_INTERVAL_SECONDS: Final = 0.25
# How many of a run's last events are at hand for its readers; those before are in the journal.
RECENT_EVENTS: Final = 32

_LOGGER = logging.getLogger(__name__)


class RunFeed:
    """Reads runs' logs as they grow. Runs of this process are noticed at once, others polled.

    A run that nobody reads costs it nothing.

    Attributes:
        is_closed: This executor stops.
        on_commit: Is told of every commit of this process, and of the run after it; None: nobody is.
    """

    def __init__(
        self, journal: Journal, poll_interval_seconds: float = POLL_INTERVAL_SECONDS
    ) -> None:
        self._journal = journal
        self._poll_interval_seconds = poll_interval_seconds
        self._channels: dict[str, _Channel] = {}
        self._polling: asyncio.Task[None] | None = None
        self.is_closed = False
        self.on_commit: Callable[[RunRecord, Sequence[RunEvent]], None] | None = None

    @property
    def reader_count(self) -> int:
        """How many readers there are."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def committed(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """Tells the readers of a run of events that are durable now; each commit here calls it."""
        if self.on_commit is not None:
            self.on_commit(run, events)
        channel = self._channels.get(run.run_id)
        if channel is not None:
            channel.committed(events)

    def on_delta(self, run_id: str, model_call_id: str) -> DeltaListener | None:
        """Returns whom the model's text is told as it is written; None if nobody reads it."""
        channel = self._channels.get(run_id)
        return channel.open(model_call_id) if channel is not None else None

    @contextlib.contextmanager
    def reading(self, run_id: str, *, with_text: bool = False) -> Iterator[RunReader]:
        """Yields a reader of a run, which sees the model's text as it is written if it wants to."""
        channel = self._channels.setdefault(run_id, _Channel())
        reader = RunReader(run_id, channel, self._journal, with_text=with_text)
        channel.readers.add(reader)
        if self.is_closed:
            reader.close()
        elif self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            yield reader
        finally:
            channel.readers.discard(reader)
            if not channel.readers:
                self._channels.pop(run_id, None)
            if not self._channels and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def follow(
        self, run_id: str, after_sequence: int = 0, *, silence_seconds: float | None = None
    ) -> AsyncGenerator[RunEvent | None]:
        """Yields the events after a sequence, in order and without a gap, until the last one.

        After each ``silence_seconds`` without one it yields None.

        Raises:
            UnavailableError: This executor stops; the run can be followed at another one.
        """
        with self.reading(run_id) as reader:
            reader.look_in_journal()
            while True:
                for event in await reader.events(after_sequence):
                    yield event
                    if isinstance(event.payload, RunFinished):
                        return
                    after_sequence = event.sequence
                if not await reader.wait(silence_seconds):
                    yield None

    def close(self, grace_seconds: float = 0.0) -> None:
        """Ends all reading, since this executor stops.

        Who only follows a run can do so elsewhere, and is let go at once. Who has started one here is
        told of it for ``grace_seconds`` more, in which it may end.
        """
        self.is_closed = True
        for reader in self._readers():
            if not reader.with_text:
                reader.close()
        asyncio.get_running_loop().call_later(grace_seconds, self._close_all)

    def _close_all(self) -> None:
        for reader in self._readers():
            reader.close()

    def _readers(self) -> list[RunReader]:
        return [reader for channel in self._channels.values() for reader in channel.readers]

    async def _poll(self) -> None:
        """Looks for news of all runs that are read, in one statement, again and again."""
        while True:
            await asyncio.sleep(self._poll_interval_seconds)
            try:
                sequences = await self._journal.last_sequences(list(self._channels))
            except AgentExecutorError as error:
                _LOGGER.warning("Runs cannot be followed: %s", error.message)
                continue
            except Exception:  # a bug must not end the following of every run
                _LOGGER.exception("Runs cannot be followed.")
                continue
            for run_id, last_sequence in sequences.items():
                channel = self._channels.get(run_id)
                if channel is not None:
                    channel.look_for(last_sequence)


class RunReader:
    """One who reads a run as it goes on."""

    def __init__(
        self, run_id: str, channel: _Channel, journal: Journal, *, with_text: bool
    ) -> None:
        self.with_text = with_text
        self.last_sequence = 0
        self._run_id = run_id
        self._channel = channel
        self._journal = journal
        self._news = asyncio.Event()
        self._events = asyncio.Event()
        self._is_behind = False
        self._is_closed = False

    @property
    def answer(self) -> OpenAnswer | None:
        """What the model is writing in this process; None if it is not."""
        return self._channel.answer

    async def events(self, after_sequence: int) -> Sequence[RunEvent]:
        """Returns the events after a sequence that are known to be there, in order."""
        self._news.clear()
        self._events.clear()
        self.last_sequence = after_sequence
        recent = self._channel.recent
        if recent and recent[0].sequence <= after_sequence + 1:
            known = [event for event in recent if event.sequence > after_sequence]
            if known or not self._is_behind:
                return known
        elif not recent and not self._is_behind:
            return ()
        self._is_behind = False
        page = await self._journal.events(self._run_id, after_sequence, PAGE_EVENTS)
        if len(page) == PAGE_EVENTS:
            # There may be more, which the next call reads.
            self.look_in_journal()
        return page

    async def wait(self, seconds: float | None = None) -> bool:
        """Waits for news, or so long, and returns whether there are any.

        Raises:
            UnavailableError: This executor stops.
        """
        return await self._is_set(self._news, seconds)

    async def wait_for_events(self, seconds: float) -> bool:
        """Waits as ``wait`` does, but for events only, and not for what the model writes."""
        return await self._is_set(self._events, seconds)

    def wake(self) -> None:
        """Tells it of events."""
        self._events.set()
        self._news.set()

    def wake_for_text(self) -> None:
        """Tells it that the model has written something."""
        self._news.set()

    def look_in_journal(self) -> None:
        """Tells it of events that are not at hand."""
        self._is_behind = True
        self.wake()

    def close(self) -> None:
        """Ends its reading."""
        self._is_closed = True
        self.wake()

    async def _is_set(self, news: asyncio.Event, seconds: float | None) -> bool:
        # Not wait_for, which in Python 3.11 can lose a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if not self._is_closed:
                    await news.wait()
        if self._is_closed:
            raise UnavailableError(
                f"This executor stops. Run {self._run_id} goes on; follow it by its id.",
                metadata={"runId": self._run_id},
                retry_after_seconds=1.0,
            )
        return news.is_set()


class _Channel:
    """What the readers of one run share."""

    def __init__(self) -> None:
        self.readers: set[RunReader] = set()
        self.recent: deque[RunEvent] = deque(maxlen=RECENT_EVENTS)
        self.answer: OpenAnswer | None = None

    def committed(self, events: Sequence[RunEvent]) -> None:
        if self.recent and self.recent[-1].sequence + 1 != events[0].sequence:
            # Another executor has driven the run meanwhile.
            self.recent.clear()
        self.recent.extend(events)
        if any(isinstance(event.payload, ModelCallCompleted | ModelCallFailed) for event in events):
            self.answer = None
        for reader in self.readers:
            reader.wake()

    def open(self, model_call_id: str) -> DeltaListener | None:
        if not any(reader.with_text for reader in self.readers):
            return None
        self.answer = OpenAnswer(model_call_id, self._written)
        return self.answer.add

    def look_for(self, last_sequence: int) -> None:
        for reader in self.readers:
            if reader.last_sequence < last_sequence:
                reader.look_in_journal()

    def _written(self) -> None:
        for reader in self.readers:
            reader.wake_for_text()
