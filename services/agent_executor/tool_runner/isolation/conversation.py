"""One call of a worker: what it is sent, what it may answer, and what its end means."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from agent_executor.errors import (
    AgentExecutorError,
    LimitExceededError,
    OutcomeUnknownError,
    ToolExecutionError,
)
from agent_executor.tool_runner.isolation import frames
from agent_executor.tool_runner.isolation.failure import as_payload, from_payload
from agent_executor.tool_runner.isolation.frames import FrameError
from agent_executor.tool_runner.isolation.http_message import http_request_of
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.untrusted_json import ENCODER, JsonError, parse_object
from agent_executor.tool_runner.isolation.worker_handle import (
    FrameTooLargeError,
    WorkerEnd,
    WorkerHandle,
)

Broker: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

# A launcher reports a worker's end within milliseconds, unless the machine is very busy.
_END_SECONDS: Final = 1.0
_MEBIBYTE: Final = 1_048_576


class Conversation:
    """Talks with one worker about one call. It does not kill the worker; its owner does.

    Attributes:
        death: Why the worker has not answered, in a word; empty unless it failed to.
    """

    def __init__(
        self,
        worker: WorkerHandle,
        limits: SandboxLimits,
        tool_name: str,
        broker: Broker | None = None,
    ) -> None:
        """See the class; without a broker the tool has no network."""
        self._worker = worker
        self._limits = limits
        self._tool_name = tool_name
        self._broker = broker
        self.death = ""

    async def answer(self, expected: int, size_bytes_max: int) -> bytes:
        """Returns what the worker answers the call that it was sent.

        Args:
            expected: The type of the answer's frame.
            size_bytes_max: The cap on it.

        Raises:
            OutcomeUnknownError: It was stopped from outside.
            LimitExceededError: It came to a limit; its name is in the metadata as ``limit``.
            AgentExecutorError: The tool has failed.
        """
        caps = {
            expected: size_bytes_max,
            frames.ERROR: frames.MESSAGE_BYTES_MAX,
            frames.HTTP_REQUEST: frames.MESSAGE_BYTES_MAX,
        }
        requests_left = self._limits.http_requests
        try:
            while True:
                kind, payload = await self._worker.receive(caps)
                if kind == expected:
                    return payload
                if kind == frames.ERROR:
                    raise self._failure(payload)
                requests_left -= 1
                if requests_left < 0:
                    raise self._limit_exceeded("http_requests")
                await self._serve_request(http_request_of(payload))
        except FrameTooLargeError as error:
            if error.kind == expected == frames.RESULT:
                raise self._limit_exceeded("output_bytes") from None
            raise self._broken() from None
        except FrameError:
            raise self._broken() from None
        except (EOFError, ConnectionError):
            raise await self._why_it_ended() from None

    async def _serve_request(self, request: dict[str, Any]) -> None:
        answer: dict[str, Any]
        if self._broker is None:
            refusal = ToolExecutionError("This tool has no network here.")
            answer = {"error": as_payload(refusal)}
        else:
            try:
                answer = {"result": await self._broker(request)}
            except AgentExecutorError as error:
                answer = {"error": as_payload(error)}
        await self._worker.send(frames.HTTP_ANSWER, ENCODER.encode(answer).encode(errors="replace"))

    def _failure(self, payload: bytes) -> AgentExecutorError:
        try:
            fields = parse_object(payload)
        except JsonError:
            return self._broken()
        limit = fields.get("limit")
        if limit in ("memory_bytes", "output_bytes"):
            return self._limit_exceeded(limit)
        return from_payload(fields, self._tool_name)

    async def _why_it_ended(self) -> AgentExecutorError:
        try:
            async with asyncio.timeout(_END_SECONDS):
                # Others look at it, too.
                end = await asyncio.shield(self._worker.end)
        except TimeoutError:
            return self._broken()
        if end is None:
            return self._stopped()
        if self._used_up_cpu(end):
            return self._limit_exceeded("cpu_seconds")
        if end.signal == signal.SIGKILL:
            # It cannot do that to itself: it is the kernel short of memory, or a person.
            return self._stopped()
        self.death = "exited"
        how = f"by {signal.Signals(end.signal).name}" if end.signal else "by itself"
        return ToolExecutionError(
            f"The tool's process was ended {how} before it had answered.",
            tool_name=self._tool_name,
        )

    def _used_up_cpu(self, end: WorkerEnd) -> bool:
        if end.signal == signal.SIGXCPU:
            return True
        return end.signal == signal.SIGKILL and end.cpu_us >= self._limits.cpu_seconds * 1_000_000

    def _limit_exceeded(self, limit: str) -> LimitExceededError:
        self.death = limit
        value: int = getattr(self._limits, limit)
        sentence = {
            "memory_bytes": f"The tool needed more than {value // _MEBIBYTE} MiB of memory.",
            "output_bytes": f"The tool's result is larger than {value} bytes.",
            "cpu_seconds": f"The tool computed for more than {value} s.",
            "http_requests": f"The tool made more than {value} requests.",
        }[limit]
        return LimitExceededError(
            sentence, metadata={"limit": limit, "limitValue": str(value)}, tool_name=self._tool_name
        )

    def _broken(self) -> ToolExecutionError:
        self.death = "protocol"
        return ToolExecutionError(
            "The tool's process did not keep to the sandbox's protocol.", tool_name=self._tool_name
        )

    def _stopped(self) -> OutcomeUnknownError:
        self.death = "killed"
        return OutcomeUnknownError(
            "The tool was stopped while it ran; whether it took effect is not known.",
            tool_name=self._tool_name,
        )
