"""Admission: bounds on the runs that wait, from counts that are not always fresh."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from agent_executor.errors import LimitExceededError
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.runs.admission import Admission


class World:
    """A journal that only counts, and a clock."""

    def __init__(self, most: int, most_per_organization: int = 1_000) -> None:
        self.waiting: Counter[str] = Counter()
        self.counts = 0
        self.now = 100.0
        self.gate: asyncio.Event | None = None
        journal = MemoryJournal()
        journal.count_waiting = self._count  # type: ignore[method-assign]  # a test's own
        self.admission = Admission(
            journal,
            max_waiting_runs=most,
            max_per_organization=most_per_organization,
            clock=lambda: self.now,
        )

    async def _count(self) -> dict[str, int]:
        self.counts += 1
        counted = dict(self.waiting)
        if self.gate is not None:
            await self.gate.wait()
        return counted

    async def store(self, organization_id: str = "acme") -> None:
        async with self.admission.admitted(organization_id):
            self.waiting[organization_id] += 1

    async def store_all(self, count: int) -> int:
        """Stores so many at once, and returns how many were refused."""
        outcomes = await asyncio.gather(
            *(self.store() for _ in range(count)), return_exceptions=True
        )
        return sum(isinstance(outcome, LimitExceededError) for outcome in outcomes)


async def test_of_many_at_once_exactly_as_many_are_admitted_as_may_wait() -> None:
    world = World(most=10)
    assert await world.store_all(50) == 40
    assert world.waiting.total() == 10


async def test_far_from_the_bound_runs_are_counted_once_a_second() -> None:
    world = World(most=1_000)
    for _ in range(100):
        await world.store()
        world.now += 0.001
    assert world.counts == 1
    world.now += 1.0
    await world.store()
    assert world.counts == 2


async def test_at_the_bound_room_is_seen_within_a_tenth_of_a_second() -> None:
    world = World(most=3)
    assert await world.store_all(4) == 1
    world.waiting.clear()
    assert await world.store_all(1) == 1
    world.now += 0.11
    assert await world.store_all(5) == 2


async def test_what_others_store_is_seen_within_a_second() -> None:
    world = World(most=10)
    await world.store()
    world.waiting["acme"] += 50
    assert await world.store_all(1) == 0
    world.now += 1.01
    assert await world.store_all(1) == 1


async def test_a_run_that_is_being_stored_during_a_count_is_not_forgotten() -> None:
    world = World(most=2)
    await world.store()
    async with world.admission.admitted("acme"):
        # Admitted, not stored, and not in this count.
        world.now += 1.01
        assert await world.store_all(1) == 1
        world.waiting["acme"] += 1
    world.now += 1.01
    assert await world.store_all(1) == 1
    assert world.waiting.total() == 2


async def test_a_storing_that_fails_gives_its_room_back_with_the_next_count() -> None:
    world = World(most=1)
    with pytest.raises(ZeroDivisionError):
        async with world.admission.admitted("acme"):
            raise ZeroDivisionError
    world.now += 0.11
    assert await world.store_all(1) == 0


async def test_each_organization_has_its_own_bound() -> None:
    world = World(most=10, most_per_organization=2)
    assert await world.store_all(5) == 3
    await world.store("other")


async def test_how_long_to_wait_follows_from_how_fast_runs_have_their_turn() -> None:
    world = World(most=100)
    assert await world.store_all(101) == 1
    for _ in range(5):
        # Two runs a second have their turn, and others come in their place.
        world.now += 1.01
        world.waiting["acme"] -= 2
        await world.store_all(3)
    with pytest.raises(LimitExceededError) as refusal:
        await world.store()
    assert refusal.value.retry_after_seconds == pytest.approx(0.5 * 100 * 0.1, rel=0.1)
    assert refusal.value.metadata == {"maxWaitingRuns": "100"}
