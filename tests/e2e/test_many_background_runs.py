"""Very many background runs, submitted at once by two organizations over REST.

Full size: 10,000 runs. Run with -s, it shows the memory of the executor and how the ends of the two
organizations' runs were spread over time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bench.load import Load, LoadResult, post
from tests.e2e.agents_and_runs import SUM, create_agent
from tests.platforms import RunningPlatform, running_platform, until

MANY, FEW = "many", "few"
CONNECTIONS = 32
# Of all runs, those of the organization that has fewer.
SHARE_OF_FEW = 0.3
# Of the ends up to any moment at which it still has runs.
LEAST_SHARE = 0.35
PARTS = 10
# Places for runs, so that most of them wait.
PLACES = 64
# The runs that are driven, the database's caches, requests under way, and what the allocator keeps.
GROWTH_BYTES_MAX = 96 * 2**20
WATCH_SECONDS = 0.05


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    with running_platform(EXECUTOR_MAX_ACTIVE_RUNS=str(PLACES)) as running:
        yield running


@dataclass
class Memory:
    """The memory of the executor: at first, and at most."""

    first_bytes: int
    most_bytes: int = 0

    @property
    def growth_bytes(self) -> int:
        """By how much it grew."""
        return self.most_bytes - self.first_bytes


@contextmanager
def watched_memory(pid: int) -> Iterator[Memory]:
    """Watches a process's memory for as long as the block lasts."""
    memory, is_over = Memory(resident_bytes(pid)), threading.Event()

    def watch() -> None:
        while not is_over.wait(WATCH_SECONDS):
            memory.most_bytes = max(memory.most_bytes, resident_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        is_over.set()
        watcher.join()


def resident_bytes(pid: int) -> int:
    """Returns how much memory a process holds at present."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process says how much memory it holds")


@dataclass
class Ends:
    """The runs that have ended, in their order: of which organization each is, and when."""

    journal_file: Path
    rows: list[tuple[str, int]] = field(default_factory=list)

    def count(self) -> int:
        """Reads them from the journal, and returns how many there are."""
        with closing(sqlite3.connect(f"file:{self.journal_file}?mode=ro", uri=True)) as journal:
            found = journal.execute(
                "SELECT organization_id, ended_at_ms FROM runs WHERE ended_at_ms > 0"
                " AND input = ? ORDER BY ended_at_ms",
                (SUM,),
            )
            self.rows = found.fetchall()
        return len(self.rows)

    def shares_of_few(self) -> list[float]:
        """Returns its share of the ends so far, after each part of the smaller organization's time."""
        last = max(index for index, (name, _) in enumerate(self.rows) if name == FEW)
        contested = self.rows[: last + 1]
        size = -(-len(contested) // PARTS)
        parts = [contested[: end + size] for end in range(0, len(contested), size)]
        return [sum(name == FEW for name, _ in part) / len(part) for part in parts]


def test_all_end_in_bounded_memory_and_nobody_starves(
    platform: RunningPlatform, full: bool
) -> None:
    count = 10_000 if full else 600
    few = int(count * SHARE_OF_FEW)
    counts = {MANY: count - few, FEW: few}
    requests = {name: start_request(platform, name) for name in counts}
    ends = Ends(platform.data_dir / "executor" / "journal.sqlite3")
    with watched_memory(platform.pids()["executor"]) as memory:
        started = time.monotonic()
        results = asyncio.run(submit(platform.http_port, requests, counts))
        submitted_seconds = time.monotonic() - started
        waiting = count - ends.count()
        until(lambda: ends.count() == count, timeout_seconds=600, what="the end of all runs")
        seconds = time.monotonic() - started
    assert [result.failures for result in results] == [0, 0]
    shares = ends.shares_of_few()
    print(  # noqa: T201 -- the measurement, shown with -s
        f"\n{count} runs: submitted in {submitted_seconds:.1f} s, when {waiting} had not ended; all"
        f" ended after {seconds:.1f} s; the executor's memory {memory.first_bytes / 2**20:.0f} MiB,"
        f" at most {memory.most_bytes / 2**20:.0f} MiB; share of the one that has fewer, so far:"
        f" {' '.join(f'{share:.2f}' for share in shares)}"
    )
    assert memory.growth_bytes < GROWTH_BYTES_MAX
    # The first part has runs that came before anybody had to wait.
    assert min(shares[1:]) >= LEAST_SHARE
    for name, expected in counts.items():
        assert states_of(ends.journal_file, name) == [("completed", expected)]


def start_request(platform: RunningPlatform, organization: str) -> bytes:
    """Returns the request that starts one run of an organization."""
    token = platform.token(organization)
    agent_id = create_agent(platform.client(token))
    return post(f"/api/v1/agents/{agent_id}/runs", token, b'{"input": "%s"}' % SUM.encode())


async def submit(port: int, requests: dict[str, bytes], counts: dict[str, int]) -> list[LoadResult]:
    """Sends all requests, of all organizations at the same time."""
    loads = [Load(requests[name], b'"last_sequence"', counts[name]) for name in counts]
    return list(await asyncio.gather(*(load.run(port, CONNECTIONS) for load in loads)))


def states_of(journal_file: Path, organization: str) -> list[tuple[str, int]]:
    """Returns how many runs of an organization are in each state."""
    with closing(sqlite3.connect(f"file:{journal_file}?mode=ro", uri=True)) as journal:
        found = journal.execute(
            "SELECT state, count(*) FROM runs WHERE organization_id = ? GROUP BY state",
            (organization,),
        )
        return found.fetchall()
