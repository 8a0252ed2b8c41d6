"""What the ledger's stores do in a second, against the bare limit of group commit.

Run by hand: ``python -m tests.bench.bench_ledger_store [sqlite|postgres] [commands] [budgets]``.

For each number of commands in a batch it shows entries that are recorded, and pairs of holding money
and settling, with four budgets that apply. The bare limit is the same rows of entries in a table
without an index, in as many commits, and nothing else. PostgreSQL is the one of the tests, which
does not flush to the disk: its figures tell the cost of the work, not of durability.
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from agent_executor.ledger.accounting.commands import Command, Record, Reserve, Settle
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.rows import ENTRY_NAMES, row_of_entry
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.store_postgres import PostgresAccountingStore
from agent_executor.ledger.accounting.store_sqlite import SqliteAccountingStore
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from tests.postgres import PostgresServer
from tests.unit.ledger.accounting_samples import (
    CARD,
    NOW_MS,
    ORGANIZATION,
    budget,
    entry,
    hold,
    priced,
)

BATCH_SIZES = (1, 16, 64, 256)
USERS = 50
AGENTS = 5
MANY_USD = 10**15
CREATE_BARE = f"CREATE TABLE bare ({', '.join(ENTRY_NAMES)})"
INSERT_BARE = f"INSERT INTO bare VALUES ({', '.join('?' * len(ENTRY_NAMES))})"

Batch = Sequence[Command]
Run = Callable[[Batch], Awaitable[object]]


class Numbers:
    """Makes commands that differ in what differs in a busy organization."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def _who(self, number: int) -> dict[str, Any]:
        return {
            "user_id": f"user-{number % USERS}",
            "agent_id": f"agent-{number % AGENTS}",
            "run_id": f"run-{number // 4}",
        }

    def records(self, count: int) -> Batch:
        return [
            Record(priced(f"entry-{number}", occurred_at_ms=self._at(number), **self._who(number)))
            for number in itertools.islice(self._numbers, count)
        ]

    def pairs(self, count: int) -> tuple[Batch, Batch]:
        numbers = list(itertools.islice(self._numbers, count))
        holds = [hold(f"call-{number}", **self._who(number)) for number in numbers]
        entries = [
            entry(f"call-{number}", occurred_at_ms=self._at(number), **self._who(number))
            for number in numbers
        ]
        return [Reserve(one, CARD) for one in holds], [Settle(one, CARD) for one in entries]

    def _at(self, number: int) -> int:
        return NOW_MS + number


NUMBERS = Numbers()


@asynccontextmanager
async def sqlite_store() -> AsyncIterator[tuple[AccountingStore, Run]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite3"
        upgrade(path, MIGRATIONS)
        database = SqliteDatabase(path)
        await database.writer.submit(lambda connection: connection.execute(CREATE_BARE).rowcount)

        async def insert(batch: Batch) -> None:
            rows = [row_of_entry(entry_of(command)) for command in batch]

            def write(connection: sqlite3.Connection) -> None:
                connection.executemany(INSERT_BARE, rows)

            await database.writer.submit(write)

        yield SqliteAccountingStore(database), insert
        await database.close()


@asynccontextmanager
async def postgres_store() -> AsyncIterator[tuple[AccountingStore, Run]]:
    from agent_executor.ledger.accounting.postgres_statements import INSERT_ENTRIES

    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = PostgresServer(Path(folder))
        database = PostgresDatabase(server.url(await server.new_database(MIGRATIONS)))
        create = "CREATE TABLE bare AS SELECT * FROM usage_entries"
        await database.writer.submit(lambda transaction: transaction.execute(create))
        insert_bare = INSERT_ENTRIES.replace("INTO usage_entries", "INTO bare")

        async def insert(batch: Batch) -> None:
            rows = [row_of_entry(entry_of(command)) for command in batch]
            columns = [list(column) for column in zip(*rows, strict=True)]
            await database.writer.submit(
                lambda transaction: transaction.execute(insert_bare, *columns)
            )

        yield PostgresAccountingStore(database), insert
        await database.close()
        server.stop()


def entry_of(command: Command) -> UsageEntry:
    assert isinstance(command, Record)
    return command.entry


async def measure(batches: Sequence[Batch], run: Run) -> tuple[float, float]:
    """Returns how many commands a second, and CPU-microseconds for each in this process."""
    commands = sum(map(len, batches))
    cpu_started, started = time.process_time(), time.perf_counter()
    for batch in batches:
        await run(batch)
    seconds = time.perf_counter() - started
    return commands / seconds, (time.process_time() - cpu_started) / commands * 1e6


async def compare(store: AccountingStore, bare: Run, size: int, commands: int) -> None:
    """Prints the figures of one number of commands in a batch."""
    rounds = max(commands // size, 1)

    async def apply(batch: Batch) -> None:
        await store.apply(batch, NOW_MS)

    records = [NUMBERS.records(size) for _ in range(rounds)]
    limit, limit_us = await measure(records, bare)
    entries, entry_us = await measure(records, apply)
    pairs = [NUMBERS.pairs(size) for _ in range(rounds)]
    holds, hold_us = await measure([one for one, _ in pairs], apply)
    settles, settle_us = await measure([one for _, one in pairs], apply)
    pairs_rate = 1 / (1 / holds + 1 / settles)
    print(
        f"{size:5} in a batch | bare {limit:8,.0f}/s {limit_us:5.0f} us"
        f" | entries {entries:8,.0f}/s {entry_us:5.0f} us, {entries / limit:4.0%} of bare"
        f" | pairs {pairs_rate:7,.0f}/s, reserve {hold_us:4.0f} us, settle {settle_us:4.0f} us,"
        f" {pairs_rate / limit:4.0%} of bare"
    )


async def main(kind: str, commands: int, budgets: int) -> None:
    opened = sqlite_store() if kind == "sqlite" else postgres_store()
    async with opened as (store, bare):
        await store.put_rate_card(CARD, "bench")
        await store.put_budget(budget("all", MANY_USD), NOW_MS)
        await store.put_budget(budget("daily", MANY_USD, window="day"), NOW_MS)
        await store.put_budget(budget("agent", MANY_USD, agent_id="agent-1"), NOW_MS)
        await store.put_budget(budget("user", MANY_USD, user_id="user-1", window="month"), NOW_MS)
        for number in range(budgets):
            await store.put_budget(budget(f"b{number}", 1, user_id=f"nobody-{number}"), NOW_MS)
        print(f"{kind}, {commands} commands each, {budgets} other budgets of {ORGANIZATION}")
        for size in BATCH_SIZES:
            await compare(store, bare, size, commands if size > 1 else commands // 10)


if __name__ == "__main__":
    kind, commands, budgets = (sys.argv[1:] + ["sqlite", "10000", "0"][len(sys.argv) - 1 :])[:3]
    uvloop.run(main(kind, int(commands), int(budgets)))
