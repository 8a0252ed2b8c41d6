"""Settling a run's model calls at the ledger while the run goes on."""

from __future__ import annotations

import asyncio
import time

from agent_executor.executor.driving.run_spans import note_cost
from agent_executor.executor.log.run_event import ModelCallSettled
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.log.unsettled_call import UnsettledCall
from agent_executor.executor.model_calls.purpose import tool_uses_of
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Ledger, Settlement
from agent_executor.executor.peers.retries import Retries
from agent_executor.serving.security import SecurityContext


class Settlements:
    """The settlements of one run.

    A settlement is begun once the model's answer is durable, and it takes its place in the log
    with the run's next commit. Its entry has the model call's id, so settling again, also by
    another executor, counts once.

    Args:
        ledger: Where they are settled.
        log: The run.
        security: On whose behalf it goes on.
        retries: When it is tried again while the ledger is away.
        under_way: Of all runs of this executor: since when each call is being settled, by a clock
            that is never set, in seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        log: RunLog,
        security: SecurityContext,
        retries: Retries,
        under_way: dict[str, float],
    ) -> None:
        self._ledger = ledger
        self._retries = retries
        self._log = log
        self._security = security
        self._under_way = under_way
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self) -> None:
        """Begins to settle what the log says is unsettled."""
        for call in self._log.state.unsettled:
            if call.model_call_id not in self._tasks:
                self._tasks[call.model_call_id] = asyncio.create_task(self._settle(call))

    async def settle_all(self) -> None:
        """Returns once nothing is unsettled. While the ledger is away it goes on trying."""
        self.begin()
        # A settlement that is under way ends by itself; one that failed raises here.
        await asyncio.gather(*self._tasks.values())

    def cancel(self) -> None:
        """Stops what is under way. It is settled again from the log by whoever goes on."""
        for task in self._tasks.values():
            task.cancel()

    async def _settle(self, call: UnsettledCall) -> None:
        run = self._log.run
        settlement = Settlement(
            model_call_id=call.model_call_id,
            agent_id=run.agent_id,
            run_id=run.run_id,
            model=run.model,
            usage=call.usage,
            is_held=not call.is_unheld,
            estimated=call.estimated,
            is_test=run.is_test,
            attempt=call.attempt,
            processing=self._log.state.processing,
            purpose=call.purpose,
            tool_uses=tool_uses_of(
                (tool.tool_call_id, tool.tool_name, tool.arguments_json) for tool in call.tool_calls
            ),
        )
        cost_nano_usd = await self._settle_until_heard(settlement)
        note_cost(call.model_call_id, cost_nano_usd)
        self._log.add(
            ModelCallSettled(
                model_call_id=call.model_call_id,
                usage_entry_id=call.model_call_id,
                cost_nano_usd=cost_nano_usd,
                estimated=call.estimated,
            )
        )

    async def _settle_until_heard(self, settlement: Settlement) -> int:
        """Returns the cost. While the ledger is away, the settlement waits here and in the log."""
        tries = 0
        self._under_way[settlement.model_call_id] = time.monotonic()
        try:
            while True:
                try:
                    return await self._ledger.settle(settlement, self._security)
                except PASSING_ERRORS:
                    tries += 1
                    await asyncio.sleep(self._retries.delay_seconds(tries))
        finally:
            self._under_way.pop(settlement.model_call_id, None)
