"""How long the ledger takes to answer questions, with its roll-ups and entry by entry.

Run by hand: ``python -m tests.bench.bench_ledger_reports [entries] [sqlite|postgres]``. At full size,
10,000,000, it needs 5 GB in the folder for temporary files.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from agent_executor.ledger.accounting.rollup import (
    DAY_MS,
    HOUR_MS,
    RollupKey,
    SpendingKey,
    rollup_keys,
)
from agent_executor.ledger.reports.store_sql import SqlReportStore
from agent_executor.ledger.reports.summary_plan import SummaryPlan
from agent_executor.ledger.reports.summary_sql import summary_statement
from agent_executor.ledger.reports.time_zones import offsets
from agent_executor.ledger.reports.usage_query import SUMS, EntryFilter, SummaryQuery
from agent_executor.ledger.tables import RESERVATIONS, USAGE_ENTRIES, USAGE_ROLLUPS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer

ORGANIZATION: Final = "acme"
DAYS: Final = 90
FIRST_MS: Final = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp()) * 1000
MONTH: Final = (
    int(datetime(2026, 9, 1, tzinfo=UTC).timestamp()) * 1000,
    int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 1000,
)
ENTRIES_OF_RUN: Final = 5
REPEATS: Final = 5
UP_TO_ALL: Final = 2**62
# What is used in each hour of a day, as people work in one part of the world.
HOURLY: Final = (2, 1, 1, 1, 1, 2, 4, 8, 12, 14, 14, 12, 11, 13, 14, 13, 11, 9, 7, 6, 5, 4, 3, 2)

Who = tuple[str, str, str, str, str]
"""User, agent, model, tool and kind."""


def who_uses_what(chance: random.Random) -> tuple[list[Who], list[float]]:
    """Returns whom entries are of, and how often: few users make most, each with agents they like."""
    whos, weights = [], []
    for user in range(100):
        agents = chance.sample(range(20), 20)
        for rank, agent in enumerate(agents, 1):
            often = 1 / (user + 3) / rank**1.5
            for model in range(4):
                share = 0.6 if model == agent % 4 else 0.03
                whos.append((f"u{user}", f"a{agent}", f"model-{model}", "", "model_call"))
                weights.append(often * share)
            for tool in range(4):
                name = f"t{agent % 5 + tool}"
                whos.append((f"u{user}", f"a{agent}", "", name, "tool_call"))
                weights.append(often * 0.08)
    return whos, list(itertools.accumulate(weights))


def hours(count: int, chance: random.Random) -> Iterator[tuple[int, list[Who]]]:
    """Yields each hour and whom its entries are of."""
    whos, weights = who_uses_what(chance)
    share = count / DAYS / sum(HOURLY)
    for day in range(DAYS):
        for hour, often in enumerate(HOURLY):
            start_ms = FIRST_MS + day * DAY_MS + hour * HOUR_MS
            yield start_ms, chance.choices(whos, cum_weights=weights, k=round(often * share))


def rows(count: int) -> Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """Yields the entries of each hour, and the roll-ups of each day that is complete."""
    chance = random.Random(1)
    keys_of = lru_cache(maxsize=100_000)(rollup_keys)
    number = 0
    rolled: defaultdict[RollupKey, list[int]] = defaultdict(lambda: [0] * len(SUMS))
    for start_ms, whos in hours(count, chance):
        entries = []
        step_ms = HOUR_MS // (len(whos) + 1)
        for user, agent, model, tool, kind in whos:
            number += 1
            sums = (1, 3 * number % 9_001, number % 2_003, 7 * number % 20_011, 0, 0)
            if tool:
                sums = (1, 0, 0, 0, 0, 0)
            cost = 3_000 * sums[1] + 15_000 * sums[2] + 300 * sums[3]
            run = f"r{number // ENTRIES_OF_RUN}"
            time_ms = start_ms + (number % (len(whos) + 1)) * step_ms
            entries.append(
                (
                    *(number, ORGANIZATION, f"e{number}", kind, user, agent, run, model, tool),
                    *(*sums[1:6], cost, "card", "", "", 0, 0, 1, "", "open", "", "", "", 0, 0, 0),
                    *(time_ms, time_ms),
                )
            )
            for key in keys_of(SpendingKey(start_ms, user, agent, model, tool, kind)):
                into = rolled[key]
                for index, value in enumerate((*sums, cost)):
                    into[index] += value
        spans = []
        if (start_ms + HOUR_MS - FIRST_MS) % DAY_MS == 0:
            spans = [(ORGANIZATION, *key, *sums) for key, sums in rolled.items()]
            rolled.clear()
        yield entries, spans


def _schema(dialect: Dialect) -> tuple[list[str], list[str]]:
    """Returns the statements that make the tables, and those that make their indexes."""
    tables = [USAGE_ENTRIES, USAGE_ROLLUPS, RESERVATIONS]
    return (
        [str(CreateTable(table).compile(dialect=dialect)) for table in tables],
        [
            str(CreateIndex(index).compile(dialect=dialect))
            for table in tables
            for index in table.indexes
        ],
    )


def _write_sqlite(path: Path, count: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    tables, indexes = _schema(sqlite.dialect())
    for statement in tables:
        connection.execute(statement)
    inserts = [
        f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"
        for table in (USAGE_ENTRIES, USAGE_ROLLUPS)
    ]
    connection.execute("BEGIN")
    for batches in rows(count):
        for statement, batch in zip(inserts, batches, strict=True):
            connection.executemany(statement, batch)
    connection.execute("COMMIT")
    for statement in indexes:
        connection.execute(statement)
    connection.close()


async def _write_postgres(url: str, count: int) -> None:
    connection = await asyncpg.connect(url)
    tables, indexes = _schema(PGDialect_asyncpg())  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    for statement in tables:
        await connection.execute(statement)
    for batches in rows(count):
        for table, batch in zip((USAGE_ENTRIES, USAGE_ROLLUPS), batches, strict=True):
            await connection.copy_records_to_table(table.name, records=batch)
    for statement in (*indexes, "VACUUM ANALYZE"):
        await connection.execute(statement)
    await connection.close()


def questions() -> dict[str, SummaryQuery]:
    """Returns the summaries that are timed, by name."""
    month = EntryFilter(start_ms=MONTH[0], end_ms=MONTH[1])
    odd_month = EntryFilter(start_ms=MONTH[0] + 1_234_567, end_ms=MONTH[1] + 7_654_321)
    return {
        "total of a month": SummaryQuery(entry_filter=month),
        "total of a month to the second": SummaryQuery(entry_filter=odd_month),
        "by agent and model of a month": SummaryQuery(
            entry_filter=month, group_by=("agent", "model")
        ),
        "by day of 90 days": SummaryQuery(group_by=("day",), order_by="time"),
        "by day of 90 days, Berlin": SummaryQuery(
            group_by=("day",), order_by="time", time_zone="Europe/Berlin"
        ),
        "by day of 90 days, Kolkata": SummaryQuery(
            group_by=("day",), order_by="time", time_zone="Asia/Kolkata"
        ),
        "by hour of a month": SummaryQuery(entry_filter=month, group_by=("hour",), order_by="time"),
        "by month and user of 90 days, New York": SummaryQuery(
            group_by=("month", "user"), time_zone="America/New_York"
        ),
        "by user of 90 days": SummaryQuery(group_by=("user",)),
        "by user and agent of a month": SummaryQuery(
            entry_filter=month, group_by=("user", "agent")
        ),
        "one user's, by agent and day of 90 days": SummaryQuery(
            entry_filter=EntryFilter(user_id="u50"), group_by=("agent", "day"), order_by="time"
        ),
    }


async def timed(
    ask: Callable[[], Awaitable[object]], repeats: int = REPEATS
) -> tuple[float, float]:
    """Returns the median time and CPU time of this process in milliseconds, after one more."""
    await ask()
    spent = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        await ask()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    return (
        statistics.median(wall for wall, _ in spent) * 1000,
        statistics.median(cpu for _, cpu in spent) * 1000,
    )


async def measure(runner: StatementRunner, count: int) -> None:
    """Prints what each question takes."""
    store = SqlReportStore(runner)
    for name, query in questions().items():
        wall, cpu = await timed(partial(store.summarize, ORGANIZATION, query, UP_TO_ALL, 101))
        start = query.entry_filter.start_ms or FIRST_MS
        end = query.entry_filter.end_ms or FIRST_MS + DAYS * DAY_MS
        one_by_one = SummaryPlan(
            detail="all",
            bucket=query.bucket,
            zone_offsets=offsets(query.time_zone, start, end),
            days=None,
            hours=(),
            entries=((start, end),),
            moves_hours=False,
            splits_hours=False,
        )
        statement = summary_statement(ORGANIZATION, query, one_by_one, UP_TO_ALL, 101, 0)
        naive, naive_cpu = await timed(partial(runner.run, statement), 1)
        sys.stdout.write(
            f"  {name:<40} {wall:9.1f} ms {cpu:9.1f} CPU-ms; entry by entry {naive:9.1f} ms "
            f"{naive_cpu:9.1f} CPU-ms: {naive / wall:7.1f} times\n"
        )
    run = EntryFilter(run_id=f"r{count // 2 // ENTRIES_OF_RUN}")
    lists = {
        "a page of all entries": EntryFilter(),
        "a page of one agent's entries": EntryFilter(agent_id="a7"),
        "the same, of a month": EntryFilter(agent_id="a7", start_ms=MONTH[0], end_ms=MONTH[1]),
        "a page of one user's entries": EntryFilter(user_id="u99"),
        "a page of one run's entries": run,
    }
    for name, entry_filter in lists.items():
        wall, cpu = await timed(
            partial(store.entries, ORGANIZATION, entry_filter, 100, up_to_position=UP_TO_ALL)
        )
        sys.stdout.write(f"  {name:<40} {wall:9.1f} ms {cpu:9.1f} CPU-ms\n")
    wall, cpu = await timed(lambda: store.run_cost(ORGANIZATION, run.run_id, 0, 10_000))
    sys.stdout.write(f"  {'what a run cost':<40} {wall:9.1f} ms {cpu:9.1f} CPU-ms\n")


async def main(count: int, kind: str) -> None:
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        started = time.perf_counter()
        if kind == "sqlite":
            path = Path(folder) / "ledger.sqlite3"
            _write_sqlite(path, count)
            _say_size(path, count, started)
            database = SqliteDatabase(path)
            await measure(SqliteStatementRunner(database), count)
            await database.close()
            return
        server = PostgresServer(Path(folder))
        try:
            await _write_postgres(server.url(), count)
            sys.stdout.write(f"{count:,} entries in {time.perf_counter() - started:.0f} s\n")
            postgres = PostgresDatabase(server.url())
            await measure(PostgresStatementRunner(postgres), count)
            await postgres.close()
        finally:
            server.stop()


def _say_size(path: Path, count: int, started: float) -> None:
    connection = sqlite3.connect(path)
    spans = connection.execute(
        "SELECT detail, span_hours, COUNT(*) FROM usage_rollups GROUP BY 1, 2"
    ).fetchall()
    connection.close()
    rolled_up = ", ".join(f"{rows:,} of {detail} by {span} h" for detail, span, rows in spans)
    sys.stdout.write(
        f"{count:,} entries, roll-ups: {rolled_up}; "
        f"{path.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - started:.0f} s\n"
    )


if __name__ == "__main__":
    uvloop.run(
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 100_000,
            sys.argv[2] if len(sys.argv) > 2 else "sqlite",
        )
    )
