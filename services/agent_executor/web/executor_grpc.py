"""The executor as one caller may use it: with the caller's own token, and nothing besides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

import grpc

from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    agent_service_pb2_grpc,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
)
from agent_executor.error_status import from_rpc_error
from agent_executor.errors import InvalidArgumentError
from agent_executor.web.runtime import WebRuntime
from agent_executor.web.services_grpc import call_metadata

_IDEMPOTENCY_KEY: Final = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Executor:
    """The executor on behalf of one caller.

    Every method raises the error that the executor answers with, a class of
    ``agent_executor.errors``.

    Attributes:
        channel: Leads to the executor.
        metadata: Tells whose calls these are, and in which trace.
        idempotency_key: Under which the caller starts runs; empty if under none.
        request_timeout_seconds: The deadline of a call that waits for no run, in seconds.
        execution_timeout_seconds: How long a run is waited for, in seconds.
    """

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    idempotency_key: str
    request_timeout_seconds: float
    execution_timeout_seconds: float

    @classmethod
    def of(cls, runtime: WebRuntime, headers: Mapping[str, str]) -> Self:
        """Returns the executor for whoever sent these headers, with names in lower case.

        Raises:
            InvalidArgumentError: The idempotency key cannot be passed on.
        """
        key = headers.get(_IDEMPOTENCY_KEY, "")
        if not _is_plain(key):
            raise InvalidArgumentError("The idempotency key is not printable ASCII.")
        return cls(
            channel=runtime.services.executor,
            metadata=tuple(
                (name, value)
                for name, value in call_metadata(headers)
                # A header of HTTP may hold what metadata may not; no token does.
                if name != _IDEMPOTENCY_KEY and _is_plain(value)
            ),
            idempotency_key=key,
            request_timeout_seconds=runtime.settings.request_timeout_seconds,
            execution_timeout_seconds=runtime.settings.execution_timeout_seconds,
        )

    def under(self, idempotency_key: str) -> Executor:
        """Returns the same, starting runs under another idempotency key."""
        return replace(self, idempotency_key=idempotency_key)

    async def list_agents(
        self, page_token: str, page_size: int
    ) -> agent_service_pb2.ListAgentsResponse:
        """Returns a page of the agents of the caller's organization."""
        request = agent_service_pb2.ListAgentsRequest(page_token=page_token, page_size=page_size)
        with _errors():
            return await self._agents().ListAgents(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def get_agent(self, agent_id: str) -> agent_pb2.Agent:
        """Returns an agent."""
        request = agent_service_pb2.GetAgentRequest(agent_id=agent_id)
        with _errors():
            return await self._agents().GetAgent(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def list_agent_tools(self, agent_id: str) -> agent_service_pb2.ListAgentToolsResponse:
        """Returns the tools of an agent."""
        request = agent_service_pb2.ListAgentToolsRequest(agent_id=agent_id)
        with _errors():
            return await self._agents().ListAgentTools(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def stream_agent(
        self, request: run_service_pb2.StreamAgentRequest
    ) -> AsyncGenerator[run_service_pb2.RunUpdate, None]:
        """Executes an agent and yields what happens, as it happens; without a deadline."""
        call = self._runs().StreamAgent(request, metadata=self._start_metadata())
        with _errors(), _ended(call):
            async for update in call:
                yield update

    async def start_run(self, request: run_service_pb2.StartRunRequest) -> run_pb2.Run:
        """Starts a run in the background."""
        with _errors():
            return await self._runs().StartRun(
                request, metadata=self._start_metadata(), timeout=self.request_timeout_seconds
            )

    async def get_run(self, run_id: str) -> run_pb2.Run:
        """Returns a run."""
        request = run_service_pb2.GetRunRequest(run_id=run_id)
        with _errors():
            return await self._runs().GetRun(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def list_runs(
        self, request: run_service_pb2.ListRunsRequest
    ) -> run_service_pb2.ListRunsResponse:
        """Returns a page of runs."""
        with _errors():
            return await self._runs().ListRuns(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def pending_approvals(self, run_id: str) -> run_service_pb2.ListApprovalsResponse:
        """Returns the tool calls of a run that wait for a person, at most 100."""
        request = run_service_pb2.ListApprovalsRequest(run_id=run_id)
        with _errors():
            return await self._runs().ListApprovals(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    async def stream_run_events(
        self, run_id: str, after_sequence: int
    ) -> AsyncGenerator[run_event_pb2.RunEvent, None]:
        """Yields the events of a run after one of them, to its last; without a deadline."""
        request = run_service_pb2.StreamRunEventsRequest(
            run_id=run_id, after_sequence=after_sequence
        )
        call = self._runs().StreamRunEvents(request, metadata=self.metadata)
        with _errors(), _ended(call):
            async for event in call:
                yield event

    async def cancel_run(self, run_id: str, reason: str) -> run_service_pb2.CancelReceipt:
        """Stops a run and returns what that did."""
        request = run_service_pb2.CancelRunRequest(run_id=run_id, reason=reason)
        with _errors():
            return await self._runs().CancelRun(
                request, metadata=self.metadata, timeout=self.request_timeout_seconds
            )

    def _agents(self) -> agent_service_pb2_grpc.AgentServiceAsyncStub:
        return agent_service_pb2_grpc.AgentServiceStub(self.channel)

    def _runs(self) -> run_service_pb2_grpc.RunServiceAsyncStub:
        return run_service_pb2_grpc.RunServiceStub(self.channel)

    def _start_metadata(self) -> tuple[tuple[str, str], ...]:
        if not self.idempotency_key:
            return self.metadata
        return (*self.metadata, (_IDEMPOTENCY_KEY, self.idempotency_key))


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


@contextmanager
def _ended(call: grpc.aio.Call) -> Iterator[None]:
    """Ends the call when nobody reads it any more."""
    try:
        yield
    finally:
        call.cancel()
