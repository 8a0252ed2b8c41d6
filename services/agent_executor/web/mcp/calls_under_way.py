"""The calls of tools under way in this process, so that another message can cancel one.

Only the revisions of the protocol that begin with a handshake need it: there a client cancels by a
notification, which comes as a request of its own. A session is no more than a name that keeps the
clients' request ids apart. It gives no right: the run is cancelled with the token of whoever asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from agent_executor.web.run_following_grpc import RunFollower

CallId: TypeAlias = tuple[str, str | int]
"""The session and the request id."""


class CallsUnderWay:
    """Finds the run of a call, and ends runs after their caller has gone."""

    def __init__(self) -> None:
        self._followers: dict[CallId, RunFollower] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def entered(self, call_id: CallId | None, follower: RunFollower) -> Iterator[None]:
        """Makes the call known while it is under way; without an id it cannot be found."""
        if call_id is not None:
            self._followers[call_id] = follower
        try:
            yield
        finally:
            if call_id is not None and self._followers.get(call_id) is follower:
                del self._followers[call_id]

    def find(self, call_id: CallId) -> RunFollower | None:
        """Returns what follows the call's run, or None if no such call is under way here."""
        return self._followers.get(call_id)

    def in_background(self, job: Callable[[], Awaitable[None]]) -> None:
        """Does something that outlives the request which asked for it."""

        async def run() -> None:
            await job()

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finished(self) -> None:
        """Waits for what is done in the background."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
