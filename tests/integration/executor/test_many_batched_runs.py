"""Many runs in the provider's batches on SQLite: none held meanwhile, each answer taken up once.

Full size: 2,000 runs.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.executor.journal.journal import RunFilter
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.provider_batches.store_sql import SqlBatchStore
from agent_executor.executor.runs.batches import start_batch
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.unit.executor.platforms import ADA, BATCH_TIMES, Platform, until_idle
from tests.unit.executor.provider_batches.scripted import ScriptedBatches

PLACES = 64
# Of the provider's requests, which the scripted one keeps, and the ledger's holds, which it does too.
OWN_BYTES_PER_RUN = 12_000
BYTES_MAX = 16 * 1024 * 1024


def resident_bytes() -> int:
    """Returns how much memory this process holds at present."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def provider() -> ScriptedBatches:
    return ScriptedBatches()


@pytest.fixture
async def platform(tmp_path: Path, provider: ScriptedBatches) -> AsyncIterator[Platform]:
    """A platform whose journal and batches are in one SQLite file."""
    path = tmp_path / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    database = SqliteDatabase(path)
    journal = SqliteJournal(database)
    yield Platform(
        journal=journal,
        max_active_runs=PLACES,
        max_waiting_runs=4_000,
        max_waiting_per_organization=4_000,
        model_batches=provider,
        batches=SqlBatchStore(SqliteStatementRunner(database)),
    )
    await journal.close()


async def test_many_runs_are_parked_and_taken_up(
    platform: Platform, provider: ScriptedBatches, full: bool
) -> None:
    count = 2_000 if full else 200
    agent_id = await platform.agent()
    gc.collect()
    before, started, cpu = resident_bytes(), time.perf_counter(), time.process_time()
    for first in range(0, count, 1_000):
        inputs = ["hello"] * min(1_000, count - first)
        options = RunOptions(processing="batch")
        await start_batch(platform.runs, agent_id, inputs, ADA, options)
    await until_idle(platform.runs, timeout_seconds=120.0)
    parked, parked_cpu = time.perf_counter(), time.process_time()
    assert sum(map(len, provider.made.values())) == count
    # The windows of tests are short.
    assert len(provider.made) <= count // 4
    gc.collect()
    held = resident_bytes() - before
    assert held < BYTES_MAX + OWN_BYTES_PER_RUN * count
    provider.end_all()
    platform.now_ms += int(BATCH_TIMES.poll * 1000)
    while await platform.poller.look():
        pass
    while len(await platform.runs.list_runs(ADA, count, run_filter=RunFilter(state="waiting"))):
        await platform.runs.take_over()
        await until_idle(platform.runs, timeout_seconds=120.0)
    runs = await platform.runs.list_runs(ADA, count + 1)
    assert {run.state for run in runs} == {"completed"}
    assert len(runs) == len(platform.ledger.settled) == count
    assert sum(run.cost_nano_usd for run in runs) == platform.ledger.spent_nano_usd
    assert platform.ledger.open_nano_usd == 0
    ended, ended_cpu = time.perf_counter(), time.process_time()
    print(  # noqa: T201 -- the figures, for whoever asks for them
        f"\n{count} runs in {len(provider.made)} batches: parked after {parked - started:.1f} s "
        f"({(parked_cpu - cpu) / count * 1000:.2f} CPU-ms each), {held / 2**20:.1f} MiB held, "
        f"ended after {ended - parked:.1f} s more "
        f"({(ended_cpu - parked_cpu) / count * 1000:.2f} CPU-ms each)"
    )
