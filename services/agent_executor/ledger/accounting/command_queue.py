"""Lets the commands of all who wait be carried out together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from agent_executor.errors import UnavailableError
from agent_executor.ledger.accounting.commands import Command, Outcome

MAX_BATCH_COMMANDS: Final = 1_000


class _Waiting:
    """Commands of one caller, and the future on which it waits."""

    __slots__ = ("commands", "future", "now_ms")

    def __init__(
        self, commands: Sequence[Command], now_ms: int, future: asyncio.Future[list[Outcome]]
    ) -> None:
        self.commands = commands
        self.now_ms = now_ms
        self.future = future


class CommandBatch:
    """What one transaction is to carry out. It is decided when the transaction begins."""

    def __init__(self, take: Callable[[], list[_Waiting]]) -> None:
        self._take = take
        self._taken: list[_Waiting] | None = None

    @property
    def taken(self) -> list[_Waiting]:
        """Who has waited until the first time this is asked for; the same ever after."""
        if self._taken is None:
            self._taken = self._take()
        return self._taken

    @property
    def commands(self) -> list[Command]:
        """Their commands, in the order of their coming."""
        return [command for waiting in self.taken for command in waiting.commands]

    @property
    def now_ms(self) -> int:
        """The latest present that any of them has seen; 0 if there are none."""
        return max((waiting.now_ms for waiting in self.taken), default=0)


CarryOut: TypeAlias = Callable[[CommandBatch], Awaitable[list[Outcome]]]


class CommandQueue:
    """Joins the commands of concurrent callers into one batch, of which one waits at a time.

    A batch costs a fixed number of look-ups and writes and one commit, however many commands it
    has. If it fails for another reason than the storage, the commands of each caller are carried
    out by themselves, so that only the guilty caller is told.
    """

    def __init__(self, carry_out: CarryOut) -> None:
        """Begins without commands.

        Args:
            carry_out: Carries out a batch in one transaction and returns once it is durable. It
                looks at the batch first when the transaction has begun, on whatever thread, so
                that whoever came in the meantime is in it.
        """
        self._carry_out = carry_out
        self._waiting: deque[_Waiting] = deque()
        self._is_batch_waiting = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._tasks and not self._waiting

    async def apply(self, commands: Sequence[Command], now_ms: int) -> list[Outcome]:
        """Returns the outcome of each command once it is durable.

        A caller that is cancelled does not undo its commands.
        """
        if not commands:
            return []
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(commands, now_ms, future))
        if not self._is_batch_waiting:
            self._begin_batch()
        return await future

    def _begin_batch(self) -> None:
        self._is_batch_waiting = True
        task = asyncio.create_task(self._run(CommandBatch(self._take)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting]:
        # In this order: whoever is added after the look sees the mark gone and begins a batch.
        self._is_batch_waiting = False
        taken: list[_Waiting] = []
        count = 0
        while self._waiting and count + len(self._waiting[0].commands) <= MAX_BATCH_COMMANDS:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].commands)
        if not taken and self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    async def _run(self, batch: CommandBatch) -> None:
        """Carries out one batch and tells everyone in it."""
        try:
            outcomes = await self._carry_out(batch)
        except asyncio.CancelledError:
            for waiting in batch.taken:
                waiting.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 -- each caller is told, whatever it is
            await self._tell_failure(batch, error)
        else:
            first = 0
            for waiting in batch.taken:
                last = first + len(waiting.commands)
                if not waiting.future.done():
                    waiting.future.set_result(outcomes[first:last])
                first = last
        if self._waiting and not self._is_batch_waiting:
            self._begin_batch()

    async def _tell_failure(self, batch: CommandBatch, error: Exception) -> None:
        taken = batch.taken
        if len(taken) > 1 and not isinstance(error, UnavailableError):
            for waiting in taken:
                await self._run(CommandBatch(partial(list, (waiting,))))
            return
        for waiting in taken:
            if not waiting.future.done():
                waiting.future.set_exception(error)
