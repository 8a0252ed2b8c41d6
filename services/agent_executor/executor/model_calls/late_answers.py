"""Answers of models that come after their deadline: they are of no use, but tell the real cost."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from agent_executor.errors import AgentExecutorError, UsageEntryNotFoundError
from agent_executor.executor.models.model import ModelResponse
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Correction, Ledger
from agent_executor.executor.peers.retries import Retries
from agent_executor.serving.security import SecurityContext

DEFAULT_LATE_ANSWER_SECONDS: Final = 30.0
# How long a correction is tried; the call may be settled late, and the ledger may be away.
CORRECTION_TIMEOUT_SECONDS: Final = 600.0

_LOGGER = logging.getLogger(__name__)


class LateAnswers:
    """Waits for late answers and corrects the estimates at which their calls were settled.

    The run itself does not wait for that: its own figures are those of its end, and the ledger's are
    the later and better ones. If this process ends meanwhile, the estimate stays, marked as such.

    Args:
        ledger: Where the calls were settled.
        retries: Spaces the tries of a correction.
        wait_seconds: How long an answer is waited for after its deadline; 0 breaks the call off.
    """

    def __init__(
        self,
        ledger: Ledger,
        retries: Retries,
        wait_seconds: float = DEFAULT_LATE_ANSWER_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._retries = retries
        self._wait_seconds = wait_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(
        self,
        answering: asyncio.Future[ModelResponse],
        model_call_id: str,
        security: SecurityContext,
    ) -> None:
        """Takes over a call whose caller no longer waits, and ends it if that takes too long."""
        task = asyncio.create_task(self._correct(answering, model_call_id, security))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Breaks off what is waited for."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _correct(
        self,
        answering: asyncio.Future[ModelResponse],
        model_call_id: str,
        security: SecurityContext,
    ) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                response = await answering
        except (TimeoutError, AgentExecutorError):
            return
        correction = Correction(
            entry_id=f"{model_call_id}_corrected",
            model_call_id=model_call_id,
            usage=response.usage,
            description="The model answered after its deadline.",
        )
        try:
            async with asyncio.timeout(CORRECTION_TIMEOUT_SECONDS):
                await self._correct_until_heard(correction, security)
        except (TimeoutError, AgentExecutorError):
            _LOGGER.exception(
                "The estimate of model call %s could not be corrected.", model_call_id
            )

    async def _correct_until_heard(self, correction: Correction, security: SecurityContext) -> None:
        tries = 0
        while True:
            try:
                await self._ledger.correct(correction, security)
            except (*PASSING_ERRORS, UsageEntryNotFoundError):
                tries += 1
                await asyncio.sleep(self._retries.delay_seconds(tries))
            else:
                return
