"""What the durable log costs: runs of several shapes with the journal on, and with it off.

The engine is real; the model, the tools and the ledger answer at once. With the journal on, each run
is written to SQLite, every commit durable; with it off, to a journal that keeps nothing. Both are
measured in turns in one process, so that they meet the same load. Prints, for each shape of a run,
CPU-milliseconds per run on and off, their ratio, commits of the database per run, and bytes of log
per step, a step being a model call or a tool call: those of the events, and those on the disk.

    python -m tests.bench.bench_journal [--seconds N] [--concurrent N]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import msgspec
import uvloop

from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import RunStarted, encode_payload
from agent_executor.executor.models.model import (
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    StopReason,
    TextBlock,
    ToolUseBlock,
)
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.serving.process import COLLECTED_AFTER_OBJECTS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from tests.bench.bench_long_run import reserve, settle
from tests.unit.executor.peers import answer
from tests.unit.executor.worlds import ScriptedModel, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_executor.executor.journal.journal import RunRecord

ROUNDS: Final = 4
RESULT: Final = '"' + "r" * 200 + '"'


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of run: so many turns with so many tool calls each, and one that ends it."""

    name: str
    turns: int
    calls: int

    @property
    def steps(self) -> int:
        """Its model calls and its tool calls."""
        return self.turns + 1 + self.turns * self.calls


SHAPES: Final = (
    Shape("no tool", 0, 0),
    Shape("one tool", 1, 1),
    Shape("ten parallel tools", 1, 10),
    Shape("100 sequential tools", 100, 1),
)


class ShapedModel(ScriptedModel):
    """A model whose answers depend on nothing but how often a run has asked before."""

    def __init__(self, shape: Shape) -> None:
        super().__init__([])
        self.shape = shape

    async def generate(self, request: ModelRequest, **more: Any) -> ModelResponse:
        del more
        turn = len(request.messages) // 2
        is_last = turn == self.shape.turns
        content: tuple[ResponseBlock, ...] = (TextBlock("Done."),)
        if not is_last:
            content = tuple(
                ToolUseBlock(f"toolu_{turn}_{number}", "calculator", {"expression": f"{turn} + 1"})
                for number in range(self.shape.calls)
            )
        stop_reason: StopReason = "end_turn" if is_last else "tool_use"
        return ModelResponse("msg", request.model, content, stop_reason, ModelUsage(10, 5))


class ForgetfulJournal(MemoryJournal):
    """A journal that is off: it knows the runs that are under way, and keeps no event."""

    async def create(self, run: RunRecord, *more: Any, **others: Any) -> str:
        """Keeps no event."""
        del more, others
        self._runs[run.run_id] = run
        return run.run_id

    async def append(self, run: RunRecord, *more: Any, **others: Any) -> None:
        """Keeps no event, and nothing of a run that has ended."""
        del more, others
        if run.ended_at_ms:
            del self._runs[run.run_id]


class Runner:
    """Makes runs of one shape, with one journal."""

    def __init__(self, shape: Shape, journal: SqliteJournal | ForgetfulJournal) -> None:
        self._world = World(ShapedModel(shape), max_model_turns=shape.turns + 1)
        self._world.journal = journal  # type: ignore[assignment]  # another one of the same port
        self._world.tools.run = lambda request: answer(RESULT)
        self._world.ledger.reserve = reserve  # type: ignore[method-assign]  # see there
        self._world.ledger.settle = settle  # type: ignore[method-assign]  # see there
        self.runs = 0
        self.last_run_id = ""

    async def drive(self, seconds: float, concurrent: int) -> float:
        """Drives runs for so long, so many at once, and returns CPU-milliseconds per run."""
        ends_at, runs_before, began = time.monotonic() + seconds, self.runs, time.process_time()

        async def one_after_the_other() -> None:
            while time.monotonic() < ends_at:
                await self._drive_one()

        await asyncio.gather(*(one_after_the_other() for _ in range(concurrent)))
        return 1000 * (time.process_time() - began) / (self.runs - runs_before)

    async def _drive_one(self) -> None:
        world = self._world
        run = msgspec.structs.replace(world.log.run, run_id=new_id())
        log = world.log_of(run, RunState())
        log.add(RunStarted("agent", 1, "model", "hello"))
        await world.engine.drive(log, world.agent)
        assert log.state.state == "completed", log.state.finished
        # What it was asked is remembered for tests, which make few calls.
        world.tools.requests.clear()
        world.tools.asked_versions.clear()
        self.runs += 1
        self.last_run_id = run.run_id


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[SqliteDatabase]:
    """Yields a new database of the executor."""
    path = folder / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
    opened = SqliteDatabase(path)
    try:
        yield opened
    finally:
        await opened.close()


def size_of(folder: Path) -> int:
    """Returns how many bytes the files of a folder have."""
    return sum(file.stat().st_size for file in folder.iterdir())


async def measure(shape: Shape, folder: Path, seconds: float, concurrent: int) -> None:
    """Measures one shape in turns, and prints a row."""
    async with database(folder) as opened:
        journal = SqliteJournal(opened)
        on, off = Runner(shape, journal), Runner(shape, ForgetfulJournal())
        for runner in (on, off):
            await runner.drive(seconds / ROUNDS / 2, concurrent)
        runs_before, commits_before = on.runs, opened.writer.statistics.batches
        costs: dict[Runner, list[float]] = {on: [], off: []}
        for _ in range(ROUNDS):
            for runner, found in costs.items():
                found.append(await runner.drive(seconds / ROUNDS / 2, concurrent))
        commits = (opened.writer.statistics.batches - commits_before) / (on.runs - runs_before)
        events = await journal.events(on.last_run_id)
    # The last connection that closes has emptied the log that goes before the file.
    stored_bytes = size_of(folder)
    on_ms, off_ms = median(costs[on]), median(costs[off])
    log_bytes = sum(len(encode_payload(event.payload)) for event in events)
    print(
        f"{shape.name:>20}: {on_ms:7.3f} CPU-ms per run on, {off_ms:7.3f} off, on/off"
        f" {on_ms / off_ms:.2f}; {commits:5.2f} commits per run; {len(events)} events; per step"
        f" {log_bytes / shape.steps:.0f} bytes of log,"
        f" {stored_bytes / on.runs / shape.steps:.0f} on the disk"
    )


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="per shape")
    parser.add_argument("--concurrent", type=int, default=64, help="runs at once")
    options = parser.parse_args()
    # As a service does.
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER_OBJECTS)
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for shape in SHAPES:
        with tempfile.TemporaryDirectory(prefix="agent-executor-bench-") as folder:
            uvloop.run(measure(shape, Path(folder), options.seconds, options.concurrent))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
