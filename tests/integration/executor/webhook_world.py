"""Runs with webhooks, what delivers them, and receivers on the loopback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook as Verifier

from agent_executor.egress.client import EgressClient
from agent_executor.egress.policy import EgressPolicy
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.webhooks.deliveries import DeliveryLimits, WebhookDeliveries
from agent_executor.executor.webhooks.delivery import PENDING, Delivery
from agent_executor.executor.webhooks.sender import WebhookSender
from agent_executor.executor.webhooks.store import WebhookStore
from agent_executor.executor.webhooks.webhooks import Webhooks
from agent_executor.serving.metrics import Metrics
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from tests.security.egress.world import ADMITTED, Received, World
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.platforms import ADA, Platform

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENCRYPTION = Encryption(bytes(KEY_BYTES))
POLICY = EgressPolicy(None, allowed_networks=ADMITTED)
WAIT_SECONDS = 60.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns once a condition is met."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 -- what other tasks store makes no event
            await asyncio.sleep(0.002)


def verified(received: Received) -> dict[str, Any]:
    """Returns the message of a request, as a receiver takes it, with the specification's library."""
    told: dict[str, Any] = Verifier(SECRET).verify(received.body, dict(received.headers))
    assert received.header("content-type") == "application/json"
    return told


class Outbox:
    """An executor whose runs tell their ends.

    Its clock is the real one and what a test adds to it.
    """

    def __init__(
        self,
        world: World,
        *,
        journal: Any = None,
        store: WebhookStore | None = None,
        client: EgressClient | None = None,
        limits: DeliveryLimits | None = None,
        ledger: MemoryLedger | None = None,
    ) -> None:
        self.added_ms = 0
        self.platform = Platform(journal=journal, max_active_runs=64, ledger=ledger)
        self.platform.now_ms = self.now_ms()
        self.store = store or self.platform.journal.webhooks
        self.webhooks = Webhooks(self.store, ENCRYPTION, POLICY)
        self.metrics = Metrics(CollectorRegistry())
        limits = limits or DeliveryLimits(timeout_seconds=10.0)
        self.deliveries = WebhookDeliveries(
            store=self.store,
            sender=WebhookSender(
                journal=self.platform.journal,
                encryption=ENCRYPTION,
                client=client or world.client,
                policy=POLICY,
                now_ms=self.now_ms,
                timeout_seconds=limits.timeout_seconds,
            ),
            metrics=self.metrics,
            now_ms=self.now_ms,
            limits=limits,
        )
        self.platform.drivers.on_webhook_due = self.deliveries.wake
        self._agent_id = ""

    def now_ms(self) -> int:
        """Returns the time."""
        return time.time_ns() // 1_000_000 + self.added_ms

    def pass_time(self, seconds: float) -> None:
        """Lets so much time pass, and what is due by then be seen."""
        self.added_ms += int(seconds * 1000)
        self.deliveries.wake()

    async def start(self, url: str, text: str = "What is 1 + 1?", **agent: object) -> str:
        """Starts a run in the background and returns its id."""
        self._agent_id = self._agent_id or await self.platform.agent(**agent)
        options = RunOptions(webhook=self.webhooks.accept(url, SECRET))
        view = await self.platform.runs.start(self._agent_id, text, ADA, options)
        return view.run.run_id

    async def of(self, run_id: str) -> Delivery:
        """Returns what became of a run's webhook, as it is shown."""
        found = await self.webhooks.of((await self.platform.runs.get(run_id, ADA)).run)
        assert found is not None
        return found

    async def concluded(self, run_id: str, attempts: int = 1) -> Delivery:
        """Waits until so many attempts were made and the last one is over."""

        async def is_over() -> bool:
            delivery = await self.of(run_id)
            is_known = bool(delivery.error) or delivery.state != PENDING
            return delivery.attempts >= attempts and is_known and not self.deliveries._attempts

        await until(is_over)
        return await self.of(run_id)

    def count(self, outcome: str) -> float:
        """Returns how many attempts ended so."""
        name = "agent_executor_webhook_deliveries_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    async def close(self) -> None:
        """Stops it."""
        await self.platform.runs.drain(5.0)
        await self.deliveries.stop()


def data_of(received: Received) -> dict[str, Any]:
    """Returns the run of a message, without a look at its signature."""
    run: dict[str, Any] = json.loads(received.body)["data"]
    return run
