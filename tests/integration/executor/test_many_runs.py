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
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.peers.ledger import Hold, Settlement
from agent_executor.executor.runs.admission import Admission
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
    """One that keeps nothing of what is settled, so that the memory of a test is the executor's.

    Attributes:
        open: Whether it answers; what is asked meanwhile waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def reserve(self, hold: Hold, security: SecurityContext) -> int:
        """See ``Ledger``."""
        await self.open.wait()
        return await super().reserve(hold, security)

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


class Ends:
    """Notes the order in which runs end."""

    def __init__(self, platform: Platform, count: int) -> None:
        self.order: list[str] = []
        self.all_ended = asyncio.Event()
        self._count = count
        self._ended = platform.drivers.ends.ended
        platform.drivers.ends.ended = self._note  # type: ignore[method-assign]  # a test's own

    def _note(self, run_id: str) -> None:
        self._ended(run_id)
        self.order.append(run_id)
        if len(self.order) == self._count:
            self.all_ended.set()


def hold_claims_back(platform: Platform) -> asyncio.Event:
    """Lets no run be claimed until the event that it returns is set."""
    claim, may_claim = platform.journal.claim, asyncio.Event()

    async def claim_then(*args: object, **options: object) -> object:
        await may_claim.wait()
        return await claim(*args, **options)  # type: ignore[arg-type]  # passed on

    platform.journal.claim = claim_then  # type: ignore[assignment, method-assign]  # a test's own
    return may_claim


async def test_ten_thousand_at_once(platform: Platform, full: bool) -> None:
    count = 10_000 if full else 1_200
    modest, organization_of = count // 20, dict[str, str]()
    agents = {}
    for security in (ADA, BOB):
        agent = await platform.agents.create({"name": "A"}, "", security)
        agents[security.organization_id] = agent.agent_id
        # Warms up what is loaded once.
        await platform.runs.execute(agent.agent_id, "hello", security)
    ends, may_claim = Ends(platform, count), hold_claims_back(platform)

    async def start(security: SecurityContext) -> None:
        view = await platform.runs.start(agents[security.organization_id], "hello", security)
        organization_of[view.run.run_id] = security.organization_id

    gc.collect()
    before, most = resident_bytes(), 0
    started, cpu = time.perf_counter(), time.process_time()
    wanted = [ADA] * (count - modest) + [BOB] * modest
    for first in range(0, count, CALLERS):
        await asyncio.gather(*map(start, wanted[first : first + CALLERS]))
    submitted, waiting = time.perf_counter(), await platform.journal.count_waiting()
    assert sum(waiting.values()) == count - PLACES
    may_claim.set()
    async with asyncio.timeout(600):
        while not ends.all_ended.is_set():
            most = max(most, resident_bytes() - before)
            await asyncio.sleep(0.05)
    print(  # noqa: T201 -- the measurement, shown with -s
        f"\n{count} runs: submitted in {submitted - started:.1f} s, ended "
        f"{time.perf_counter() - submitted:.1f} s later; "
        f"{(time.process_time() - cpu) / count * 1000:.1f} CPU-ms a run; "
        f"{most / 2**20:.0f} MiB more at most"
    )
    assert len(set(ends.order)) == count
    assert {run.state for run in await platform.runs.list_runs(ADA, count)} == {"completed"}
    assert await platform.journal.count_waiting() == {}
    # Every second turn is the modest one's for as long as it has any: it came last, and ends early.
    places = [
        place for place, run_id in enumerate(ends.order) if organization_of[run_id] == "modest"
    ]
    assert len(places) == modest
    assert max(places) < 2 * modest + 3 * PLACES
    assert most < BYTES_MAX + count * OWN_BYTES_PER_RUN


async def test_beyond_the_bound_many_at_once_are_refused_and_the_others_end(
    platform: Platform,
) -> None:
    platform.drivers._admission = Admission(platform.journal, max_waiting_runs=200)
    agent_id, ledger = await platform.agent(), platform.ledger
    assert isinstance(ledger, ForgetfulLedger)
    # No run ends before all have been asked for.
    ledger.open.clear()
    outcomes = await asyncio.gather(
        *(platform.runs.start(agent_id, "hello", ADA) for _ in range(PLACES + 400)),
        return_exceptions=True,
    )
    ledger.open.set()
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {type(refusal) for refusal in refusals} == {LimitExceededError}
    async with asyncio.timeout(120):
        while platform.runs.active_count:  # noqa: ASYNC110 -- the end of tasks makes no event
            await asyncio.sleep(0.01)
    runs = await platform.runs.list_runs(ADA, 1_000)
    assert len(runs) + len(refusals) == PLACES + 400
    assert {run.state for run in runs} == {"completed"}
    # The places and the queue were taken, and no more than these.
    assert len(refusals) == 200
