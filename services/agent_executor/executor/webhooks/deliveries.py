"""Tells ends of runs as they are due: several receivers at once, none of them in another's way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.webhooks.delivery import DELIVERED, FAILED, PENDING, Delivery
from agent_executor.executor.webhooks.retries import Outcome, RetryPolicy
from agent_executor.executor.webhooks.store import WebhookStore
from agent_executor.serving.metric_names import WEBHOOK_DELIVERIES, WEBHOOK_DELIVERY_DELAY
from agent_executor.serving.metrics import Metrics

DEFAULT_TIMEOUT_SECONDS: Final = 10.0
DEFAULT_MAX_CONCURRENT: Final = 64
DEFAULT_MAX_CONCURRENT_PER_RECEIVER: Final = 4
DEFAULT_SWEEP_SECONDS: Final = 5.0
# An attempt is one timeout for the exchange, and as much for reading the run and storing the outcome;
# what is left is the clocks' of executors that share the outbox.
LEASE_TIMEOUTS: Final = 3
# Attempts under way get so long when this executor stops.
LAST_WORDS_SECONDS: Final = 1.0

_LOGGER = logging.getLogger(__name__)
_OUTCOMES: Final = {DELIVERED: "delivered", FAILED: "failed", PENDING: "retried"}


class Sender(Protocol):
    """Makes attempts; see ``WebhookSender``."""

    async def send(self, delivery: Delivery) -> tuple[Outcome, RunRecord | None]:
        """Makes one attempt and returns what became of it, and the run."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How much is done at once.

    Attributes:
        timeout_seconds: How long one exchange may take.
        max_concurrent: How many attempts this executor makes at the same time.
        max_concurrent_per_receiver: How many of these may go to one origin.
        sweep_seconds: How often the outbox is looked into for what nobody here has heard of.
    """

    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_concurrent: int = DEFAULT_MAX_CONCURRENT
    max_concurrent_per_receiver: int = DEFAULT_MAX_CONCURRENT_PER_RECEIVER
    sweep_seconds: float = DEFAULT_SWEEP_SECONDS


class WebhookDeliveries:
    """Makes the attempts that are due.

    It is woken when a run ends here, and looks by itself when something is due again, and every
    ``sweep_seconds`` for what an executor that died has left.
    """

    def __init__(
        self,
        *,
        store: WebhookStore,
        sender: Sender,
        metrics: Metrics,
        now_ms: Callable[[], int],
        retries: RetryPolicy | None = None,
        limits: DeliveryLimits | None = None,
    ) -> None:
        self._store = store
        self._sender = sender
        self._metrics = metrics
        metrics.show(WEBHOOK_DELIVERY_DELAY)
        self._now_ms = now_ms
        self._retries = retries or RetryPolicy()
        self._limits = limits or DeliveryLimits()
        self._lease_ms = int(self._limits.timeout_seconds * LEASE_TIMEOUTS * 1000)
        self._woken = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[str] = Counter()
        self._is_crowded = False

    def wake(self) -> None:
        """Says that something is due."""
        self._woken.set()

    def start(self) -> None:
        """Begins to look for what is due."""
        self._looking = asyncio.create_task(self._look_again_and_again())

    async def stop(self) -> None:
        """Begins no more attempts, and leaves those that are not over soon to whoever comes next."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=LAST_WORDS_SECONDS)
        left = list(self._attempts)
        for attempt in left:
            attempt.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _look_again_and_again(self) -> None:
        while True:
            self._woken.clear()
            delay_seconds = self._limits.sweep_seconds
            try:
                delay_seconds = await self._begin_due()
            except AgentExecutorError as error:
                _LOGGER.warning("Webhooks that are due could not be read: %s", error.message)
            except Exception:  # a bug must not end the looking, and with it all deliveries
                _LOGGER.exception("Webhooks that are due could not be read.")
            # Not wait_for, which in Python 3.11 can lose a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds):
                    await self._woken.wait()

    async def _begin_due(self) -> float:
        """Begins what is due as far as there is room, and returns when to look again, in seconds."""
        self._is_crowded = False
        now_ms = self._now_ms()
        next_ms = now_ms + int(self._limits.sweep_seconds * 1000)
        due = list((await self._store.first_due()).items())
        # So that no receiver is always the first to be given what room there is.
        random.shuffle(due)
        for origin, due_at_ms in due:
            if due_at_ms > now_ms:
                next_ms = min(next_ms, due_at_ms)
                continue
            room = self._room(origin)
            claimed = await self._claim(origin, room) if room > 0 else []
            for delivery in claimed:
                self._begin(delivery)
            # There may be more; an attempt that ends makes room for it.
            self._is_crowded = self._is_crowded or len(claimed) >= room
        return max(0, next_ms - self._now_ms()) / 1000

    def _room(self, origin: str) -> int:
        return min(
            self._limits.max_concurrent - len(self._attempts),
            self._limits.max_concurrent_per_receiver - self._in_flight[origin],
        )

    async def _claim(self, origin: str, limit: int) -> list[Delivery]:
        now_ms = self._now_ms()
        return await self._store.claim(origin, now_ms, now_ms + self._lease_ms, limit)

    def _begin(self, delivery: Delivery) -> None:
        self._in_flight[delivery.origin] += 1
        attempt = asyncio.create_task(self._attempt(delivery))
        self._attempts.add(attempt)
        attempt.add_done_callback(lambda ended: self._end(ended, delivery.origin))

    def _end(self, attempt: asyncio.Task[None], origin: str) -> None:
        self._attempts.discard(attempt)
        self._in_flight[origin] -= 1
        if not self._in_flight[origin]:
            # Origins are many in the course of time.
            del self._in_flight[origin]
        if self._is_crowded:
            self.wake()

    async def _attempt(self, delivery: Delivery) -> None:
        """Makes one attempt. What goes wrong here is tried again when its lease has run out."""
        run_id, is_sent = delivery.run_id, False
        try:
            # What waits for the storage that long is not its owner any more.
            async with asyncio.timeout(self._lease_ms * 2 / LEASE_TIMEOUTS / 1000):
                outcome, run = await self._sender.send(delivery)
                is_sent = True
                ended_at_ms = run.ended_at_ms if run is not None else 0
                await self._conclude(delivery, outcome, ended_at_ms)
        except asyncio.CancelledError:
            if not is_sent:
                await self._give_back(delivery)
            raise
        except (AgentExecutorError, TimeoutError) as error:
            reason = str(error) or "the storage took too long."
            _LOGGER.warning("The webhook of run %s is told later: %s", run_id, reason)
        except Exception:  # a bug must not be the end of the process
            _LOGGER.exception("The webhook of run %s could not be told.", run_id)

    async def _conclude(self, delivery: Delivery, outcome: Outcome, ended_at_ms: int) -> None:
        now_ms = self._now_ms()
        concluded = self._retries.concluded(
            delivery,
            outcome,
            now_ms=now_ms,
            ended_at_ms=ended_at_ms,
            jitter=random.uniform(-1, 1),  # noqa: S311 -- it spreads attempts, and is no secret
        )
        if not await self._store.conclude(concluded):
            return
        name = _OUTCOMES[concluded.state]
        self._metrics.increment(WEBHOOK_DELIVERIES, name)
        if concluded.state == DELIVERED:
            delay_seconds = max(0, now_ms - ended_at_ms) / 1000
            self._metrics.observe(WEBHOOK_DELIVERY_DELAY, delay_seconds)
        # The path and the query of a URL may be what its receiver is known by: they are not told.
        _LOGGER.info(
            "The webhook of run %s to %s: attempt %d %s, status %d. %s",
            delivery.run_id,
            delivery.origin,
            delivery.attempts,
            name,
            outcome.status_code,
            outcome.error,
        )
        if concluded.due_at_ms:
            # It may be due before the next look.
            self.wake()

    async def _give_back(self, delivery: Delivery) -> None:
        """Makes a delivery due that was broken off, so that nobody waits for its lease to run out."""
        due = msgspec.structs.replace(delivery, due_at_ms=self._now_ms())
        with contextlib.suppress(AgentExecutorError):
            await self._store.conclude(due)
