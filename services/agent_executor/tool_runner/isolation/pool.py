"""The pool of workers that run custom tools: the tool-runner's side of the sandbox.

    tool-runner --- starts --> launcher --- forks --> worker: restricts itself, warms up, waits
        |                                                |
        +----- one call, frames over its own socket -----+--> dies

The tool-runner holds the secrets, the network and the audit log; a launcher holds nothing, and a
worker nothing but its one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from dataclasses import dataclass
from typing import Final

from agent_executor.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    OutcomeUnknownError,
    SandboxUnavailableError,
    ToolExecutionError,
)
from agent_executor.tool_runner.arguments import DEFAULT_ARGUMENTS_BYTES_MAX
from agent_executor.tool_runner.isolation import frames
from agent_executor.tool_runner.isolation.conversation import Broker, Conversation
from agent_executor.tool_runner.isolation.launcher_keeper import LauncherKeeper
from agent_executor.tool_runner.isolation.launcher_process import LauncherProcess
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.pool_metrics import PoolMetrics
from agent_executor.tool_runner.isolation.program import description_of
from agent_executor.tool_runner.isolation.status import SandboxStatus, WantedTier
from agent_executor.tool_runner.isolation.untrusted_json import ENCODER, JsonError, parse
from agent_executor.tool_runner.isolation.worker_handle import WorkerHandle
from agent_executor.tool_runner.isolation.worker_queue import QUEUED_CALLS, WorkerQueue
from agent_executor.tool_runner.tool_program import ToolDescription, ToolProgram

# Why a worker died that had no call.
_DIED_IDLE: Final = "idle"
_NOT_STARTED: Final = SandboxStatus(available=False, tier="none")


class WorkerPool:
    """Runs custom tools in the sandbox, each call in a process of its own.

    It belongs to the event loop, and the thread, in which it is started.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        *,
        tier: WantedTier = "best",
        metrics: PoolMetrics | None = None,
    ) -> None:
        """See the class.

        Args:
            limits: Default: ``SandboxLimits()``.
            tier: ``best`` is ``namespaces`` where the host has them, and ``landlock`` elsewhere.
            metrics: Counts workers and calls.
        """
        self._metrics = metrics or PoolMetrics()
        self._limits = limits or SandboxLimits()
        self._tier: WantedTier = tier
        self._queue = WorkerQueue(self._limits, refill=self._refill)
        self._keepers: tuple[LauncherKeeper, ...] = ()

    async def start(self) -> None:
        """Starts a launcher, tests it, and begins with the others.

        It does not raise for a host that is unfit: ``status`` says so.
        """
        self._keepers = tuple(
            LauncherKeeper(
                self._limits,
                self._tier,
                self._spawn,
                on_verdict=self._on_verdict,
                on_replaced=self._on_replaced,
            )
            for _ in range(self._limits.launchers)
        )
        first, *others = self._keepers
        await first.start()
        if first.verdict.available:
            # One is enough to serve; the others would only take its time.
            for keeper in others:
                keeper.begin()

    async def close(self) -> None:
        """Ends every process; calls that run or wait fail."""
        keepers, self._keepers = self._keepers, ()
        self._queue.refuse_all(_NOT_STARTED.as_error)
        await asyncio.gather(*(keeper.close() for keeper in keepers))

    @property
    def status(self) -> SandboxStatus:
        """The sandbox now, as it was found at the last test."""
        return dataclasses.replace(
            self._verdict(), idle_workers=self._queue.idle, busy_workers=self._queue.busy
        )

    @property
    def worker_counts(self) -> dict[str, int]:
        """How many workers are ``starting``, ``idle`` and ``busy``."""
        starting = sum(launcher.starting for launcher in self._launchers())
        return {"starting": starting, "idle": self._queue.idle, "busy": self._queue.busy}

    @property
    def waiting_count(self) -> int:
        """How many calls wait for a worker."""
        return self._queue.waiting

    @property
    def launcher_pids(self) -> tuple[int, ...]:
        """The processes of the launchers that are in use."""
        return tuple(launcher.pid for launcher in self._launchers())

    async def check(self) -> SandboxStatus:
        """Attacks workers of every launcher again, and returns what came of it."""
        await asyncio.gather(*(keeper.check() for keeper in self._keepers))
        return self.status

    async def call(
        self,
        program: ToolProgram,
        arguments_json: str,
        *,
        timeout_seconds: float,
        broker: Broker | None = None,
    ) -> str:
        """Runs a tool and returns its result as JSON text.

        Args:
            program: The tool.
            arguments_json: A JSON object.
            timeout_seconds: For everything, the wait for a worker included.
            broker: Serves the tool's HTTP requests: takes the keyword arguments of
                ``ToolHttp.request``, each of its type, and returns its result. An
                ``AgentExecutorError`` that it raises reaches the tool.

        Raises:
            SandboxUnavailableError: The host cannot isolate the tool.
            DeadlineExceededError: It did not end in time.
            LimitExceededError: It came to a limit, or too many calls wait; the limit's name is in
                the metadata as ``limit``.
            OutcomeUnknownError: It was stopped from outside while it ran.
            ToolExecutionError: It failed.
            AgentExecutorError: It failed, in the words of an error that it raised.
        """
        payload = await self._converse(
            _Request(frames.CALL, program, arguments_json, broker),
            _Answer(frames.RESULT, self._limits.output_bytes),
            timeout_seconds,
        )
        try:
            # What goes on from here is our own encoder's text, whatever the worker's was.
            return ENCODER.encode(parse(payload))
        except JsonError as error:
            raise ToolExecutionError(
                f"The tool's result cannot be accepted: it {error}.", tool_name=program.tool_name
            ) from None

    async def inspect(self, program: ToolProgram, *, timeout_seconds: float) -> ToolDescription:
        """Loads a tool without running it, and returns what it says of itself.

        Raises:
            InvalidArgumentError: The source is broken; the message says why, and in which line.
            AgentExecutorError: As ``call``.
        """
        try:
            payload = await self._converse(
                _Request(frames.INSPECT, program, "{}", None),
                _Answer(frames.DESCRIPTION, frames.MESSAGE_BYTES_MAX),
                timeout_seconds,
            )
        except OutcomeUnknownError:
            raise
        except ToolExecutionError as error:
            raise InvalidArgumentError(
                error.message, metadata=error.metadata, tool_name=program.tool_name
            ) from None
        return description_of(payload, program.tool_name)

    async def _converse(self, request: _Request, answer: _Answer, timeout_seconds: float) -> bytes:
        call = _Call()
        timeout = asyncio.timeout(timeout_seconds)
        try:
            message = self._admit(request)
            async with timeout:
                while True:
                    with contextlib.suppress(_NotBegunError):
                        return await self._converse_once(request, message, answer, call)
        except SandboxUnavailableError:
            self._metrics.refused("unavailable")
            raise
        except TimeoutError:
            if not timeout.expired():
                raise
            (self._metrics.died if call.has_worker else self._metrics.refused)("deadline")
            raise DeadlineExceededError(
                f"The tool did not end within {timeout_seconds:g} s.",
                tool_name=request.program.tool_name,
            ) from None

    async def _converse_once(
        self, request: _Request, message: bytes, answer: _Answer, call: _Call
    ) -> bytes:
        tool_name = request.program.tool_name
        organization_id = request.program.organization_id
        loop = asyncio.get_running_loop()
        worker = await self._take(tool_name, organization_id)
        call.has_worker, taken_at = True, loop.time()
        conversation = Conversation(worker, self._limits, tool_name, request.broker)
        try:
            try:
                await worker.send(request.kind, message)
            except ConnectionError:
                # It died while it waited, so it has not got the whole of the call.
                call.has_worker, conversation.death = False, _DIED_IDLE
                raise _NotBegunError from None
            return await conversation.answer(answer.kind, answer.size_bytes_max)
        finally:
            worker.kill()
            if conversation.death:
                self._metrics.died(conversation.death)
            # The answer comes first, and then the work that it leaves.
            loop.call_soon(self._queue.release, organization_id, loop.time() - taken_at)

    async def _take(self, tool_name: str, organization_id: str) -> WorkerHandle:
        asked_at = time.perf_counter()
        try:
            worker = await self._queue.take(tool_name, organization_id)
        except LimitExceededError:
            self._metrics.refused(QUEUED_CALLS)
            raise
        self._metrics.waited(time.perf_counter() - asked_at)
        return worker

    def _admit(self, request: _Request) -> bytes:
        program = request.program
        verdict = self._verdict()
        if not verdict.available:
            raise verdict.as_error(program.tool_name)
        fields = {
            "tool_name": program.tool_name,
            "class_name": program.class_name,
            "source": program.source,
            "arguments_json": request.arguments_json,
        }
        try:
            source = program.source.encode()
            message = ENCODER.encode(fields).encode()
        except UnicodeError:
            raise InvalidArgumentError(
                "The tool's source or its arguments hold text that is not Unicode.",
                tool_name=program.tool_name,
            ) from None
        for limit, size, most in (
            ("source_bytes", len(source), self._limits.source_bytes),
            ("arguments_bytes", len(request.arguments_json), DEFAULT_ARGUMENTS_BYTES_MAX),
        ):
            if size > most:
                raise LimitExceededError(
                    f"The call's {limit} are {size}; at most {most} are allowed.",
                    metadata={"limit": limit, "limitValue": str(most)},
                    tool_name=program.tool_name,
                )
        return message

    def _verdict(self) -> SandboxStatus:
        verdicts = [keeper.verdict for keeper in self._keepers if keeper.verdict.checked_at_ms]
        if not verdicts:
            return _NOT_STARTED
        # What one launcher's workers do not withstand is not safe with the others either.
        return next((each for each in verdicts if not each.available), verdicts[0])

    def _launchers(self) -> list[LauncherProcess]:
        launchers = (keeper.launcher for keeper in self._keepers)
        return [each for each in launchers if each is not None and each.is_open]

    def _spawn(self, tier: str) -> LauncherProcess:
        return LauncherProcess(
            self._limits, tier, on_ready=self._on_worker_ready, on_end=self._on_worker_ended
        )

    def _refill(self) -> None:
        launchers = self._launchers()
        if not launchers:
            return
        starting = sum(launcher.starting for launcher in launchers)
        for coming in range(starting, self._limits.idle_workers - self._queue.idle):
            least = min(launchers, key=lambda launcher: launcher.starting)
            least.request_worker(is_awaited=coming < self._queue.waiting)
        for keeper in self._keepers:
            keeper.note_use()

    def _on_verdict(self) -> None:
        verdict = self._verdict()
        if verdict.available:
            self._refill()
        elif self._keepers:
            self._queue.refuse_all(verdict.as_error)

    def _on_replaced(self, launcher: LauncherProcess) -> None:
        for worker in launcher.workers:
            if self._queue.discard(worker):
                worker.kill()
        self._refill()

    def _on_worker_ready(self, worker: WorkerHandle) -> None:
        self._metrics.started()
        self._queue.add(worker)

    def _on_worker_ended(self, worker: WorkerHandle) -> None:
        if self._queue.discard(worker):
            self._metrics.died(_DIED_IDLE)
            worker.kill()
            self._refill()


@dataclass(slots=True)
class _Call:
    """How far a call has come."""

    has_worker: bool = False


class _NotBegunError(Exception):
    """The worker died before it had the call."""


@dataclass(frozen=True, slots=True)
class _Request:
    kind: int
    program: ToolProgram
    arguments_json: str
    broker: Broker | None


@dataclass(frozen=True, slots=True)
class _Answer:
    kind: int
    size_bytes_max: int
