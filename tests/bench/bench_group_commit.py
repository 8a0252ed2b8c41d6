"""What a durable write costs, with shared commits and with one commit each.

Run by hand: ``python tests/bench/bench_group_commit.py [callers] [writes]``.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from agent_executor.storage.group_commit import MAX_BATCH_OPERATIONS
from agent_executor.storage.sqlite import SqliteDatabase


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO entries (body) VALUES ('0123456789abcdef')")


def do_nothing(_: sqlite3.Connection) -> None:
    """Leave only what submitting costs."""


async def measure(database: SqliteDatabase, callers: int, writes: int, *, empty: bool) -> float:
    """Print what ``writes`` operations of ``callers`` at once cost; return writes per second."""
    operation = do_nothing if empty else insert
    before = database.writer.statistics
    cpu_started, started = time.process_time(), time.perf_counter()

    async def call() -> None:
        for _ in range(writes // callers):
            await database.writer.submit(operation)

    await asyncio.gather(*(call() for _ in range(callers)))
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_started
    after = database.writer.statistics
    done = after.operations - before.operations
    sys.stdout.write(
        f"  {'empty' if empty else 'insert'}: {done / seconds:9,.0f} per second, "
        f"{cpu_seconds / done * 1e6:6.1f} CPU-us each, "
        f"{done / (after.batches - before.batches):5.1f} per commit\n"
    )
    return done / seconds


async def main(callers: int, writes: int) -> None:
    rates = {}
    for name, max_batch in (("one commit each", 1), ("group commit", MAX_BATCH_OPERATIONS)):
        with tempfile.TemporaryDirectory() as folder:
            database = SqliteDatabase(Path(folder) / "bench.sqlite3", max_batch=max_batch)
            await database.writer.submit(
                lambda connection: connection.execute(
                    "CREATE TABLE entries (id INTEGER PRIMARY KEY, body TEXT)"
                )
            )
            sys.stdout.write(f"{name}, {callers} callers\n")
            await measure(database, callers, writes, empty=True)
            rates[name] = await measure(database, callers, writes, empty=False)
            await database.close()
    ratio = rates["group commit"] / rates["one commit each"]
    sys.stdout.write(f"group commit is {ratio:.1f} times as fast\n")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    uvloop.run(main(*(arguments + [64, 20_000][len(arguments) :])))
