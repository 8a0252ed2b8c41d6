"""Very many background runs at once on SQLite: in bounded memory, all to their end, none starved.

Full size: 10,000 runs, of two organizations of which one is greedy.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.errors import LimitExceededError
from agent_executor.executor.admission import Admission
from agent_executor.executor.journal_sqlite import SqliteJournal
from agent_executor.executor.ledger import Settlement
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from tests.unit.executor.memory_ledger import MemoryLedger
from tests.unit.executor.platforms import ADA, Platform

BOB = SecurityContext("modest", "bob", frozenset({"*"}))
PLACES = 64
CALLERS = 500
# The runs that are driven, the database's caches, and what the allocator keeps.
BYTES_MAX = 32 * 1024 * 1024
# What the test itself keeps of a run: its id, its organization and its place in the order.
OWN_BYTES_PER_RUN = 500


class ForgetfulLedger(MemoryLedger):
    """One that keeps nothing of what is settled, so that the memory of a test is the executor's."""

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        cost = await super().settle(settlement, security)
        del self.settled[settlement.model_call_id], self.reserved[settlement.model_call_id]
        return cost


def resident_bytes() -> int:
    """Returns how much memory this process holds at present."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform whose journal is in SQLite, with few places and a bounded queue."""
    path = tmp_path / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    journal = SqliteJournal(SqliteDatabase(path))
    platform = Platform(
        journal=journal,
        max_active_runs=PLACES,
        max_waiting_runs=12_000,
        max_waiting_per_organization=12_000,
        ledger=ForgetfulLedger(),
    )
    yield platform
    await journal.close()


async def test_ten_thousand_at_once(platform: Platform, full: bool) -> None:
    count = 10_000 if full else 1_200
    agents = {
        security.organization_id: (await platform.agents.create({"name": "A"}, "", security))
        for security in (ADA, BOB)
    }
    order: list[str] = []
    organization_of: dict[str, str] = {}
    ended, all_ended = platform.drivers.ends.ended, asyncio.Event()

    def note(run_id: str) -> None:
        order.append(run_id)
        ended(run_id)
        if len(order) == count:
            all_ended.set()

    platform.drivers.ends.ended = note  # type: ignore[method-assign]  # a test's own
    for security in (ADA, BOB):  # warms up what is loaded once
        await platform.runs.execute(agents[security.organization_id].agent_id, "hello", security)
    order.clear()
    claim, all_submitted = platform.journal.claim, asyncio.Event()

    async def claim_then(*args: object, **options: object) -> object:
        await all_submitted.wait()
        return await claim(*args, **options)

    platform.journal.claim = claim_then
    gc.collect()
    before, most = resident_bytes(), 0

    async def start(security: SecurityContext) -> None:
        agent = agents[security.organization_id]
        view = await platform.runs.start(agent.agent_id, "hello", security)
        organization_of[view.run.run_id] = security.organization_id

    modest = count // 20
    started, cpu = time.perf_counter(), time.process_time()
    wanted = [ADA] * (count - modest) + [BOB] * modest
    for first in range(0, count, CALLERS):
        await asyncio.gather(*map(start, wanted[first : first + CALLERS]))
    submitted = time.perf_counter() - started
    waiting = await platform.journal.count_waiting()
    all_submitted.set()
    async with asyncio.timeout(600):
        while not all_ended.is_set():
            most = max(most, resident_bytes() - before)
            await asyncio.sleep(0.05)
    print(  # noqa: T201 -- the measurement, shown with -s
        f"\n{count} runs: submitted in {submitted:.1f} s, {waiting} waiting then, all ended after "
        f"{time.perf_counter() - started:.1f} s, {(time.process_time() - cpu) / count * 1000:.1f} "
        f"CPU-ms a run; {most / 2**20:.0f} MiB more at most"
    )
    assert sum(waiting.values()) == count - PLACES
    assert len(set(order)) == count
    states = [run.state for run in await platform.runs.list_runs(ADA, count)]
    assert set(states) == {"completed"}
    assert await platform.journal.count_waiting() == {}
    # Every second turn is the modest one's for as long as it has any: it came last, and ends early.
    last = max(place for place, run_id in enumerate(order) if organization_of[run_id] == "modest")
    assert last < 2 * modest + 3 * PLACES
    assert most < BYTES_MAX + count * OWN_BYTES_PER_RUN


async def test_beyond_the_bound_many_at_once_are_refused_and_the_others_end(
    platform: Platform,
) -> None:
    platform.drivers._admission = Admission(platform.journal, max_waiting_runs=200)
    agent_id = await platform.agent()
    outcomes = await asyncio.gather(
        *(platform.runs.start(agent_id, "hello", ADA) for _ in range(PLACES + 400)),
        return_exceptions=True,
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {type(refusal) for refusal in refusals} == {LimitExceededError}
    async with asyncio.timeout(120):
        while platform.runs.active_count:  # noqa: ASYNC110 -- the end of tasks makes no event
            await asyncio.sleep(0.01)
    runs = await platform.runs.list_runs(ADA, 1_000)
    assert len(runs) + len(refusals) == PLACES + 400
    assert {run.state for run in runs} == {"completed"}
    # At most the places and the queue were taken at any time, besides what ended meanwhile.
    assert 0 < len(refusals) <= 200
