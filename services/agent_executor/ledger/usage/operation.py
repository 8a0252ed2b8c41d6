"""How what is asked of the ledger becomes a command, and the command's outcome an answer.

Many operations are carried out together: each request is checked and made a command by itself, all
commands are one transaction, and each outcome is again one request's own.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from agent_executor.errors import UnavailableError
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

RequestT = TypeVar("RequestT")
CommandT = TypeVar("CommandT", bound=Command)
AnswerT = TypeVar("AnswerT")

_LOGGER = logging.getLogger(__name__)


class Operation(ABC, Generic[RequestT, CommandT, AnswerT]):
    """One thing that can be asked of the ledger. Its ``Raises:`` are those of both methods."""

    @abstractmethod
    async def prepare(self, request: RequestT, security: SecurityContext) -> CommandT:
        """Checks a request and returns the command that carries it out."""

    @abstractmethod
    def conclude(self, command: CommandT, outcome: Outcome, happened: Happened) -> AnswerT:
        """Returns the answer that an outcome means, or raises the error that it means.

        Args:
            command: What was carried out.
            outcome: How it ended.
            happened: Is added to, for metrics and the log.
        """


class Asked(NamedTuple):
    """A request, who asks it, and the operation that it is for."""

    operation: Operation[Any, Any, Any]
    request: object
    security: SecurityContext


Answered: TypeAlias = Any
"""What the operation answers, or the exception by which it refuses or has failed."""


class Operations:
    """Carries operations out, many in one transaction.

    Args:
        store: Where the commands go.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts what is held, refused and recorded.
    """

    def __init__(
        self, store: AccountingStore, clock: Callable[[], float], metrics: Metrics
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics

    async def run(self, asked: Sequence[Asked]) -> list[Answered]:
        """Carries operations out in their order; each has its answer or exception in its place."""
        answers: list[Answered] = [None] * len(asked)
        prepared: list[tuple[int, Command]] = []
        for index, (operation, request, security) in enumerate(asked):
            try:
                prepared.append((index, await operation.prepare(request, security)))
            except Exception as error:  # noqa: BLE001 -- it is the answer to this one alone
                answers[index] = error
        outcomes = await self._apply([command for _, command in prepared])
        happened = Happened()
        for (index, command), outcome in zip(prepared, outcomes, strict=True):
            if isinstance(outcome, Exception):
                answers[index] = outcome
                continue
            try:
                answers[index] = asked[index].operation.conclude(command, outcome, happened)
            except Exception as error:  # noqa: BLE001 -- as above
                answers[index] = error
        happened.tell(self._metrics)
        return answers

    async def run_one(
        self,
        operation: Operation[RequestT, CommandT, AnswerT],
        request: RequestT,
        security: SecurityContext,
    ) -> AnswerT:
        """Carries one operation out; what it raises is raised."""
        (answer,) = await self.run((Asked(operation, request, security),))
        if isinstance(answer, Exception):
            raise answer
        return cast("AnswerT", answer)

    async def _apply(self, commands: Sequence[Command]) -> Sequence[Outcome | Exception]:
        if not commands:
            return ()
        now_ms = self._now_ms()
        try:
            return await self._store.apply(commands, now_ms)
        except UnavailableError as error:
            return (error,) * len(commands)
        except Exception as error:  # noqa: BLE001 -- whichever command it was, the others go on
            if len(commands) == 1:
                return (error,)
            _LOGGER.warning("%d commands are tried one by one: %r.", len(commands), error)
        outcomes: list[Outcome | Exception] = []
        for command in commands:
            outcomes += await self._apply((command,))
        return outcomes

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
