"""One run of 1,000 tool calls, one after the other: what a step costs at its start and at its end.

The engine, the log and its SQLite journal are real; the model, the tools and the ledger answer at
once, so that what is measured is what the platform adds to each step. Prints CPU-milliseconds of a
step in each tenth of the run, the ratio of the last to the first, bytes of log per step, how much
memory the run took, and the time in which its state is folded again, by an heir.

    python -m tests.bench.bench_long_run [--steps N] [--result-bytes N]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from agent_executor.executor.context.run_context import RunContext
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import RunStarted, encode_payload
from agent_executor.executor.models.model import (
    ModelRequest,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolUseBlock,
)
from agent_executor.executor.peers.ledger import Hold, Settlement
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from tests.unit.executor.peers import answer
from tests.unit.executor.worlds import ScriptedModel, World

PARTS: Final = 10


class SteppingModel(ScriptedModel):
    """A model that asks for one tool call after the other, and notes when."""

    def __init__(self, steps: int) -> None:
        super().__init__([])
        self.steps = steps
        self.asked_at: list[float] = []

    async def generate(self, request: ModelRequest, **more: Any) -> ModelResponse:
        del more
        number = len(self.asked_at)
        self.asked_at.append(time.process_time())
        usage = ModelUsage(10, 5)
        if number == self.steps:
            done = (TextBlock("Done."),)
            return ModelResponse("msg", request.model, done, "end_turn", usage)
        use = ToolUseBlock(f"toolu_{number}", "calculator", {"expression": f"{number} + 1"})
        return ModelResponse("msg", request.model, (use,), "tool_use", usage)


async def reserve(hold: Hold, security: SecurityContext) -> int:
    """Holds whatever is asked for, in no time; the tests' own ledger adds up all that is held."""
    del security
    return hold.max_output_tokens


async def settle(settlement: Settlement, security: SecurityContext) -> int:
    """Settles whatever was used, for nothing."""
    del settlement, security
    return 0


async def measure(steps: int, result_bytes: int, database: SqliteDatabase) -> None:
    """Runs and prints."""
    model = SteppingModel(steps)
    world = World(model, max_model_turns=steps + 1)
    world.tools.run = lambda request: answer('"' + "r" * result_bytes + '"')
    world.journal = SqliteJournal(database)  # type: ignore[assignment]  # another one of the same port
    world.ledger.reserve = reserve  # type: ignore[method-assign]  # see there
    world.ledger.settle = settle  # type: ignore[method-assign]  # see there
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    world.log = world.log_of(world.log.run, RunState())
    world.log.add(RunStarted("agent", 1, "model", "hello"))
    await world.engine.drive(world.log, world.agent)
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state = world.log.state
    assert state.state == "completed", state.finished
    assert len(state.tool_results) == steps

    size = steps // PARTS
    parts = [
        1000 * (model.asked_at[size * (part + 1)] - model.asked_at[size * part]) / size
        for part in range(PARTS)
    ]
    print(f"{steps} steps; CPU-ms per step by tenths: {' '.join(f'{part:.3f}' for part in parts)}")
    print(f"last tenth / first tenth: {parts[-1] / parts[0]:.2f}")
    events = await world.journal.events("run")
    log_bytes = sum(len(encode_payload(event.payload)) for event in events)
    print(f"log: {len(events) / steps:.1f} events and {log_bytes / steps:.0f} bytes per step")
    print(f"memory: {(after_kib - before_kib) / 1024:.1f} MiB more at its peak")
    started = time.process_time()
    again, _ = await folded(world.journal, "run")
    assert again == state
    print(f"read and folded again in {1000 * (time.process_time() - started):.0f} CPU-ms")
    half = fold(events[: len(events) // 2])
    started = time.process_time()
    fold(events[len(events) // 2 :], half)
    second = time.process_time() - started
    started = time.process_time()
    fold(events[: len(events) // 2])
    print(f"fold, second half / first half: {second / (time.process_time() - started):.2f}")
    started = time.process_time()
    RunContext().update(state.messages, None)
    print(f"an heir measures its messages in {1000 * (time.process_time() - started):.1f} CPU-ms")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--result-bytes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agent-executor-bench-") as folder:
        path = Path(folder) / "journal.sqlite3"
        upgrade(path, MIGRATIONS)

        async def run() -> None:
            database = SqliteDatabase(path)
            try:
                await measure(options.steps, options.result_bytes, database)
            finally:
                await database.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
