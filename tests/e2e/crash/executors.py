"""Executors as processes that die and are started again, and what a client sees of their runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from agent_executor.api.executor.v1 import (
    agent_service_pb2_grpc,
    conversation_service_pb2_grpc,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.cli.ports import free_port
from tests.e2e.crash.peers import Organization, Peers
from tests.integration.executor.stream_history import History
from tests.platforms import command_environment

TIMEOUT_SECONDS = 60.0
# A client that looks for an executor again as soon as it may be back.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 50),
    ("grpc.use_local_subchannel_pool", 1),
)


class Executor:
    """One executor: a name, a port, and one process at a time.

    Attributes:
        deaths: When its processes died, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, peers: Peers, environment: dict[str, str], number: int) -> None:
        self.port = free_port()
        self.deaths: list[float] = []
        self._peers = peers
        self._environment = {
            **environment,
            "EXECUTOR_GRPC_PORT": str(self.port),
            "EXECUTOR_WORKER": f"executor-{number}",
        }
        self._process: int | None = None
        self._pid = 0
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", CHANNEL_OPTIONS)
        self.runs: Any = run_service_pb2_grpc.RunServiceStub(self.channel)
        self.agents: Any = agent_service_pb2_grpc.AgentServiceStub(self.channel)
        self.conversations: Any = conversation_service_pb2_grpc.ConversationServiceStub(
            self.channel
        )

    @property
    def is_alive(self) -> bool:
        """Whether its process has been started and has not been seen to die."""
        return self._process is not None

    @property
    def processor_seconds(self) -> float:
        """How much time of a processor its process has needed so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def start(self, crash_at: str = "", *, is_cold: bool = False) -> None:
        """Starts a process; it serves a little later.

        Args:
            crash_at: When it kills itself; see ``executor_process``.
            is_cold: It has to load its code first, as in production.
        """
        assert self._process is None
        environment = {**self._environment, "CRASH_AT": crash_at}
        start = self._peers.start_executor if is_cold else self._peers.fork_executor
        self._pid = await asyncio.to_thread(start, environment)
        self._process = os.pidfd_open(self._pid)

    def kill(self) -> None:
        """Kills the process as ``kill -9`` does, unless it has died by itself."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process."""
        assert self._process is not None
        signal.pidfd_send_signal(self._process, number)

    async def died(self) -> float:
        """Waits until the process is dead and returns when that was seen."""
        process, dead = self._process, asyncio.Event()
        assert process is not None
        loop = asyncio.get_running_loop()
        loop.add_reader(process, dead.set)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await dead.wait()
        finally:
            loop.remove_reader(process)
        self._process = None
        os.close(process)
        # One that was forked is its launcher's child.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)  # noqa: ASYNC222 -- it is dead
        self.deaths.append(time.time())
        return self.deaths[-1]

    async def close(self) -> None:
        """Ends it."""
        await self.channel.close()
        if self._process is not None:
            self.kill()
            await self.died()


@dataclass
class Fleet:
    """The executors on one journal, and an organization that uses them.

    Attributes:
        agent_id: An agent that uses all tools.
    """

    organization: Organization
    executors: list[Executor]
    agent_id: str = ""
    _names: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> Any:
        return self.organization.metadata

    def other(self, executor: Executor) -> Executor:
        """Returns an executor that is not this one, if there is one."""
        return next((one for one in self.executors if one is not executor), executor)

    async def create_agent(self, executor: Executor, **fields: Any) -> str:
        """Creates an agent that uses all tools and returns its id."""
        agent = await executor.agents.CreateAgent(
            self.organization.agent(**fields), metadata=self.metadata, wait_for_ready=True
        )
        agent_id: str = agent.id
        return agent_id

    async def start_run(self, executor: Executor, text: str, key: str = "", **fields: Any) -> str:
        """Starts a run in the background, under an idempotency key if there is one; returns its id."""
        request = run_service_pb2.StartRunRequest(
            **{"agent_id": self.agent_id, "input": text, **fields}
        )
        metadata = (*self.metadata, *((("idempotency-key", key),) if key else ()))
        run = await executor.runs.StartRun(
            request, metadata=metadata, wait_for_ready=True, timeout=TIMEOUT_SECONDS
        )
        run_id: str = run.id
        return run_id

    async def start_surely(self, text: str) -> str:
        """Starts one run, however often executors die meanwhile, and returns its id."""
        key = text.partition(" ")[0]
        while True:
            try:
                return await self.start_run(random.choice(self.executors), text, key)
            except grpc.aio.AioRpcError as error:
                expect_death(error)

    async def follow(self, run_id: str, history: History) -> None:
        """Reads a run's events to its end, at any executor; again at any, where the last one died."""
        while not history.is_complete:
            history.connections += 1
            request = run_service_pb2.StreamRunEventsRequest(
                run_id=run_id, after_sequence=history.last_sequence
            )
            stream = random.choice(self.executors).runs.StreamRunEvents(
                request, metadata=self.metadata, timeout=TIMEOUT_SECONDS
            )
            try:
                async for event in stream:
                    history.events.append(event)
            except grpc.aio.AioRpcError as error:
                expect_death(error)
                await asyncio.sleep(0.01)

    async def list_runs(self, executor: Executor) -> list[run_pb2.Run]:
        """Returns all runs."""
        request = run_service_pb2.ListRunsRequest(page_size=1000)
        answer = await executor.runs.ListRuns(
            request, metadata=self.metadata, wait_for_ready=True, timeout=TIMEOUT_SECONDS
        )
        assert not answer.next_page_token
        return list(answer.runs)

    async def get_run(self, executor: Executor, run_id: str) -> run_pb2.Run:
        """Returns a run."""
        request = run_service_pb2.GetRunRequest(run_id=run_id)
        run: run_pb2.Run = await executor.runs.GetRun(
            request, metadata=self.metadata, wait_for_ready=True, timeout=TIMEOUT_SECONDS
        )
        return run

    async def events(self, executor: Executor, run_id: str) -> list[run_event_pb2.RunEvent]:
        """Returns a run's events, read to its end from a fresh connection."""
        request = run_service_pb2.StreamRunEventsRequest(run_id=run_id)
        stream = executor.runs.StreamRunEvents(
            request, metadata=self.metadata, wait_for_ready=True, timeout=TIMEOUT_SECONDS
        )
        return [event async for event in stream]

    async def wait_for_event(
        self, executor: Executor, run_id: str, kind: str, count: int = 1
    ) -> None:
        """Waits until a run has so many events of a type."""
        request = run_service_pb2.StreamRunEventsRequest(run_id=run_id)
        stream = executor.runs.StreamRunEvents(
            request, metadata=self.metadata, wait_for_ready=True, timeout=TIMEOUT_SECONDS
        )
        async for event in stream:
            count -= event.type == kind
            if count == 0:
                stream.cancel()
                return
        raise AssertionError(f"run {run_id} ended without {kind}")


def expect_death(error: grpc.aio.AioRpcError) -> None:
    """Lets pass what a client is told whose executor died."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        raise error


@asynccontextmanager
async def running_fleet(
    peers: Peers, folder: Path, *, executors: int, **settings: str
) -> AsyncIterator[Fleet]:
    """Makes executors on one journal, none of which is started yet, for an organization of their own.

    Args:
        peers: What they live among.
        folder: For their journal.
        executors: How many.
        settings: Further variables, for example `EXECUTOR_DATABASE_URL`.
    """
    data_dir = folder / "data"
    data_dir.mkdir()
    (data_dir / "keys").symlink_to(peers.keys_dir)
    environment = command_environment(
        EXECUTOR_DATA_DIR=str(data_dir),
        EXECUTOR_TOOL_RUNNER_ADDRESS=f"127.0.0.1:{peers.tool_runner_port}",
        EXECUTOR_LEDGER_ADDRESS=f"127.0.0.1:{peers.ledger_port}",
        EXECUTOR_MODEL_PROVIDER="anthropic",
        EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]',
        EXECUTOR_LOG_LEVEL="error",
        ANTHROPIC_BASE_URL=peers.claude.url,
        ANTHROPIC_API_KEY="any",
        **settings,
    )
    channels = {
        "ledger": grpc.aio.insecure_channel(f"127.0.0.1:{peers.ledger_port}", CHANNEL_OPTIONS),
        "tool_runner": grpc.aio.insecure_channel(
            f"127.0.0.1:{peers.tool_runner_port}", CHANNEL_OPTIONS
        ),
    }
    organization = Organization(peers, channels)
    fleet = Fleet(organization, [Executor(peers, environment, 1 + n) for n in range(executors)])
    try:
        await organization.prepare()
        yield fleet
    finally:
        for executor in fleet.executors:
            await executor.close()
        for channel in channels.values():
            await channel.close()
