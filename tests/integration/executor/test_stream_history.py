"""Many clients that disconnect and resume at random, at two executors that lose their runs.

Both executors share one SQLite file, or one PostgreSQL. Whatever a client has seen over all of its
connections, at either of them, must be the run's log: no gap, no repeat, in order, to its end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.api.executor.v1 import (
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.executor.agents.store_memory import MemoryAgentStore
from agent_executor.executor.convert import event_to_proto
from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    TextBlock,
    ToolUseBlock,
)
from agent_executor.executor.runs.run_servicer import RunServicer
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.interceptors import PipelineInterceptor
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.pipeline import CallPipeline
from agent_executor.serving.settings import LOCAL_ISSUER
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from tests.integration.executor.stream_history import History, faults_of, update_faults_of
from tests.postgres import PostgresServer
from tests.unit.executor.platforms import CALCULATOR, Platform
from tests.unit.serving.tokens import FixedKeySet, Issuer

FOREVER_MS = 2**52
ISSUER = Issuer()


@dataclass(frozen=True)
class Size:
    """How large the test is."""

    runs: int
    turns: int
    followers_per_run: int
    losses: int


CI = Size(runs=6, turns=6, followers_per_run=6, losses=4)
FULL = Size(runs=60, turns=20, followers_per_run=25, losses=40)


class SlowWriter:
    """A model that writes a text in pieces over some time, and asks for tools in most turns."""

    name = "slow-writer"

    def __init__(self, chance: random.Random, turns: int) -> None:
        self._chance = chance
        self._turns = turns

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        del access
        turn = sum(message.role == "assistant" for message in request.messages)
        pieces = [f"{turn}.{piece} é\n" for piece in range(self._chance.randint(0, 8))]
        for piece in pieces:
            await asyncio.sleep(self._chance.random() * 0.01)
            if on_delta is not None:
                on_delta(ModelDelta("text", 0, piece))
        content: list[ResponseBlock] = [TextBlock("".join(pieces))] if pieces else []
        if turn < self._turns:
            content += [
                ToolUseBlock(f"toolu_{turn}_{index}", "calculator", {"index": index})
                for index in range(self._chance.randint(1, 3))
            ]
        reason: Any = "tool_use" if turn < self._turns else "end_turn"
        return ModelResponse("msg", request.model, tuple(content), reason, ModelUsage(5, 5))


class Executor:
    """One executor: its use cases, served over gRPC."""

    def __init__(self, platform: Platform, worker: str) -> None:
        self.platform = platform
        self.worker = worker
        self.port = 0

    async def serve(self, stack: AsyncExitStack) -> run_service_pb2_grpc.RunServiceAsyncStub:
        """Begins to serve and returns a stub for it."""
        pipeline = CallPipeline(
            service_name="executor",
            token_verifier=TokenVerifier({LOCAL_ISSUER: FixedKeySet(ISSUER)}, clock_skew_seconds=0),
            service_key=ServiceKey(bytes(range(32))),
            metrics=Metrics(CollectorRegistry()),
            tracer=NoOpTracer(),
        )
        server = grpc.aio.server(interceptors=[PipelineInterceptor(pipeline)])
        servicer = RunServicer(self.platform.runs, self.platform.decisions, self.platform.webhooks)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(servicer, server)
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 0)
        stack.push_async_callback(self.platform.runs.drain, 5.0)
        await self.renew()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        stack.push_async_callback(channel.close)
        return run_service_pb2_grpc.RunServiceStub(channel)

    async def renew(self) -> None:
        """Says that it lives."""
        await self.platform.journal.renew_lease(self.platform.owner, FOREVER_MS)

    async def lose_runs_to(self, heir: Executor, *, notices: bool) -> None:
        """Loses all its runs, as if it had died, or as if it had only been too slow to say it lives."""
        await self.platform.journal.release_leases(self.worker)
        if notices:
            for driving in list(self.platform.drivers._driving):
                driving.cancel()
        await heir.platform.runs.take_over()
        await self.renew()


Connect = Callable[[], Journal]


@pytest.fixture(params=["sqlite", "postgres"])
async def connect(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connect]:
    """Yields what opens one more connection to the same journal."""
    opened: list[Journal] = []

    def keep(journal: Journal) -> Journal:
        opened.append(journal)
        return journal

    if request.param == "sqlite":
        path = tmp_path / "journal.sqlite3"
        upgrade(path, MIGRATIONS)
        yield lambda: keep(SqliteJournal(SqliteDatabase(path)))
        for journal in opened:
            await journal.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database(MIGRATIONS)
    yield lambda: keep(PostgresJournal(PostgresDatabase(server.url(name))))
    for journal in opened:
        await journal.close()
    await server.drop_database(name)


def metadata() -> tuple[tuple[str, str], ...]:
    return (("authorization", ISSUER.bearer(org="acme", permissions=["*"])),)


async def follow(stubs: list[Any], history: History, run_id: str, chance: random.Random) -> None:
    """Reads a run's events to the end, over connections that break at random places."""
    while not history.is_complete:
        history.connections += 1
        request = run_service_pb2.StreamRunEventsRequest(
            run_id=run_id, after_sequence=history.last_sequence
        )
        call = chance.choice(stubs).StreamRunEvents(request, metadata=metadata())
        left = chance.choice([1, 2, 5, 10_000])
        async for event in call:
            history.events.append(event)
            left -= 1
            if left == 0:
                call.cancel()
                break


async def start_and_follow(
    stubs: list[Any], agent_id: str, chance: random.Random
) -> tuple[list[run_service_pb2.RunUpdate], History]:
    """Streams a new run, leaves at a random place, and follows its events from there."""
    request = run_service_pb2.StreamAgentRequest(agent_id=agent_id, input="go")
    call = chance.choice(stubs).StreamAgent(request, metadata=metadata())
    updates: list[run_service_pb2.RunUpdate] = []
    left = chance.choice([1, 3, 10, 30, 10_000])
    async for update in call:
        updates.append(update)
        left -= 1
        if left == 0:
            call.cancel()
            break
    history = History(started_at=updates[-1].sequence)
    if updates[-1].type != "done":
        await follow(stubs, history, updates[-1].run_id, chance)
    return updates, history


async def logged(journal: Journal, run_id: str) -> list[run_event_pb2.RunEvent]:
    return [event_to_proto(run_id, event) for event in await journal.events(run_id)]


@pytest.mark.timeout(900)
async def test_what_clients_see_is_the_log(connect: Connect, full: bool) -> None:
    size = FULL if full else CI
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    store = MemoryAgentStore()
    async with AsyncExitStack() as stack:
        executors = [
            Executor(
                # It takes any journal.
                Platform(
                    journal=cast("Any", connect()), store=store, worker=name, max_active_runs=500
                ),
                name,
            )
            for name in ("one", "two")
        ]
        for executor in executors:
            writer = SlowWriter(chance, size.turns)
            executor.platform.drivers._engine._model_turn._default_provider = writer
        stubs = [await executor.serve(stack) for executor in executors]
        agent_id = await executors[0].platform.agent(tools=CALCULATOR, max_model_turns=100)
        streams = [
            asyncio.create_task(start_and_follow(stubs, agent_id, chance)) for _ in range(size.runs)
        ]
        started = [
            await chance.choice(stubs).StartRun(
                run_service_pb2.StartRunRequest(agent_id=agent_id, input="go"), metadata=metadata()
            )
            for _ in range(size.runs)
        ]
        histories = [(run.id, History()) for run in started for _ in range(size.followers_per_run)]
        followers = [
            asyncio.create_task(follow(stubs, history, run_id, chance))
            for run_id, history in histories
        ]
        for loss in range(size.losses):
            await asyncio.sleep(chance.random() * 0.2)
            loser = chance.randrange(2)
            await executors[loser].lose_runs_to(executors[1 - loser], notices=loss % 2 == 0)
        await asyncio.gather(*followers)
        streamed = await asyncio.gather(*streams)
        journal = executors[0].platform.journal
        logs = {run.id: await logged(journal, run.id) for run in started}
        for run_id, history in histories:
            assert faults_of(history, logs[run_id]) == [], f"seed {seed}"
        for updates, history in streamed:
            log = await logged(journal, updates[0].run_id)
            assert update_faults_of(updates, log) == [], f"seed {seed}"
            if updates[-1].type != "done":
                assert faults_of(history, log) == [], f"seed {seed}"
        # The test was one: runs changed hands, and clients came again.
        resumed = [event for log in logs.values() for event in log if event.type == "run_resumed"]
        assert resumed, f"seed {seed}"
        assert sum(history.connections for _, history in histories) > 2 * len(histories)


def events(*sequences: int, ends: bool = True) -> list[run_event_pb2.RunEvent]:
    """Returns events of these sequences, of which the last one may be the end."""
    made = [run_event_pb2.RunEvent(run_id="r", sequence=each, type="x") for each in sequences]
    if ends:
        made[-1].run_finished.state = "completed"
    return made


def test_the_checker_finds_each_fault() -> None:
    log = events(1, 2, 3, 4)
    assert faults_of(History(events=list(log)), log) == []
    assert faults_of(History(started_at=2, events=log[2:]), log) == []
    for wrong in (
        [log[0], log[2], log[3]],
        [log[0], log[1], log[1], log[2], log[3]],
        [log[0], log[2], log[1], log[3]],
        log[:3],
        [log[0], run_event_pb2.RunEvent(run_id="r", sequence=2, type="y"), *log[2:]],
        [*log, *events(5)],
        [],
    ):
        assert faults_of(History(events=wrong), log), wrong


def test_the_checker_finds_faults_of_updates() -> None:
    log = [
        run_event_pb2.RunEvent(sequence=1, type="run_started"),
        run_event_pb2.RunEvent(
            sequence=2,
            type="model_call_completed",
            model_call_completed=run_event_pb2.ModelCallCompleted(
                model_call_id="call", content=[run_pb2.ContentBlock(type="text", text="hello")]
            ),
        ),
        run_event_pb2.RunEvent(sequence=3, type="model_call_settled"),
        run_event_pb2.RunEvent(sequence=4, type="run_finished"),
    ]

    def update(name: str, sequence: int, text: str = "") -> run_service_pb2.RunUpdate:
        made = run_service_pb2.RunUpdate(type=name, sequence=sequence)
        if text:
            made.text_delta.model_call_id, made.text_delta.text = "call", text
        return made

    started, usage, done = update("run_started", 1), update("usage", 3), update("done", 4)
    hel, lo = update("text_delta", 1, "hel"), update("text_delta", 1, "lo")
    for right in ([started, hel], [started, hel, lo, usage], [started, hel, lo, usage, done]):
        assert update_faults_of(right, log) == []
    for wrong in (
        [started, hel, usage, done],
        [started, hel, lo, lo, usage],
        [started, lo, hel],
        [hel, lo, usage],
        [started, hel, lo, usage, usage],
        [started, hel, lo, done],
        [started, usage, hel, lo],
        [started, hel, lo, usage, update("done", 5)],
    ):
        assert update_faults_of(wrong, log), wrong
