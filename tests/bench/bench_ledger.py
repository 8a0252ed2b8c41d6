"""What accounting costs: model calls and entries through gRPC, against commits without the ledger.

Run by hand: ``python -m tests.bench.bench_ledger [--calls N] [--rows N] [--postgres]``. The ledger
is a process of its own; the processor time of both ends is that of their processes. A model call
asks the ledger to reserve its worst case and to settle what it used, against a budget of the
organization, one of the agent and one of the day. What is bare inserts rows like entries and nothing
else, without a service.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import grpc
import uvloop

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import (
    budget_service_pb2,
    budget_service_pb2_grpc,
    usage_pb2,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from agent_executor.serving.grants import GRANT_METADATA_KEY, SERVICE_KEY_BYTES, ServiceKey
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS
from tests import postgres

MODEL = "claude-sonnet-4-20250514"
IN_FLIGHT = (64, 256)
ROWS_PER_BATCH = 10_000
TIMEOUT_SECONDS = 60.0
LARGE = (
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
IDS = itertools.count(1)
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Ledger(NamedTuple):
    """A running ledger and the ways to it."""

    process_id: int
    channel: grpc.aio.Channel
    stream: MultiplexedStream
    grant: grant_pb2.SignedGrant

    @property
    def metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Returns the grant as a unary call carries it."""
        return ((GRANT_METADATA_KEY, self.grant.SerializeToString()),)

    def cpu_seconds(self) -> float:
        """Returns the processor time that the ledger's process has taken."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


class Rate(NamedTuple):
    """How fast something went, and what it took of both processes."""

    per_second: float
    ledger_us: float
    client_us: float

    def __str__(self) -> str:
        return (
            f"{self.per_second:9,.0f} per second, CPU-us each: {self.ledger_us:6.1f} ledger"
            f" + {self.client_us:6.1f} client = {self.ledger_us + self.client_us:6.1f}"
        )


@asynccontextmanager
async def running_ledger(folder: Path, database_url: str) -> AsyncIterator[Ledger]:
    """Runs the ledger until the end of the block."""
    (folder / "keys").mkdir()
    secret = b"k" * SERVICE_KEY_BYTES
    key_file = folder / "keys" / "service.key"
    key_file.write_bytes(secret)
    key_file.chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "LEDGER_DATA_DIR": str(folder),
        "LEDGER_GRPC_PORT": str(port),
        "LEDGER_DATABASE_URL": database_url,
        "LEDGER_DRAIN_SECONDS": "0",
        "LEDGER_LOG_LEVEL": "error",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 -- nothing runs beside it yet
        [sys.executable, "-m", "agent_executor.ledger"],
        env={**os.environ, **settings},  # noqa: TID251 -- a benchmark has no settings of its own
    )
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=(*CHANNEL_OPTIONS[:-2], *LARGE)
        ) as channel:
            await channel.channel_ready()
            stub = usage_service_pb2_grpc.UsageServiceStub(channel)
            stream = MultiplexedStream(
                stub.StreamUsage, usage_service_pb2.StreamUsageRequest, name="ledger"
            )
            grant = ServiceKey(secret).sign_grant(
                grant_pb2.Grant(
                    audience="ledger",
                    security_context=grant_pb2.SecurityContext(
                        organization_id="acme", user_id="ada", permissions=["ledger:*"]
                    ),
                    expires_at_unix_ms=int((time.time() + 3600) * 1000),
                )
            )
            yield Ledger(process.pid, channel, stream, grant)
            await stream.close()
    finally:
        process.terminate()
        process.wait()


async def put_budgets(ledger: Ledger) -> None:
    """Makes the budgets that every call is held against."""
    stub = budget_service_pb2_grpc.BudgetServiceStub(ledger.channel)
    put = budget_service_pb2.PutBudgetRequest
    for request in (
        put(budget_id="organization", limit_usd=9_000_000),
        put(budget_id="agent", limit_usd=9_000_000, agent_id="agent-1"),
        put(budget_id="day", limit_usd=9_000_000, window="day"),
    ):
        await stub.PutBudget(request, metadata=ledger.metadata)


async def pair(ledger: Ledger) -> None:
    """Reserves and settles one model call."""
    number = next(IDS)
    call_id, run_id = f"call-{number:012d}", f"run-{number // 10:010d}"
    await ledger.stream.call(
        "reserve",
        usage_service_pb2.ReserveUsageRequest(
            reservation_id=call_id,
            agent_id="agent-1",
            run_id=run_id,
            model=MODEL,
            max_input_tokens=2_000,
            max_output_tokens=1_000,
            ttl_seconds=900,
        ),
        timeout_seconds=TIMEOUT_SECONDS,
        grant=ledger.grant,
    )
    await settle(ledger, call_id, run_id, reservation_id=call_id)


async def entry(ledger: Ledger) -> None:
    """Records one model call without a reservation."""
    number = next(IDS)
    await settle(ledger, f"call-{number:012d}", f"run-{number // 10:010d}")


async def settle(ledger: Ledger, call_id: str, run_id: str, reservation_id: str = "") -> None:
    """Settles one model call."""
    await ledger.stream.call(
        "settle",
        usage_service_pb2.SettleUsageRequest(
            entry_id=call_id,
            reservation_id=reservation_id,
            agent_id="agent-1",
            run_id=run_id,
            model=MODEL,
            usage=usage_pb2.TokenUsage(
                input_tokens=1_200, output_tokens=300, cache_read_input_tokens=500
            ),
        ),
        timeout_seconds=TIMEOUT_SECONDS,
        grant=ledger.grant,
    )


async def record(ledger: Ledger, rows: int) -> None:
    """Records rows in one batch."""
    stub = usage_service_pb2_grpc.UsageServiceStub(ledger.channel)
    request = usage_service_pb2.RecordUsageRequest(
        entries=[
            usage_service_pb2.UsageRecord(
                id=f"row-{next(IDS):012d}",
                agent_id="agent-1",
                run_id="import",
                model=MODEL,
                usage=usage_pb2.TokenUsage(input_tokens=1_200, output_tokens=300),
            )
            for _ in range(rows)
        ]
    )
    response = await stub.RecordUsage(request, metadata=ledger.metadata, timeout=300)
    assert response.recorded_count == rows


async def measure(
    ledger: Ledger, in_flight: int, count: int, work: Callable[[Ledger], Awaitable[None]]
) -> Rate:
    """Does some work so often, so many at once."""

    async def worker() -> None:
        for _ in range(count // in_flight):
            await work(ledger)

    await asyncio.gather(*(work(ledger) for _ in range(in_flight)))
    ledger_before, client_before = ledger.cpu_seconds(), time.process_time()
    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    seconds = time.perf_counter() - started
    done = count // in_flight * in_flight
    return Rate(
        done / seconds,
        (ledger.cpu_seconds() - ledger_before) / done * 1e6,
        (time.process_time() - client_before) / done * 1e6,
    )


def bare_sqlite(folder: Path, rows: int, rows_per_commit: int) -> float:
    """Returns how many rows like an entry SQLite itself commits durably in a second."""
    connection = sqlite3.connect(folder / f"bare-{rows_per_commit}.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    columns = ", ".join(f"c{number} INTEGER" for number in range(20))
    connection.execute(
        f"CREATE TABLE entries (sequence INTEGER PRIMARY KEY, id TEXT UNIQUE, run TEXT, {columns})"
    )
    connection.execute("CREATE INDEX by_run ON entries (run)")
    connection.execute("CREATE INDEX by_time ON entries (c0)")
    insert = f"INSERT INTO entries VALUES (NULL, ?, ?, {', '.join('?' * 20)})"
    started = time.perf_counter()
    for first in range(0, rows, rows_per_commit):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            insert,
            (
                (f"call-{number:012d}", f"run-{number // 10}", *range(number, number + 20))
                for number in range(first, first + rows_per_commit)
            ),
        )
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return rows / seconds


async def bare_postgres(database_url: str, rows: int, rows_per_commit: int) -> float:
    """Returns how many rows like an entry PostgreSQL itself commits durably in a second."""
    connection = await asyncpg.connect(database_url)
    columns = [f"c{number}" for number in range(20)]
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS bare (sequence bigserial PRIMARY KEY, id text UNIQUE, "
        f"run text, {', '.join(f'{column} bigint' for column in columns)})"
    )
    await connection.execute("CREATE INDEX IF NOT EXISTS bare_by_run ON bare (run)")
    await connection.execute("CREATE INDEX IF NOT EXISTS bare_by_time ON bare (c0)")
    arrays = ", ".join(f"${place}::bigint[]" for place in range(3, 23))
    insert = (
        f"INSERT INTO bare (id, run, {', '.join(columns)}) "
        f"SELECT * FROM unnest($1::text[], $2::text[], {arrays})"
    )
    started = time.perf_counter()
    for _ in range(rows // rows_per_commit):
        numbers = [next(IDS) for _ in range(rows_per_commit)]
        ids = [f"call-{number:012d}" for number in numbers]
        runs = [f"run-{number // 10}" for number in numbers]
        await connection.execute(insert, ids, runs, *[numbers] * 20)
    seconds = time.perf_counter() - started
    await connection.execute("DROP TABLE bare")
    await connection.close()
    return rows / seconds


def show(name: str, value: object) -> None:
    """Prints one line of the result."""
    sys.stdout.write(f"{name:44} {value}\n")
    sys.stdout.flush()


async def run(folder: Path, calls: int, rows: int, database_url: str) -> None:
    """Measures everything and prints it."""
    show("database", "PostgreSQL" if database_url else "SQLite")
    show("load of the machine before", " ".join(f"{one:.1f}" for one in os.getloadavg()))
    if database_url:
        one = await bare_postgres(database_url, 2_000, 1)
        many = await bare_postgres(database_url, 50_000, 100)
    else:
        one, many = bare_sqlite(folder, 2_000, 1), bare_sqlite(folder, 100_000, 100)
    show("bare, one row per commit", f"{one:9,.0f} rows per second")
    show("bare, 100 rows per commit", f"{many:9,.0f} rows per second")
    async with running_ledger(folder, database_url) as ledger:
        await put_budgets(ledger)
        await measure(ledger, 64, 640, pair)
        alone = await measure(ledger, 1, calls // 40, entry)
        show("entries, one after the other", alone)
        entries = await measure(ledger, 256, calls, entry)
        show("entries, 256 in flight", entries)
        for in_flight in IN_FLIGHT:
            pairs = await measure(ledger, in_flight, calls, pair)
            show(f"model calls, {in_flight} in flight", pairs)
        batched = await record_batches(ledger, max(1, rows // ROWS_PER_BATCH))
    for name, rate in (("entries, 256 in flight", entries.per_second), ("RecordUsage", batched)):
        show(
            name,
            f"{rate / alone.per_second:6.1f} x one after the other, "
            f"{rate / one:6.1f} x bare one per commit, {rate / many:5.2f} x bare 100 per commit",
        )


async def record_batches(ledger: Ledger, batches: int) -> float:
    """Records batches and returns the entries per second."""
    before, started = ledger.cpu_seconds(), time.perf_counter()
    for _ in range(batches):
        await record(ledger, ROWS_PER_BATCH)
    seconds, done = time.perf_counter() - started, batches * ROWS_PER_BATCH
    cpu_us = (ledger.cpu_seconds() - before) / done * 1e6
    show(
        f"RecordUsage, {ROWS_PER_BATCH:,} rows each",
        f"{done / seconds:9,.0f} per second, CPU-us each: {cpu_us:6.1f} ledger",
    )
    return done / seconds


def main() -> None:
    """Reads what to do, and does it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000, help="model calls per measurement")
    parser.add_argument("--rows", type=int, default=50_000, help="rows recorded in batches")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL, made to be durable")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        # Not below the other: the path of a socket has 107 characters at most.
        tempfile.TemporaryDirectory(prefix="postgres-") as postgres_folder,
    ):
        server = None
        if arguments.postgres:
            # As tests have it, nothing reaches the disk.
            durable = tuple(option for option in postgres.OPTIONS if option != "-F")
            setattr(postgres, "OPTIONS", durable)  # noqa: B010 -- a constant to type checkers
            server = postgres.PostgresServer(Path(postgres_folder))
        try:
            database_url = server.url() if server else ""
            uvloop.run(run(Path(folder), arguments.calls, arguments.rows, database_url))
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
