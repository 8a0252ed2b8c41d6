"""The executor as one caller may use it: with the caller's own token, and nothing besides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    monitor_service_pb2,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
)
from agent_executor.client import AsyncAgentExecutorClient
from agent_executor.errors import InvalidArgumentError
from agent_executor.web.runtime import WebRuntime
from agent_executor.web.services_grpc import call_metadata

# For some fifteen seconds, in which an executor is started again.
TAKE_UP_ATTEMPTS: Final = 12

_IDEMPOTENCY_KEY: Final = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Executor:
    """The executor on behalf of one caller. What fails is told to the caller, and not repeated here.

    Every method raises the error that the executor answers with, a class of
    ``agent_executor.errors``.

    Attributes:
        client: Makes the calls, within the deadline of those that wait for no run.
        idempotency_key: Under which the caller starts runs; empty if under none.
        request_timeout_seconds: That deadline, in seconds.
        execution_timeout_seconds: How long a run is waited for, in seconds.
    """

    client: AsyncAgentExecutorClient
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
        settings = runtime.settings
        client = AsyncAgentExecutorClient.over(
            {"executor": runtime.services.executor},
            timeout_seconds=settings.request_timeout_seconds,
            max_attempts=1,
            metadata={
                name: value
                for name, value in call_metadata(headers)
                # A header of HTTP may hold what metadata may not; no token does.
                if name != _IDEMPOTENCY_KEY and _is_plain(value)
            },
        )
        return cls(
            client=client,
            idempotency_key=key,
            request_timeout_seconds=settings.request_timeout_seconds,
            execution_timeout_seconds=settings.execution_timeout_seconds,
        )

    def under(self, idempotency_key: str) -> Executor:
        """Returns the same, starting runs under another idempotency key."""
        return replace(self, idempotency_key=idempotency_key)

    async def list_agents(
        self, page_token: str, page_size: int
    ) -> agent_service_pb2.ListAgentsResponse:
        """Returns a page of the agents of the caller's organization."""
        agents = self.client.agents.list(page_token=page_token, page_size=page_size)
        return await anext(agents.pages())

    async def get_agent(self, agent_id: str) -> agent_pb2.Agent:
        """Returns an agent."""
        return await self.client.agents.get(agent_id=agent_id)

    async def list_agent_tools(self, agent_id: str) -> agent_service_pb2.ListAgentToolsResponse:
        """Returns the tools of an agent."""
        return await self.client.agents.list_tools(agent_id=agent_id)

    def stream_agent(
        self, agent_id: str, text: str, conversation_id: str
    ) -> AsyncGenerator[run_service_pb2.RunUpdate, None]:
        """Executes an agent and yields what happens, as it happens; without a deadline."""
        client = self.client.with_options(
            timeout_seconds=None, idempotency_key=self.idempotency_key
        )
        return client.runs.stream(agent_id=agent_id, input=text, conversation_id=conversation_id)

    async def start_run(self, agent_id: str, text: str, conversation_id: str) -> run_pb2.Run:
        """Starts a run in the background."""
        client = self.client.with_options(idempotency_key=self.idempotency_key)
        return await client.runs.start(
            agent_id=agent_id, input=text, conversation_id=conversation_id
        )

    async def get_run(self, run_id: str) -> run_pb2.Run:
        """Returns a run."""
        return await self.client.runs.get(run_id=run_id)

    async def list_runs(
        self, agent_id: str, conversation_id: str, state: str, page_token: str, page_size: int
    ) -> run_service_pb2.ListRunsResponse:
        """Returns a page of an agent's runs; an empty conversation or state means any."""
        runs = self.client.runs.list(
            agent_id=agent_id,
            conversation_id=conversation_id,
            state=state,
            page_token=page_token,
            page_size=page_size,
        )
        return await anext(runs.pages())

    async def pending_approvals(self, run_id: str) -> run_service_pb2.ListApprovalsResponse:
        """Returns the tool calls of a run that wait for a person, at most 100."""
        return await anext(self.client.approvals.list(run_id=run_id).pages())

    def stream_run_events(
        self, run_id: str, after_sequence: int
    ) -> AsyncGenerator[run_event_pb2.RunEvent, None]:
        """Yields the events of a run after one of them, to its last; without a deadline."""
        client = self.client.with_options(timeout_seconds=None)
        return client.runs.follow(run_id=run_id, after_sequence=after_sequence)

    def stream_activity(
        self,
        request: monitor_service_pb2.StreamActivityRequest,
        on_attempt: Callable[[], Mapping[str, str]],
    ) -> AsyncGenerator[monitor_service_pb2.Activity, None]:
        """Yields what happens in the organization's runs, without an end; see ``Monitor.stream``.

        A stream that breaks off is taken up, at another executor if there is one.

        Args:
            request: What is asked for.
            on_attempt: Is called before each attempt; gives metadata that goes with it.
        """
        client = self.client.with_options(
            timeout_seconds=None, max_attempts=TAKE_UP_ATTEMPTS, metadata_hook=on_attempt
        )
        return client.monitor.stream(
            since=request.since if request.HasField("since") else None,
            agent_id=request.agent_id,
            run_id=request.run_id,
            event_types=request.event_types,
            without_content=request.without_content,
        )

    async def cancel_run(self, run_id: str, reason: str) -> run_service_pb2.CancelReceipt:
        """Stops a run and returns what that did."""
        return await self.client.runs.cancel(run_id=run_id, reason=reason)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
